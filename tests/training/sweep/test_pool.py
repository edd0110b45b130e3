"""Workers: what fails is told with its reason, and none outlives its sweep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.training.sweep.journal import Journal, Trial
from specdsl.training.sweep.pool import Pool
from specdsl.training.sweep.samplers import Listed
from specdsl.training.sweep.space import Values
from specdsl.training.sweep.trainings import Task

# Scripts stand in for trainings: the same two functions, without a network.
HEAD = "import os, time\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
FINE = """
from types import SimpleNamespace
def evaluate(net, part):
    return SimpleNamespace(count=4, clean=3, adversarial=None, certified=2, by={"interval": 2})
def main():
    evaluate(None, "validation")
"""
BODIES = {
    "fine": FINE,
    "broken": FINE + "    raise FloatingPointError('the loss is NaN')\n",
    "mistaken": "from specdsl.diagnostics import SpecError\nevaluate = None\n"
    "def main():\n    raise SpecError.of('E1101', 'the loss is NaN')\n",
    "killed": "import signal\nevaluate = None\n"
    "def main():\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    "endless": "evaluate = None\ndef main():\n"
    "    (HERE / 'pid').write_text(str(os.getpid()))\n    time.sleep(600)\n",
}
# Seconds after which a worker that should run, or have ended, is taken not to.
PATIENCE = 120.0


class Interrupts:
    """An observer that is interrupted at the first trial that is done."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.finishes: list[tuple[int, bool]] = []

    def started(self, task: Task) -> None:
        """Nothing."""

    def finished(self, trial: Trial, *, known: bool) -> None:
        self.finishes.append((trial.trial, known))
        if self.folder is not None:
            wait_for((self.folder / "pid").exists)
            raise KeyboardInterrupt


def wait_for(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


def task(values: Values) -> Task:
    name = values["body"]
    return Task(
        values=values,
        text=HEAD + BODIES[name],
        key=name.ljust(64, "0"),
        recipe="recipe",
        judged="robust on d",
        measure="measure",
        out="net.onnx",
        least_clean=Fraction(1, 2),
    )


def pool(folder: Path, names: list[str], observer: Interrupts, *, resume: bool = False) -> Pool:
    journal = Journal.begun(folder / "sweep.jsonl", resume=resume)
    points: Iterator[Values] = ({"body": name} for name in names)
    return Pool(folder, journal, Listed(points), task, observer, workers=2)


def test_a_trial_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    made = pool(tmp_path, ["broken", "mistaken", "killed", "fine", "fine"], Interrupts())
    made.run()
    found = {trial.parameters["body"]: trial for trial in made.journal.trials.values()}
    assert found["broken"].failed == "FloatingPointError: the loss is NaN"
    assert found["broken"].clean is None
    assert found["mistaken"].failed == "E1101: the loss is NaN"
    assert found["killed"].failed == "ended by signal 9"
    fine = found["fine"]
    assert (fine.clean, fine.certified, fine.samples, fine.failed) == (0.75, 0.5, 4, None)
    assert (fine.by, fine.least_clean, fine.cpu_seconds) == ({"interval": 2}, 0.5, None)
    again = Interrupts()
    pool(tmp_path, ["fine"], again, resume=True).run()
    assert again.finishes == [(fine.trial, True)]


def test_interrupting_ends_the_workers_and_keeps_whole_lines(tmp_path: Path) -> None:
    folder = tmp_path / task({"body": "endless"}).folder
    made = pool(tmp_path, ["endless", "fine"], Interrupts(folder))
    with pytest.raises(KeyboardInterrupt):
        made.run()
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)
    again = Journal.begun(tmp_path / "sweep.jsonl", resume=True)
    assert [trial.parameters for trial in again.trials.values()] == [{"body": "fine"}]

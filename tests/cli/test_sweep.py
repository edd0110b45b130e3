"""`specdsl sweep`: trials that are trained for real, a sweep that goes on, and what is refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.conftest import Golden
from tests.training.sweep.specs import SPEC

METHODS = "method=one_of(ibp(robust, r = eps), mtl_ibp(robust, r = eps, alpha = alpha))"
# Seconds in which a trial of two epochs is done however busy the machine is.
PATIENCE = 240.0


def normalised(text: str) -> str:
    """Without what differs between machines: accuracies, seconds, and the order they give."""
    text = re.sub(r" *\d+\.\d\d %", "  00.00 %", text)
    text = re.sub(r"\d+\.\d$", "0.0", text, flags=re.MULTILINE)
    return "\n".join(sorted(line.lstrip(" (*)") for line in text.splitlines()))


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sweep_trains_judges_draws_and_goes_on(cli: Cli, golden: Golden) -> None:
    Path("digits.spec").write_text(SPEC)
    # `ibp` does not use alpha: its two combinations are one trial.
    given = ["sweep", "digits.spec", "-D", METHODS, "-D", "alpha=one_of(1/10, 1/2)"]
    run = cli(*given)
    assert run.code == 0
    golden.check("cli_sweep.txt", normalised(run.out) + "\n\n" + normalised(run.err))
    folder = Path("digits.sweep")
    journal = folder / "sweep.jsonl"
    whole, trials = journal.read_text(), lines_of(journal)
    assert [t["samples"] for t in trials] == [300] * 3
    for each in trials:
        place = folder / str(each["folder"])
        assert (place / "digits.safetensors").exists()
        assert "THREADS = 1" in (place / "digits.train.py").read_text()
        assert len(lines_of(place / "digits.jsonl")) == 2
    picture = (folder / "sweep.svg").read_bytes()
    assert b"robust(r = 1/16) on digits[1200:1500]" in picture

    assert "E1111" in cli(*given).err
    # As a sweep leaves it that was killed while it wrote: whole lines are known.
    journal.write_text(whole + whole[:9])
    again = cli(*given, "--resume", "--picture", "other.svg")
    assert (again.code, again.out) == (0, run.out)
    assert again.err.count("(known)") == 4
    assert journal.read_text() == whole
    assert Path("other.svg").read_bytes() == picture


@pytest.mark.slow
# Five trainings each, mostly the start of processes: minutes where a machine is busy.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_ended_goes_on_to_the_same_trials(
    tmp_path: Path, how: signal.Signals
) -> None:
    path = tmp_path / "digits.spec"
    path.write_text(SPEC.replace("epochs = 2\n", "epochs = 20\n"))

    def started(name: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "specdsl.cli", "sweep", path, "-o", tmp_path / name]
        given = ["-D", "alpha=1/100..1/2:log", "--trials", "2", "--workers", "1", *more]
        return subprocess.Popen([*command, *given], stderr=subprocess.DEVNULL)

    assert started("whole").wait() == 0
    process = started("cut")
    first = tmp_path / "cut" / "sweep.jsonl"
    end = time.monotonic() + PATIENCE
    # In the middle of the second trial: one line is there, and a second folder.
    while not (first.exists() and len(list(first.parent.glob("trial-*/*.checkpoint"))) == 2):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait() == (130 if how == signal.SIGINT else -how)
    assert len(lines_of(first)) == 1
    assert started("cut", "--resume").wait() == 0
    timeless = [
        [{k: v for k, v in t.items() if k != "cpu_seconds"} for t in lines_of(place)]
        for place in (first, tmp_path / "whole" / "sweep.jsonl")
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-D", "alpha=1/10..2"), "E0402"),
        (("-D", "beta=0..1"), "E0206"),
        (("-D", "alpha=1/10..1/2", "--sampler", "grid"), "E0860"),
        (("-D", "alpha=0..1:1/4", "--trials", "3"), "E1111"),
        (("-D", "alpha=0..1:1/4", "--on", "digits[1500:1600]"), "E0721"),
        (("-D", "alpha=0..1", "--network", "other"), "E0859"),
        ((), "E1110"),
        (("-D", "width=1..64", "-D", "alpha=0..1:1/100"), "E0861"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_any_training(
    cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    Path("digits.spec").write_text(SPEC)
    run = cli("sweep", "digits.spec", *arguments)
    assert run.code == 2
    assert f"error[{says}]" in run.err
    assert not Path("digits.sweep").exists()

"""Trials side by side: a process for the script of each, and a line of the journal at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from specdsl.diagnostics import SpecError
from specdsl.training.runtime.loop.log import read_log
from specdsl.training.sweep.journal import Journal, Trial
from specdsl.training.sweep.samplers import Sampler
from specdsl.training.sweep.space import Values
from specdsl.training.sweep.trainings import Task

# Seconds between two looks at the workers: nothing beside a training.
PAUSE = 0.05
# Seconds that a worker has to end when asked, before it is made to.
GRACE = 5.0
# `-P`: files of the folder in which the sweep was called are no modules of a trial.
WORKER = (sys.executable, "-P", "-m", "specdsl.training.sweep.worker")
# Libraries that start threads of their own ask for these.
ONE_THREAD: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
)


class Observer(Protocol):
    """Told of trials as they come and go."""

    def started(self, task: Task) -> None:
        """A trial begins, or goes on."""
        ...

    def finished(self, trial: Trial, *, known: bool) -> None:
        """A trial is done; `known`: it was before, and did not run again."""
        ...


@dataclass(slots=True)
class Running:
    """A worker, and what it works on."""

    number: int
    task: Task
    values: Values
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class Pool:
    """Runs what a sampler asks for, `workers` trials at a time.

    `task_of`: from values to a trial. A trial whose script ran before, with a result, is not run
    again; one that was cut off goes on from its checkpoint.
    """

    folder: Path
    journal: Journal
    sampler: Sampler
    task_of: Callable[[Values], Task]
    observer: Observer
    workers: int
    number: int = 0
    running: list[Running] = field(default_factory=list[Running])
    waiting: dict[str, list[Values]] = field(default_factory=dict[str, list[Values]])

    def run(self) -> None:
        """All trials. However it ends, by Ctrl-C too, no worker stays behind.

        Raises SpecError as `task_of`, and E0854 where a file cannot be written.
        """
        self.number = self.journal.next_number
        try:
            while self._fill() or self.running:
                self._collect()
        finally:
            for each in self.running:
                _stop(each.process)

    def _fill(self) -> bool:
        """Start trials while there is room and something to try; whether any was asked for."""
        asked = False
        while len(self.running) < self.workers:
            values = self.sampler.ask()
            if values is None:
                break
            asked = True
            task = self.task_of(values)
            known = self.journal.trials.get(task.key)
            if known is not None and known.failed is None:
                self.sampler.tell(values, known)
                self.observer.finished(known, known=True)
            elif any(each.task.key == task.key for each in self.running):
                # Values that a method does not use give one script: it runs once.
                self.waiting.setdefault(task.key, []).append(values)
            else:
                self._start(task, values)
        return asked

    def _start(self, task: Task, values: Values) -> None:
        folder = self.folder / task.folder
        script = (folder / task.out).with_suffix(".train.py")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            script.write_text(task.text, encoding="utf-8")
            result_of(folder).unlink(missing_ok=True)
            with (folder / "output.txt").open("wb") as output:
                process = subprocess.Popen(
                    [*WORKER, script, result_of(folder)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **ONE_THREAD},
                    # Ctrl-C is for the sweep, which ends its workers; not for them as well.
                    start_new_session=True,
                )
        except OSError as error:
            message = f"cannot write `{folder}`: {error.strerror}"
            raise SpecError.of("E0854", message) from error
        known = self.journal.trials.get(task.key)
        self.running.append(Running(known.trial if known else self.number, task, values, process))
        self.number += known is None
        self.observer.started(task)

    def _collect(self) -> None:
        """Wait for a trial to end, and write down what came of it."""
        while self.running:
            done = [each for each in self.running if each.process.poll() is not None]
            for each in done:
                self.running.remove(each)
                self._finished(each)
            if done:
                return
            time.sleep(PAUSE)

    def _finished(self, ended: Running) -> None:
        _close(ended.process)
        trial = trial_of(ended, self.folder / ended.task.folder)
        self.journal.write(trial)
        for values in (ended.values, *self.waiting.pop(trial.key, [])):
            self.sampler.tell(values, trial)
        self.observer.finished(trial, known=False)


def trial_of(ended: Running, folder: Path) -> Trial:
    """The line of a trial that has ended, from what it left in its folder."""
    task = ended.task
    found: dict[str, Any] = _result(folder)
    if ended.process.returncode != 0 and "failed" not in found:
        reason: Any = _last_words(folder, ended.process.returncode)
        found = {"failed": reason}
    return Trial(
        trial=ended.number,
        parameters=dict(ended.values),
        key=task.key,
        recipe=task.recipe,
        folder=task.folder,
        judged=task.judged,
        measure=task.measure,
        least_clean=None if task.least_clean is None else float(task.least_clean),
        cpu_seconds=_seconds((folder / task.out).with_suffix(".jsonl")),
        **found,
    )


def result_of(folder: Path) -> Path:
    """Where a worker leaves what it found."""
    return folder / "judged.json"


def _result(folder: Path) -> dict[str, Any]:
    path = result_of(folder)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _last_words(folder: Path, code: int) -> str:
    """Why a worker broke off: the last line it wrote, which of a traceback says most."""
    text = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if code < 0:
        return f"ended by signal {-code}"
    return lines[-1] if lines else f"ended with code {code}"


def _seconds(log: Path) -> float | None:
    """CPU seconds of all epochs; None where one did not say."""
    records = read_log(log)
    known = [float(r["cpu_seconds"]) for r in records if r.get("cpu_seconds") is not None]
    return sum(known) if known and len(known) == len(records) else None


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe of a worker, which is how it knows that the sweep goes on."""
    if process.stdin is not None:
        process.stdin.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    _close(process)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""A whole sweep: what varies, what is known already, the trials, and the picture at its end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.journal import Journal, Trial
from specdsl.training.sweep.picture import render, require
from specdsl.training.sweep.pool import Observer, Pool
from specdsl.training.sweep.samplers import Listed, Sampler
from specdsl.training.sweep.space import Choices, Dimension, Values, corners, grid, random_points
from specdsl.training.sweep.tpe import Tpe
from specdsl.training.sweep.trainings import Task, Trainings

SamplerName = Literal["grid", "random", "tpe"]
# How many trials there are where neither the space nor the user says.
TRIALS = 20
# As many as combinations of `check`: the script of each is written before the first one runs.
MAX_TRIALS = 1_000
JOURNAL, PICTURE = "sweep.jsonl", "sweep.svg"


@dataclass(frozen=True, slots=True)
class Options:
    """How to sweep. `sampler` None: a grid where all values are listed, else at random; `workers`
    None: one for each core; `picture` None: `sweep.svg` in the folder.
    """

    sampler: SamplerName | None = None
    trials: int | None = None
    seed: int = 0
    workers: int | None = None
    resume: bool = False
    picture: Path | None = None


def sweep(
    trainings: Trainings, space: Sequence[Dimension], options: Options, observer: Observer
) -> tuple[Trial, ...]:
    """Run the trials, draw them; all that the folder knows of now, by number.

    Raises SpecError as `planned`, before any training; E0854 where a file cannot be written.
    KeyboardInterrupt comes through once workers have ended and what is known is drawn.
    """
    plan = _planned(trainings, space, options)
    _make(trainings.folder)
    workers = options.workers or _cores()
    try:
        Pool(trainings.folder, plan.journal, plan.sampler(), plan.tasks.of, observer, workers).run()
    finally:
        found = tuple(plan.journal.trials.values())
        if any(trial.accuracies is not None for trial in found):
            _write(plan.picture, render(found, plan.picture))
    return found


def planned(
    trainings: Trainings, space: Sequence[Dimension], options: Options
) -> tuple[Values, ...] | None:
    """The trials that `sweep` would run; None where each depends on those before it (`tpe`).

    Raises SpecError where a trial cannot be trained or judged, values are no grid, the folder has a
    sweep and is not to be resumed, or optuna or matplotlib is missing and needed.
    """
    plan = _planned(trainings, space, options)
    plan.sampler()
    return None if plan.points is None else tuple(plan.points)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """All that is settled before the first trial; `points` None: settled as trials end."""

    space: Sequence[Dimension]
    options: Options
    picture: Path
    points: Sequence[Values] | None
    journal: Journal
    tasks: _Tasks

    def sampler(self) -> Sampler:
        """Where trials come from. Raises SpecError E1111 where optuna is needed and missing."""
        if self.points is not None:
            return Listed(self.points)
        known = self.journal.trials.values()
        return Tpe(self.space, self.options.trials or TRIALS, self.options.seed, known)


def _planned(trainings: Trainings, space: Sequence[Dimension], options: Options) -> _Plan:
    picture = options.picture or trainings.folder / PICTURE
    require(picture)
    points = _points(space, options)
    journal = Journal.begun(trainings.folder / JOURNAL, resume=options.resume)
    tasks = _Tasks(trainings, journal.trials.values())
    for values in corners(space) if points is None else points:
        tasks.of(values)
    return _Plan(space, options, picture, points, journal, tasks)


class _Tasks:
    """Trials by their values, each made once: what is wrong with one shows before any has run.

    All are judged alike, as those in `known` were.
    """

    def __init__(self, trainings: Trainings, known: Iterable[Trial]) -> None:
        self._trainings = trainings
        self._made: dict[tuple[tuple[str, str], ...], Task] = {}
        self._judged = next(((trial.measure, trial.judged) for trial in known), None)

    def of(self, values: Values) -> Task:
        """The trial.

        Raises SpecError as `Trainings.task`, and E1110 where it is judged by another property or
        other samples: such accuracies say nothing about one another.
        """
        key = tuple(values.items())
        if key not in self._made:
            self._made[key] = self._trainings.task(values)
        task = self._made[key]
        measure, judged = self._judged = self._judged or (task.measure, task.judged)
        if task.measure != measure:
            message = f"one trial would be judged by `{task.judged}`, another by `{judged}`"
            if task.judged == judged:
                message = f"what `{judged}` says differs from trial to trial"
            help_ = (
                "vary how a network is trained, not what is certified of it: `keep best by "
                "certified(PROPERTY) on PART` says what all trials are judged by"
            )
            raise SpecError.of("E1110", message, help=help_)
        return task


def _points(space: Sequence[Dimension], options: Options) -> Sequence[Values] | None:
    """The trials, where they are known beforehand. Raises SpecError E0860, E0861 and E1111."""
    listed = all(isinstance(each, Choices) for each in space)
    sampler = options.sampler or ("grid" if listed else "random")
    if sampler == "tpe":
        return None
    if sampler == "grid" and options.trials is not None:
        message = "a grid has as many trials as there are combinations"
        help_ = "leave `--trials` away, or take `--sampler random`"
        raise SpecError.of("E1111", message, help=help_)
    points: Iterator[Values] = (
        grid(space) if sampler == "grid" else random_points(space, options.seed)
    )
    count = MAX_TRIALS + 1 if sampler == "grid" else options.trials or TRIALS
    found = list(islice(points, count))
    if len(found) > MAX_TRIALS:
        message = f"the sweep has more than {MAX_TRIALS:,} trials"
        raise SpecError.of("E0861", message, help="list fewer values, or take `--sampler random`")
    return found


def _cores() -> int:
    """The cores that this process may use, where the system says so; else all."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{folder}`: {error.strerror}") from error


def _write(picture: Path, content: bytes) -> None:
    try:
        picture.write_bytes(content)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{picture}`: {error.strerror}") from error

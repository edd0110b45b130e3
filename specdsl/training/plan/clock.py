"""What schedules are worth at a point of time, exactly, and a table of them.

Time is counted in epochs from 0. All schedules and stages of a training share this clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.language import constants
from specdsl.training.plan.plan import (
    Arithmetic,
    Constant,
    Number,
    Plan,
    Ramp,
    Schedule,
    Scheduled,
    Stage,
    Steps,
    Tied,
)

# Longer tables show one epoch in several while something changes.
MAX_ROWS = 40


def value_at(schedule: Schedule, time: Fraction, others: Sequence[Schedule] = ()) -> Fraction:
    """The value of a schedule at a time; `others` are those that it is tied to.

    Raises SpecError E0404 where a quotient has no value then.
    """
    return Clock(tuple(others)).of(schedule, time)


@dataclass(frozen=True, slots=True)
class Clock:
    """The schedules of a training."""

    schedules: tuple[Schedule, ...]

    def value(self, name: str, time: Fraction) -> Fraction:
        """The value of the schedule of that name."""
        return self.of(next(s for s in self.schedules if s.name == name), time)

    def of(self, schedule: Schedule, time: Fraction) -> Fraction:
        """The value of a schedule, which may be tied to those of the clock."""
        match schedule.curve:
            case Ramp() as ramp:
                share = _share(ramp, time)
                first, last = (self.number(end, time) for end in (ramp.first, ramp.last))
                return first + (last - first) * share
            case Steps(first=first, later=later):
                epoch = int(time)
                values = [value for start, end, value in later if start <= epoch <= end]
                return values[-1] if values else first
            case Tied(value=value):
                return self.number(value, time)

    def number(self, number: Number, time: Fraction) -> Fraction:
        """A number that may follow schedules."""
        match number:
            case Constant(value=value):
                return value
            case Scheduled(name=name):
                return self.value(name, time)
            case Arithmetic(operator=operator, left=left, right=right):
                return _applied(operator, self.number(left, time), self.number(right, time))


def _applied(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "^":
        if right.denominator == 1:
            found = constants.power(left, right)
        elif left < 0:
            raise SpecError.of("E0405", f"{left} to the power {right} has no value")
        else:
            found = Fraction(float(left) ** float(right))
    else:
        found = constants.arithmetic(operator, left, right)
    return found if isinstance(found, Fraction) else Fraction(0)


def _share(ramp: Ramp, time: Fraction) -> Fraction:
    """How far a ramp has come, from 0 to 1.

    `smooth`: `a s^n` up to `middle`, then the straight line that leaves it without a bend and ends
    at 1 (Shi et al. 2021, arXiv:2103.17268).
    """
    if time >= ramp.end:
        return Fraction(1)
    if time <= ramp.start:
        return Fraction(0)
    s = (time - ramp.start) / (ramp.end - ramp.start)
    if ramp.shape == "linear":
        return s
    middle, exponent = ramp.middle, ramp.exponent
    rise = _applied("^", middle, exponent - 1)
    a = 1 / ((1 - middle) * exponent * rise + middle * rise)
    if s < middle:
        return a * _applied("^", s, exponent)
    bend = a * middle * rise
    return bend + (1 - bend) * (s - middle) / (1 - middle)


# --- the table ------------------------------------------------------------------------------------


def schedule_table(plan: Plan) -> str:
    """The values of all schedules at the beginning of each epoch; equal epochs share a row."""
    clock = Clock(plan.schedules)
    names = [schedule.name for schedule in plan.schedules]
    rows: list[tuple[int, tuple[str, ...]]] = []
    for epoch in range(plan.settings.epochs):
        values = tuple(_short(clock.value(name, Fraction(epoch))) for name in names)
        rows.append((epoch, (_stage_at(plan.stages, epoch).name, *values)))
    merged = _merged(rows)
    step = -(-len(merged) // MAX_ROWS)
    shown = [row for i, row in enumerate(merged) if i % step == 0 or _is_edge(merged, i)]
    table = _columns([("epochs", "stage", *names), *((span, *values) for span, values in shown)])
    if step > 1:
        table += f"\n(while values change, one epoch in {step} is shown)"
    return table


def _stage_at(stages: Sequence[Stage], epoch: int) -> Stage:
    return next(s for s in reversed(stages) if s.first <= epoch)


def _merged(rows: Sequence[tuple[int, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Runs of equal rows as one, with their epochs."""
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for epoch, values in rows:
        if found and found[-1][2] == values:
            found[-1] = (found[-1][0], epoch, values)
        else:
            found.append((epoch, epoch, values))
    return [(str(a) if a == b else f"{a}..{b}", values) for a, b, values in found]


def _is_edge(rows: Sequence[tuple[str, tuple[str, ...]]], index: int) -> bool:
    """Whether a row stands for several epochs, follows such a row, or is the first or last."""
    ends = index in (0, len(rows) - 1)
    return ends or ".." in rows[index][0] or ".." in rows[index - 1][0]


def _short(value: Fraction) -> str:
    return f"{float(value):.4g}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(lines)


# --- ranges ---------------------------------------------------------------------------------------


def extremes(
    number: Number, schedules: Mapping[str, Schedule], epochs: int
) -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
    """The least and the greatest value with their times, at beginnings and middles of epochs."""
    clock = Clock(tuple(schedules.values()))
    times = [Fraction(half, 2) for half in range(2 * epochs + 1)]
    values = [(clock.number(number, time), time) for time in times]
    return min(values), max(values)

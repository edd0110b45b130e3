"""The clock of a training in a script that stands alone: one function of time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from specdsl.training.emit.lines import WIDTH, call
from specdsl.training.emit.numbers import number, real, variable
from specdsl.training.emit.plain_lines import choice, fitted
from specdsl.training.emit.terms import number_argument
from specdsl.training.plan.plan import Constant, Ramp, Schedule, Stage, Steps, Tied

Shape = tuple[Fraction, Fraction]
"""Middle and exponent of a smooth ramp."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate as the attribute `name`; `values` one after another, with the epochs in
    which all but the last end. Without values the attribute is a schedule.
    """

    name: str
    values: tuple[str, ...]
    ends: tuple[int, ...]


def rate_of(schedules: tuple[Schedule, ...], stages: tuple[Stage, ...]) -> Rate:
    """The learning rate, which stages may change."""
    values: list[str] = []
    ends: list[int] = []
    for stage in stages:
        rate = number_argument(stage.optimizer, "lr")
        assert rate is not None, "it is required"
        text = number(rate)
        if not values or values[-1] != text:
            values.append(text)
            ends.append(stage.first)
    names = {variable(s.name) for s in schedules}
    if len(values) == 1 and values[0].removeprefix("s.") in names:
        return Rate(values[0].removeprefix("s."), (), ())
    name, count = "lr", 1
    while name in names:
        count += 1
        name = f"lr_{count}"
    return Rate(name, tuple(values), tuple(ends[1:]))


def plain_schedule(schedules: tuple[Schedule, ...], rate: Rate, epochs: int) -> str:
    """`schedule(t)` gives all schedules and the learning rate as attributes."""
    lines = ["def schedule(t: float) -> SimpleNamespace:"]
    lines.append('    """What varies, at a time in epochs: 2.5 is after half of the third one."""')
    lines.append("    s = SimpleNamespace()")
    shapes = _shapes(schedules)
    for each in schedules:
        lines += _assigned(each, epochs, shapes)
    if rate.values:
        ends = [f"t < {end}" for end in rate.ends]
        lines += choice(f"s.{rate.name}", rate.values, ends, depth=1)
    lines.append("    return s")
    return "\n".join(lines)


def smooth_helpers(schedules: tuple[Schedule, ...]) -> list[tuple[str, str, str, str]]:
    """Names of functions with the middle, the exponent, and how far they have come in the middle.

    Source: Shi et al. 2021, arXiv:2103.17268.
    """
    found: list[tuple[str, str, str, str]] = []
    for (middle, exponent), name in _shapes(schedules).items():
        risen = 1 / (1 + exponent * (1 - middle) / middle)
        power = str(exponent) if exponent.denominator == 1 else real(exponent)
        found.append((name, real(middle), power, f"{risen.numerator} / {risen.denominator}"))
    return found


def _shapes(schedules: tuple[Schedule, ...]) -> dict[Shape, str]:
    """Each shape of a smooth ramp with the name of its function."""
    found: dict[Shape, str] = {}
    for each in schedules:
        if isinstance(each.curve, Ramp) and each.curve.shape == "smooth":
            shape = each.curve.middle, each.curve.exponent
            found.setdefault(shape, f"smooth_{len(found) + 1}" if found else "smooth")
    return found


def _assigned(schedule: Schedule, epochs: int, shapes: dict[Shape, str]) -> list[str]:
    match schedule.curve:
        case Ramp() as ramp:
            smooth = ramp.shape == "smooth"
            name = shapes[ramp.middle, ramp.exponent] if smooth else ramp.shape
            ends = [number(end) for end in (ramp.first, ramp.last)]
            times = [number(Constant(time)) for time in (ramp.start, ramp.end)]
            arguments = ["t", *ends, f"start={times[0]}", f"end={times[1]}"]
            return call(f"s.{variable(schedule.name)} = {name}", arguments)
        case Steps() as steps:
            return _stepped(f"s.{variable(schedule.name)}", _changes(steps, epochs))
        case Tied(value=value):
            return fitted(f"    s.{variable(schedule.name)} = {number(value)}")


def needs_steps(schedules: tuple[Schedule, ...], epochs: int) -> bool:
    """Whether the text calls `steps`: some values do not fit on one line."""
    found = (s for s in schedules if isinstance(s.curve, Steps))
    return any("steps(" in " ".join(_assigned(s, epochs, {})) for s in found)


def _stepped(name: str, changes: dict[int, Fraction]) -> list[str]:
    """`5e-4 if t < 130 else 1e-4`, or a table where there are many values."""
    values = [real(value) for value in changes.values()]
    text = "".join(f"{v} if t < {e} else " for v, e in zip(values, list(changes)[1:], strict=False))
    line = f"    {name} = {text}{values[-1]}"
    if len(line) <= WIDTH:
        return [line]
    entries = [f"{epoch}: {real(value)}" for epoch, value in changes.items()]
    table = f"{{{', '.join(entries)}}}"
    if len(table) > WIDTH - 8:
        table = "\n".join(["{", *(f"    {entry}," for entry in entries), "}"])
    return call(f"{name} = steps", ["t", table])


def _changes(steps: Steps, epochs: int) -> dict[int, Fraction]:
    """From which epoch on there is which value."""
    values = [steps.first] * epochs
    for begin, end, value in steps.later:
        values[begin : end + 1] = [value] * len(values[begin : end + 1])
    return {e: v for e, v in enumerate(values) if e == 0 or v != values[e - 1]}

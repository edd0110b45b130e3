"""The clock of a training in a script that stands alone: one function of time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from specdsl.training.emit.lines import WIDTH, call
from specdsl.training.emit.numbers import factor, number, real, variable
from specdsl.training.emit.plain_lines import choice, fitted
from specdsl.training.emit.terms import number_argument
from specdsl.training.plan.plan import Arithmetic, Constant, Ramp, Schedule, Stage, Steps, Tied


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
    smooth = any(isinstance(s.curve, Ramp) and s.curve.shape == "smooth" for s in schedules)
    source = "; smooth as in arXiv:2103.17268" if smooth else ": 2.5 is after half of the third one"
    lines = ["def schedule(t: float) -> Namespace:"]
    lines.append(f'    """What varies, at a time in epochs{source}."""')
    lines.append("    s = Namespace()")
    for each in schedules:
        lines += _assigned(each, epochs)
    if rate.values:
        ends = [f"t < {end}" for end in rate.ends]
        lines += choice(f"s.{rate.name}", rate.values, ends, depth=1)
    lines.append("    return s")
    return "\n".join(lines)


def _assigned(schedule: Schedule, epochs: int) -> list[str]:
    name = f"s.{variable(schedule.name)}"
    match schedule.curve:
        case Ramp() as ramp:
            return _ramp(name, ramp)
        case Steps() as steps:
            return _stepped(name, _changes(steps, epochs))
        case Tied(value=value):
            return fitted(f"    {name} = {number(value)}")


def _ramp(name: str, ramp: Ramp) -> list[str]:
    """The share of the time that has passed, how far the ramp has come by then, and its value.

    Source of smooth ramps, a power up to the middle of the time and then straight on: Shi et al.
    2021, arXiv:2103.17268.
    """
    share = _passed(ramp)
    if ramp.shape == "linear":
        line = f"    {name} = {_between(ramp, share)}"
        if len(line) <= WIDTH:
            return [line]
        return [f"    share = {share}", *fitted(f"    {name} = {_between(ramp, 'share')}")]
    middle, exponent = ramp.middle, ramp.exponent
    risen = 1 / (1 + exponent * (1 - middle) / middle)
    power = str(exponent) if exponent.denominator == 1 else real(exponent)
    below = f"{_ratio(risen)} * (share / {real(middle)}) ** {power}"
    above = f"1 - {_ratio(risen * exponent / middle)} * (1 - share)"
    return [
        f"    share = {share}",
        *choice("risen", [below, above], [f"share < {real(middle)}"], depth=1),
        *fitted(f"    {name} = {_between(ramp, 'risen')}"),
    ]


def _passed(ramp: Ramp) -> str:
    """The part of a ramp's time that has passed, from 0 to 1."""
    start, length = ramp.start, ramp.end - ramp.start
    if length == 0:
        return f"float(t >= {number(Constant(start))})"
    since = f"(t - {number(Constant(start))})" if start else "t"
    passed = f"{since} / {number(Constant(length))}" if length != 1 else since.strip("()")
    # Before a ramp that begins later, the time is negative.
    return f"min(max({passed}, 0), 1)" if start > 0 else f"min({passed}, 1)"


def _between(ramp: Ramp, share: str) -> str:
    """From the first to the last value."""
    whole = Arithmetic("-", ramp.last, ramp.first)
    if isinstance(ramp.first, Constant) and isinstance(ramp.last, Constant):
        change = ramp.last.value - ramp.first.value
        first = number(ramp.first)
        if change == 0:
            return first
        size = "" if abs(change) == 1 else f"{factor(Constant(abs(change)))} * "
        if ramp.first.value == 0 and change > 0:
            return f"{size}{share}"
        return f"{first} {'-' if change < 0 else '+'} {size}{share}"
    if isinstance(ramp.first, Constant) and ramp.first.value == 0:
        return f"{factor(ramp.last)} * {share}"
    return f"{number(ramp.first)} + ({number(whole)}) * {share}"


def _ratio(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{value.numerator} / {value.denominator}"


def needs_steps(schedules: tuple[Schedule, ...], epochs: int) -> bool:
    """Whether the text calls `steps`: some values do not fit on one line."""
    found = (s for s in schedules if isinstance(s.curve, Steps))
    return any("steps(" in " ".join(_assigned(s, epochs)) for s in found)


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

"""The clock of a training in text: a tuple of all schedules, and the function of time giving it."""

from __future__ import annotations

from dataclasses import dataclass

from specdsl.training.emit.lines import comment, statement
from specdsl.training.emit.numbers import number, real, variable
from specdsl.training.emit.terms import number_argument
from specdsl.training.plan.plan import Constant, Ramp, Schedule, Stage, Steps, Tied


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate as lines that make it of time and schedules, and what is said of it."""

    lines: tuple[str, ...]
    text: str


def rate_of(stages: tuple[Stage, ...]) -> Rate:
    """The learning rate, which stages may change."""
    rates = [number_argument(stage.optimizer, "lr") for stage in stages]
    texts = [number(rate, "") for rate in rates if rate is not None]
    lines = [f"    lr = {texts[0]}"]
    for stage, before, text in zip(stages[1:], texts, texts[1:], strict=False):
        if text != before:
            lines += [f"    if time >= {stage.first}:", f"        lr = {text}"]
    return Rate(tuple(lines), ", then ".join(dict.fromkeys(s.optimizer.text for s in stages)))


def schedule_source(schedules: tuple[Schedule, ...], rate: Rate, epochs: int) -> str:
    """`class Schedule` with a field for each and `lr`, and the function `schedule(time)`."""
    lines = ["class Schedule(NamedTuple):", '    """What varies while training goes on."""', ""]
    names = [*(variable(s.name) for s in schedules), "lr"]
    lines += [f"    {name}: float" for name in names]
    lines += ["", "", "def schedule(time: float) -> Schedule:"]
    lines.append('    """The values at a time in epochs: 2.5 is after half of the third one."""')
    for each in schedules:
        lines += comment(f"let {each.name} = {each.text}")
        lines += statement(f"{variable(each.name)} = {_curve(each, epochs)}")
    lines += [*comment(f"optimizer = {rate.text}"), *rate.lines]
    lines += statement(f"return Schedule({', '.join(names)})")
    return "\n".join(lines)


def helpers_of(schedules: tuple[Schedule, ...]) -> tuple[str, ...]:
    """The functions of time that the text calls: `linear`, `smooth`, `steps`."""
    found = {_helper(s) for s in schedules} - {""}
    return tuple(sorted(found))


def _helper(schedule: Schedule) -> str:
    match schedule.curve:
        case Ramp(shape=shape):
            return shape
        case Steps():
            return "steps"
        case Tied():
            return ""


def _curve(schedule: Schedule, epochs: int) -> str:
    match schedule.curve:
        case Ramp() as ramp:
            ends = f"{number(ramp.first, '')}, {number(ramp.last, '')}"
            times = f"start={number(Constant(ramp.start))}, end={number(Constant(ramp.end))}"
            more = ""
            if ramp.shape == "smooth":
                more = f", middle={real(ramp.middle)}, exponent={real(ramp.exponent)}"
            return f"{ramp.shape}(time, {ends}, {times}{more})"
        case Steps(first=first, later=later):
            values = {0: first}
            for begin, end, value in later:
                values[begin] = value
                if end + 1 < epochs:
                    values.setdefault(end + 1, first)
            spans = ", ".join(f"{begin}: {real(value)}" for begin, value in sorted(values.items()))
            return f"steps(time, {{{spans}}})"
        case Tied(value=value):
            return number(value, "")

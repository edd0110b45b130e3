"""Schedules on one clock, against the definition in Shi et al. 2021 and by their laws."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.source import Source, Span
from specdsl.training.plan.clock import value_at
from specdsl.training.plan.plan import (
    Arithmetic,
    Constant,
    Ramp,
    Schedule,
    Scheduled,
    Steps,
    Tied,
)

SPAN = Span(Source("t.spec", ""), 0, 0)

numbers = st.fractions(min_value=-5, max_value=5, max_denominator=20)
times = st.fractions(min_value=0, max_value=30, max_denominator=8)


def named(name: str, curve: Ramp | Steps | Tied) -> Schedule:
    return Schedule(name, curve, "", SPAN)


def ramp(first: Fraction, last: Fraction, start: int, end: int, shape: str = "linear") -> Schedule:
    curve = Ramp(Constant(first), Constant(last), Fraction(start), Fraction(end), shape)  # type: ignore[arg-type]
    return named("r", curve)


@given(numbers, numbers, st.integers(0, 10), st.integers(0, 10), times, st.booleans())
def test_a_ramp_stays_between_its_ends_and_rises(
    first: Fraction, last: Fraction, start: int, length: int, time: Fraction, smooth: bool
) -> None:
    schedule = ramp(first, last, start, start + length, "smooth" if smooth else "linear")
    value, later = value_at(schedule, time), value_at(schedule, time + Fraction(1, 8))
    assert min(first, last) <= value <= max(first, last)
    assert (later - value) * (last - first) >= 0
    if time < start:
        assert value == first
    if time >= start + length:
        assert value == last


def test_a_smooth_ramp_is_a_power_first_and_straight_then() -> None:
    schedule = ramp(Fraction(0), Fraction(1), 0, 8, "smooth")
    # Shi et al. 2021: a s^4 up to s = 1/4; the line from there has the same slope, and ends at 1.
    middle, exponent = 0.25, 4
    rise = middle ** (exponent - 1)
    a = 1 / ((1 - middle) * exponent * rise + middle * rise)
    bend = a * middle**exponent
    for eighths in range(65):
        s = eighths / 64
        straight = bend + (1 - bend) * (s - middle) / (1 - middle)
        wanted = a * s**exponent if s < middle else straight
        assert float(value_at(schedule, Fraction(eighths, 8))) == pytest.approx(wanted, abs=1e-12)
    slope = (value_at(schedule, Fraction(3)) - value_at(schedule, Fraction(2))) * 8
    assert float(slope) == pytest.approx(a * exponent * middle**3, rel=1e-12)


def test_steps_last_through_their_last_epoch() -> None:
    steps = named("s", Steps(Fraction(1), ((3, 4, Fraction(2)), (5, 5, Fraction(3)))))
    halves = [value_at(steps, Fraction(half, 2)) for half in range(14)]
    assert halves == [1] * 6 + [2] * 4 + [3] * 2 + [1] * 2


def test_a_tied_schedule_follows_the_others() -> None:
    r = ramp(Fraction(0), Fraction(1, 2), 0, 4)
    quotient = Arithmetic("/", Scheduled("r"), Constant(Fraction(1, 2)))
    fade = named("fade", Tied(Arithmetic("-", Constant(Fraction(1)), quotient)))
    assert [value_at(fade, Fraction(t), (r,)) for t in range(5)] == [
        *(1, Fraction(3, 4), Fraction(1, 2), Fraction(1, 4), 0)
    ]
    power = named("p", Tied(Arithmetic("^", Scheduled("r"), Constant(Fraction(2)))))
    assert value_at(power, Fraction(4), (r,)) == Fraction(1, 4)


def test_a_quotient_without_a_value_is_an_error() -> None:
    r = ramp(Fraction(0), Fraction(1), 0, 4)
    inverse = named("i", Tied(Arithmetic("/", Constant(Fraction(1)), Scheduled("r"))))
    with pytest.raises(SpecError, match="E0404"):
        value_at(inverse, Fraction(0), (r,))

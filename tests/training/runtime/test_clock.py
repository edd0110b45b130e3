"""Schedules start and end where they should, and never go back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.training.runtime.loop.clock import linear, smooth, steps

Schedule = Callable[[float, float, float, float, float], float]
ENDS = st.floats(-10, 10)
TIMES = st.floats(-1, 12)


@given(first=ENDS, last=ENDS, time=TIMES)
@pytest.mark.parametrize("schedule", [linear, smooth])
def test_schedules_begin_and_end_exactly_and_stay_between(
    schedule: Schedule, first: float, last: float, time: float
) -> None:
    assert schedule(1.0, first, last, 1.0, 9.0) == first
    assert schedule(9.0, first, last, 1.0, 9.0) == last
    assert min(first, last) <= schedule(time, first, last, 1.0, 9.0) <= max(first, last)


@given(one=TIMES, other=TIMES)
@pytest.mark.parametrize("schedule", [linear, smooth])
def test_rising_schedules_never_fall(schedule: Schedule, one: float, other: float) -> None:
    early, late = sorted((one, other))
    # 1e-12: both sides are rounded.
    assert schedule(early, 0.0, 0.3, 1.0, 9.0) <= schedule(late, 0.0, 0.3, 1.0, 9.0) + 1e-12


@given(middle=st.floats(0.05, 0.95), exponent=st.floats(1, 8))
def test_the_smooth_schedule_has_one_value_and_one_slope_at_its_joint(
    middle: float, exponent: float
) -> None:
    def at(time: float) -> float:
        return smooth(time, 0.0, 1.0, 0.0, 1.0, middle=middle, exponent=exponent)

    step = 1e-5
    left, right = (at(middle) - at(middle - step)) / step, (at(middle + step) - at(middle)) / step
    # The curvature is at most the slope times exponent / middle.
    allowed = step * (1 + left) * exponent / middle + 1e-9
    assert abs(right - left) <= allowed


def test_the_smooth_schedule_is_the_published_one() -> None:
    # Middle .25 and exponent 4: c = 1 / (m^4 + 4 m^3 (1 - m)) = 256 / 13.
    for time in (0.0, 0.1, 0.2, 0.249):
        assert smooth(time, 0, 1, 0, 1) == pytest.approx(256 / 13 * time**4, abs=1e-14)
    for time in (0.25, 0.5, 0.9):
        assert smooth(time, 0, 1, 0, 1) == pytest.approx((1 + 16 * (time - 0.25)) / 13)


def test_steps_hold_from_their_time_on() -> None:
    values = {0: 5e-4, 130: 1e-4}
    assert [steps(t, values) for t in (0, 129.9, 130, 200)] == [5e-4, 5e-4, 1e-4, 1e-4]


def test_schedules_without_a_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        linear(0, 0, 1, 2, 1)
    with pytest.raises(ValueError, match="exponent"):
        smooth(0, 0, 1, 0, 1, exponent=0.5)
    with pytest.raises(ValueError, match="no value"):
        steps(1, {2: 1.0})


def test_a_schedule_of_no_length_jumps() -> None:
    assert [linear(t, 0, 1, 2, 2) for t in (1.9, 2.0, 2.1)] == [0, 1, 1]

"""Whatever goes in, what comes out lies exactly in the set, on float32 numbers where possible."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.evidence.placement import place
from specdsl.query.sets import Box, InputSet, exact, norm_ball

coordinates = st.one_of(
    st.fractions(-2, 2, max_denominator=1000),
    st.floats(-2, 2).map(Fraction),
    st.sampled_from([Fraction(1, 255), Fraction(-1, 3), Fraction(0)]),
)


@st.composite
def boxes(draw: st.DrawFn, size: int) -> Box:
    pairs = [sorted((draw(coordinates), draw(coordinates))) for _ in range(size)]
    if draw(st.booleans()):
        narrow = draw(st.integers(0, size - 1))
        pairs[narrow][1] = pairs[narrow][0] + Fraction(1, 10 ** draw(st.integers(3, 30)))
    return Box(exact([p[0] for p in pairs]), exact([p[1] for p in pairs]))


@st.composite
def balls(draw: st.DrawFn, size: int) -> InputSet:
    center = exact([draw(coordinates) for _ in range(size)])
    radius = draw(st.fractions(0, 1, max_denominator=1000))
    # A clip box that may leave the center outside, but not the whole hull.
    cut = draw(st.sampled_from([None, Fraction(0), radius / 3]))
    clip = None if cut is None else Box(center + cut, center + cut + 3)
    return norm_ball(center, radius, draw(st.sampled_from(["l1", "l2"])), clip)


def candidates(size: int) -> st.SearchStrategy[np.ndarray]:
    floats = st.floats(-10, 10)
    return st.lists(floats, min_size=size, max_size=size).map(np.array)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_placed_point_is_exactly_inside(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    inputs = data.draw(st.one_of(boxes(size), balls(size)))
    placements = place(data.draw(candidates(size)), inputs)
    if not placements:
        # Only a ball that the clip box misses has no way in.
        assert not isinstance(inputs, Box)
        anchor = np.minimum(np.maximum(inputs.center, inputs.box.lower), inputs.box.upper)
        assert anchor not in inputs
        return
    for placement in placements:
        assert placement.point in inputs
        assert all(isinstance(v, Fraction) for v in placement.point)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_coordinate_is_a_float32_where_the_interval_holds_one(data: st.DataObject) -> None:
    box = data.draw(boxes(3))
    placement = place(data.draw(candidates(3)), box)[0]
    for value, lower, upper in zip(placement.point, box.lower, box.upper, strict=True):
        inside = np.float32(float(lower))
        inside = inside if Fraction(float(inside)) >= lower else np.nextafter(inside, np.float32(9))
        if Fraction(float(inside)) <= upper:
            assert Fraction(float(np.float32(float(value)))) == value


def test_float32_points_of_the_set_stay_where_they_are() -> None:
    box = Box(exact([-1, -1]), exact([1, 1]))
    point = np.array([0.1, -0.7], dtype=np.float32).astype(np.float64)
    placement = place(point, box)[0]
    assert placement.point.tolist() == [Fraction(v) for v in point.tolist()]
    assert placement.note is None


def test_a_point_far_outside_a_ball_lands_near_its_surface() -> None:
    ball = norm_ball(exact([0, 0]), Fraction(1), "l2")
    placement = place(np.array([30.0, 40.0]), ball)[0]
    assert sum(v * v for v in placement.point) > 1 - Fraction(1, 10**5)


def test_an_interval_between_two_float32_keeps_its_rational() -> None:
    third = Fraction(1, 3)
    placement = place(np.array([0.3]), Box(exact([third]), exact([third])))[0]
    assert placement.point[0] == third
    assert placement.note is not None


def test_what_is_not_a_number_is_not_placed() -> None:
    box = Box(exact([0, 0]), exact([1, 1]))
    assert place(np.array([0.5, np.nan]), box) == ()
    assert place(np.array([np.inf, 0.5]), box) == ()


def test_bounds_beyond_float32_are_kept_exact() -> None:
    huge = Fraction(10) ** 60
    placement = place(np.array([1e60]), Box(exact([huge]), exact([2 * huge])))[0]
    assert placement.point[0] >= huge
    assert placement.note is not None

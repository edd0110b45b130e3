"""Whatever goes in, what comes out lies exactly in the set, on float32 numbers where possible."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.evidence.placement import near_centers, place
from specdsl.query.sets import Ball, Box, EmptySet, InputSet, cut, exact, norm_ball

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
        assert near_centers(inputs) not in inputs
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


# --- several balls, weights, whole numbers -------------------------------------------------------


@st.composite
def cut_boxes(draw: st.DrawFn, size: int) -> InputSet:
    """A box cut by one to three weighted balls that hold the box's center or nearly so."""
    box = draw(boxes(size))
    middle = (box.lower + box.upper) / 2
    found: list[Ball] = []
    for _ in range(draw(st.integers(1, 3))):
        positions = np.array(sorted(draw(st.sets(st.integers(0, size - 1), min_size=1))))
        count = positions.size
        scale = exact([draw(st.fractions(Fraction(1, 4), 4, max_denominator=8)) for _ in positions])
        moved = exact([draw(st.fractions(-1, 1, max_denominator=16)) for _ in range(count)])
        radius = draw(st.fractions(Fraction(1, 4), 2, max_denominator=8))
        norm = draw(st.sampled_from(["l1", "l2"]))
        found.append(Ball(positions, middle[positions] + moved / 4, scale, radius, norm))
    try:
        return cut(box, found)
    except EmptySet:
        return box


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_point_placed_in_several_balls_is_in_all_and_whole_where_it_must_be(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(1, 4))
    inputs = data.draw(cut_boxes(size))
    integers = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1)))), dtype=np.int64)
    for placement in place(data.draw(candidates(size)), inputs, integers):
        assert placement.point in inputs
        assert all(v.denominator == 1 for v in placement.point[integers])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_point_of_the_set_is_placed_where_it_is(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    inputs = data.draw(cut_boxes(size))
    inner = place(data.draw(candidates(size)), inputs)
    for placement in inner:
        again = place(placement.point, inputs)
        assert again
        assert again[-1].point.tolist() == placement.point.tolist()


def test_balls_that_hardly_meet_are_still_met() -> None:
    where, ones = np.arange(2, dtype=np.int64), exact([1, 1])
    reach = Fraction(1) + Fraction(1, 10**4)
    balls = [Ball(where, exact([c, 0]), ones, reach, "l2") for c in (-1, 1)]
    inputs = cut(Box(exact([-3, -3]), exact([3, 3])), balls)
    placements = place(np.array([2.0, 2.0]), inputs)
    assert placements
    assert all(p.point in inputs for p in placements)


def test_whole_numbers_move_towards_the_center_where_the_nearest_leave_the_ball() -> None:
    inputs = norm_ball(exact([0, 0]), Fraction(5, 2), "l2")
    (placement,) = place(np.array([1.8, 1.8]), inputs, np.array([0, 1]))
    assert placement.point.tolist() == [1, 1]
    (mirrored,) = place(np.array([-1.8, -1.8]), inputs, np.array([0, 1]))
    assert mirrored.point.tolist() == [-1, -1]


def test_an_interval_without_whole_numbers_has_no_place() -> None:
    box = Box(exact([Fraction(1, 4)]), exact([Fraction(3, 4)]))
    assert place(np.array([0.5]), box, np.array([0])) == ()

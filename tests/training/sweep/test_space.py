"""Values that are drawn lie where they may, and are numbers one can read."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.space import Choices, Interval, corners, grid, random_points

ENDS = st.fractions(min_value=Fraction(1, 10**6), max_value=10**6, max_denominator=10**6)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    a, b = sorted((draw(ENDS), draw(ENDS)))
    whole = draw(st.booleans())
    if whole:
        a, b = Fraction(int(a)) + 1, Fraction(int(b)) + 2
    b = b if b > a else a + 1
    return Interval("p", a, b, draw(st.booleans()), whole, draw(st.sampled_from([None, "m"])))


@given(intervals(), st.floats(0, 1))
def test_a_value_lies_in_its_interval(interval: Interval, share: float) -> None:
    number, _, unit = interval.at(share).partition(" ")
    value = Fraction(number)
    assert interval.lower <= value <= interval.upper
    assert value.denominator == 1 or not interval.whole
    assert unit == ("`m`" if interval.unit else "")


@given(intervals())
def test_both_ends_can_be_drawn_up_to_rounding(interval: Interval) -> None:
    for share in (0.0, 1.0):
        assert interval.share(interval.at(share)) == pytest.approx(share, abs=1e-2) or (
            interval.whole and interval.upper - interval.lower < 1_000
        )


def test_values_have_few_digits_whatever_the_scale() -> None:
    assert Interval("p", Fraction(1, 100), Fraction(1, 2)).at(0.3) == "0.157"
    assert Interval("p", Fraction(999, 1000), Fraction(1)).at(0.5) == "0.9995"
    ratios = Interval("p", Fraction(1, 10**6), Fraction(1), even_ratios=True)
    assert ratios.at(0.5) == "0.001"
    assert Interval("p", Fraction(1, 3), Fraction(2, 3)).at(0.0) == "1/3"
    assert Interval("n", Fraction(16), Fraction(256), even_ratios=True, whole=True).at(0.5) == "64"


def test_a_grid_is_every_combination_the_first_slowest() -> None:
    space = [Choices("a", ("1", "2")), Choices("b", ("x", "y", "z"))]
    points = list(grid(space))
    assert points[:4] == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "1", "b": "z"},
        {"a": "2", "b": "x"},
    ]
    assert len(points) == 6


def test_a_grid_of_an_interval_is_refused_with_a_step_to_paste() -> None:
    with pytest.raises(SpecError) as caught:
        list(grid([Interval("a", Fraction(0), Fraction(1))]))
    (found,) = caught.value.diagnostics
    assert found.code == "E0860"
    assert "`-D a=0..1:1/5`" in (found.help or "")


def test_random_points_differ_and_follow_the_seed() -> None:
    space = [Interval("a", Fraction(0), Fraction(1)), Choices("b", ("x", "y"))]
    first = list(islice(random_points(space, 1), 50))
    assert first == list(islice(random_points(space, 1), 50))
    assert first != list(islice(random_points(space, 2), 50))
    assert len({tuple(point.values()) for point in first}) == 50


def test_a_finite_space_gives_each_point_once() -> None:
    space = [Choices("a", ("1", "2")), Choices("b", ("x", "y", "z"))]
    points = [tuple(point.values()) for point in random_points(space, 0)]
    assert sorted(points) == sorted(tuple(point.values()) for point in grid(space))


def test_corners_show_each_end_once() -> None:
    space = [Interval("a", Fraction(0), Fraction(1)), Choices("b", ("x", "y", "z"))]
    points = [tuple(point.values()) for point in corners(space)]
    assert points == [("0", "x"), ("1", "x"), ("0", "y"), ("0", "z")]

"""Steps: values, ranges and lines hold on both sides of jumps that rounding may have crossed."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nextafter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import steps
from specdsl.graph import ops

# Lines are products and sums of a few numbers of size 10.
ROUNDING = 1e-12

THRESHOLDS = [ops.Sign(), ops.Positive(), ops.NotNegative(), ops.IsZero()]
ROUNDINGS = [ops.Floor(), ops.Ceil(), ops.Round(), ops.Truncate()]
OPS = [*THRESHOLDS, *ROUNDINGS]

# Jumps lie at halves and whole numbers: ends on them, next to them and anywhere.
at_jumps = st.integers(-6, 6).map(lambda n: n / 2)
beside = st.tuples(at_jumps, st.sampled_from([-inf, inf])).map(lambda e: nextafter(*e))
one_end = st.one_of(at_jumps, beside, st.floats(-4, 4))
ends = st.lists(one_end, min_size=2, max_size=2).map(sorted)
slacks = st.sampled_from([0.0, 1e-12, 0.25])


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def interval(end: list[float]) -> Interval:
    return Interval(tensor(end[0])[None], tensor(end[1])[None])


def points_of(low: float, high: float) -> Tensor:
    """Points of an interval: even ones, its ends, every jump and both neighbours of every jump."""
    jumps = [n / 2 for n in range(-10, 11)]
    near = [nextafter(j, way) for j in jumps for way in (-inf, inf)]
    kept = [p for p in [*jumps, *near] if low <= p <= high]
    return torch.cat([torch.linspace(low, high, 41, dtype=torch.float64), tensor(low, high, *kept)])


@pytest.mark.parametrize("op", OPS, ids=repr)
@given(end=ends, slack=slacks)
@settings(max_examples=150, deadline=None)
def test_lines_and_range_bracket_the_step_wherever_rounding_may_lead(
    op: ops.Step, end: list[float], slack: float
) -> None:
    z = interval(end)
    reached = steps.widened(z, slack)
    low, high = float(reached.lower), float(reached.upper)
    points = points_of(low, high)
    value = steps.evaluate(op, points)
    found, span = steps.relax(op, z, slack), steps.image(op, z, slack)
    assert found.lower_intercept is not None
    for moved in (-slack, 0.0, slack):
        at = points + moved
        assert bool((found.lower_slope * at + found.lower_intercept <= value + ROUNDING).all())
        assert bool((found.upper_slope * at + found.upper_intercept >= value - ROUNDING).all())
    # The range is that of what is reached: no less, and no more than the unit in the last place
    # that keeps a slack from being lost.
    assert (float(span.lower), float(span.upper)) == (float(value.min()), float(value.max()))
    assert bool(steps.is_stable(op, z, slack)) == bool(value.min() == value.max())


@given(end=ends, slack=slacks)
@settings(max_examples=150, deadline=None)
def test_what_a_slack_reaches_is_one_unit_further_than_its_float_and_no_more(
    end: list[float], slack: float
) -> None:
    reached = steps.widened(interval(end), slack)
    low, high = float(reached.lower), float(reached.upper)
    if not slack:
        assert [low, high] == end
        return
    assert Fraction(low) < Fraction(end[0]) - Fraction(slack)
    assert Fraction(high) > Fraction(end[1]) + Fraction(slack)
    assert low == nextafter(end[0] - slack, -inf)
    assert high == nextafter(end[1] + slack, inf)


@pytest.mark.parametrize("op", OPS, ids=repr)
@given(end=ends)
@settings(max_examples=100, deadline=None)
def test_a_relaxation_is_no_wider_at_the_midpoint_than_the_range(
    op: ops.Step, end: list[float]
) -> None:
    z = interval(end)
    found, span = steps.relax(op, z), steps.image(op, z)
    assert found.lower_intercept is not None
    assert bool(found.lower_slope * z.center + found.lower_intercept >= span.lower - ROUNDING)
    assert bool(found.upper_slope * z.center + found.upper_intercept <= span.upper + ROUNDING)


@given(end=st.lists(st.floats(-40, 40), min_size=2, max_size=2).map(sorted))
@settings(max_examples=200, deadline=None)
def test_a_rounding_over_several_jumps_stays_in_its_band(end: list[float]) -> None:
    z = interval(end)
    found = steps.relax(ops.Round(), z)
    assert found.lower_intercept is not None
    gap = (found.upper_slope - found.lower_slope) * z.center
    gap = gap + found.upper_intercept - found.lower_intercept
    assert float(gap) <= 1 + ROUNDING


@pytest.mark.parametrize("op", OPS, ids=repr)
@given(numbers=st.lists(one_end, min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_values_are_the_exact_ones(op: ops.Step, numbers: list[float]) -> None:
    found = steps.evaluate(op, tensor(*numbers))
    assert found.tolist() == [float(op.exact(Fraction(n))) for n in numbers]


@pytest.mark.parametrize("op", OPS, ids=repr)
def test_a_gradient_is_asked_for_and_the_value_stays_exact(op: ops.Step) -> None:
    z = tensor(-2.5, -1.0, -0.25, 0.0, 0.5, 3.0).requires_grad_(True)
    value = steps.evaluate(op, z)
    assert torch.equal(value.detach(), steps.evaluate(op, z.detach()))
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert bool(gradient.isfinite().all())
    # Towards larger values: upwards, and for what peaks at 0 towards 0.
    sides = -z.detach().sign() if isinstance(op, ops.IsZero) else torch.ones(6)
    assert bool((gradient * sides >= 0).all())
    assert bool((gradient != 0).any())


@pytest.mark.parametrize("op", OPS, ids=repr)
@pytest.mark.parametrize("end", [(-inf, inf), (-inf, 1.5), (-0.5, inf), (0.0, inf), (3e17, 4e17)])
def test_without_ends_the_lines_that_always_hold_are_left(
    op: ops.Step, end: tuple[float, float]
) -> None:
    found = steps.relax(op, interval(list(end)))
    assert found.lower_intercept is not None
    points = points_of(max(end[0], -9), min(end[1], 9)) if end[0] < 9 else tensor(*end)
    value = steps.evaluate(op, points)
    assert bool((found.lower_slope * points + found.lower_intercept <= value).all())
    assert bool((found.upper_slope * points + found.upper_intercept >= value).all())


def test_the_lines_of_a_threshold_touch_the_corner_of_its_jump() -> None:
    found = steps.relax(ops.NotNegative(), interval([-3.0, 1.0]))
    assert found.lower_intercept is not None
    assert (float(found.lower_slope), float(found.lower_intercept)) == (0.0, 0.0)
    assert float(found.upper_slope) == pytest.approx(1 / 3)
    assert float(found.upper_intercept) == pytest.approx(1.0)


def test_a_slack_lost_to_rounding_counts_all_the_same() -> None:
    # 3 - 1e-17 is 3 in float64, but not in real numbers.
    span = steps.image(ops.Floor(), interval([3.0, 3.0]), 1e-17)
    assert (float(span.lower), float(span.upper)) == (2.0, 3.0)

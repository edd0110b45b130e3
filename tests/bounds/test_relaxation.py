"""Linear relaxations bracket the function on its interval; for ReLU they are CROWN's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import polynomial
from specdsl.bounds.kinds.piecewise import evaluate, image, is_stable, relax
from specdsl.graph import ops

ROUNDING = 1e-9

OPS = [
    ops.Relu(),
    ops.LeakyRelu(0.2),
    ops.LeakyRelu(-0.5),
    ops.LeakyRelu(1.5),
    ops.Clip(-1.0, 1.0),
    ops.Clip(0.25, 0.5),
    ops.Abs(),
]
ends = st.lists(st.floats(-4, 4), min_size=2, max_size=2).map(sorted)


@pytest.mark.parametrize("op", OPS, ids=repr)
@given(end=ends)
@settings(max_examples=60, deadline=None)
def test_relaxation_and_image_bracket_the_function(
    op: ops.PiecewiseLinear, end: list[float]
) -> None:
    z = Interval(*(torch.tensor([[e]], dtype=torch.float64) for e in end))
    points = torch.linspace(end[0], end[1], 101, dtype=torch.float64)[:, None]
    value = evaluate(op, points)
    found = relax(op, z)
    below = found.lower_slope * points
    below = below if found.lower_intercept is None else below + found.lower_intercept
    above = found.upper_slope * points + found.upper_intercept
    assert bool((below <= value + ROUNDING).all())
    assert bool((value <= above + ROUNDING).all())
    span = image(op, z)
    assert bool((span.lower - ROUNDING <= value).all())
    assert bool((value <= span.upper + ROUNDING).all())
    if bool(is_stable(op, z).all()):
        assert torch.allclose(below, value, atol=1e-7)
        assert torch.allclose(above, value, atol=1e-7)


@given(end=ends)
@settings(max_examples=60, deadline=None)
def test_the_fast_relu_rule_is_the_general_rule(end: list[float]) -> None:
    z = Interval(*(torch.tensor([[e]], dtype=torch.float64) for e in end))
    fast, general = relax(ops.Relu(), z), relax(ops.LeakyRelu(0.0), z)
    middle = z.center
    for slope, intercept, other_slope, other_intercept in (
        (fast.lower_slope, 0.0, general.lower_slope, general.lower_intercept),
        (
            fast.upper_slope,
            fast.upper_intercept,
            general.upper_slope,
            general.upper_intercept,
        ),
    ):
        # Lines may differ where two are equally near; their height at the midpoint may not.
        height = slope * middle + intercept
        assert torch.allclose(height, other_slope * middle + other_intercept, atol=1e-9)


def interval(end: list[float]) -> Interval:
    return Interval(*(torch.tensor([[e]], dtype=torch.float64) for e in end))


@given(one=ends, other=ends)
@settings(max_examples=150, deadline=None)
def test_planes_bracket_a_product_and_have_its_extremes(
    one: list[float], other: list[float]
) -> None:
    x, y = interval(one), interval(other)
    found = polynomial.relax_product(x, y)
    along = torch.linspace(0, 1, 21, dtype=torch.float64)
    u, v = torch.meshgrid(
        one[0] + along * (one[1] - one[0]), other[0] + along * (other[1] - other[0]), indexing="ij"
    )
    below = found.lower_x * u + found.lower_y * v + found.lower_intercept
    above = found.upper_x * u + found.upper_y * v + found.upper_intercept
    assert bool((below <= u * v + ROUNDING).all())
    assert bool((u * v <= above + ROUNDING).all())
    # The corners belong to the grid, and planes have their extremes there.
    span = polynomial.image(ops.Multiply(), [x, y])
    assert torch.allclose(below.min(), span.lower, atol=1e-9)
    assert torch.allclose(above.max(), span.upper, atol=1e-9)
    assert torch.allclose((u * v).min(), span.lower)
    assert torch.allclose((u * v).max(), span.upper)


@given(end=ends)
@settings(max_examples=100, deadline=None)
def test_lines_bracket_a_square(end: list[float]) -> None:
    x = interval(end)
    found = polynomial.relax_square(x)
    points = torch.linspace(end[0], end[1], 101, dtype=torch.float64)[:, None]
    assert found.lower_intercept is not None
    assert bool((found.lower_slope * points + found.lower_intercept <= points**2 + ROUNDING).all())
    assert bool((points**2 <= found.upper_slope * points + found.upper_intercept + ROUNDING).all())
    span = polynomial.image(ops.Square(), [x])
    assert bool((span.lower <= points**2).all())
    assert bool((points**2 <= span.upper).all())

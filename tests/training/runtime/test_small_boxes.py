"""Small boxes lie in their region, hold their point, and are as wide as said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.region import Balls, InputRegion
from specdsl.training.runtime.bounds.small_boxes import small_box


def drawn(seed: int, dtype: torch.dtype) -> tuple[InputRegion, torch.Tensor]:
    """Boxes with radii of their own in every dimension, some 0, and points at ends and inside."""
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(4, 6, generator=generator, dtype=dtype)
    width = torch.rand(4, 6, generator=generator, dtype=dtype)
    width = width * (torch.rand(4, 6, generator=generator) > 0.2)
    part = torch.rand(4, 6, generator=generator, dtype=dtype).mul(1.6).sub(0.3).clamp(0, 1)
    region = InputRegion(Interval(lower, lower + width))
    points = (lower + part * width).maximum(region.box.lower).minimum(region.box.upper)
    return region, points


@given(
    seed=st.integers(0, 2**16),
    share=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=200, deadline=None)
def test_a_small_box_lies_in_its_region_and_holds_its_point(
    seed: int, share: float, dtype: torch.dtype
) -> None:
    region, points = drawn(seed, dtype)
    small = small_box(region, points, share).box
    assert bool((small.lower >= region.box.lower).all())
    assert bool((small.upper <= region.box.upper).all())
    # A few units in the last place of what is added up.
    rounding = 8 * torch.finfo(dtype).eps * (1 + region.box.lower.abs() + region.box.upper.abs())
    assert bool((small.lower <= points + rounding).all())
    assert bool((small.upper >= points - rounding).all())
    assert bool(((small.radius - share * region.box.radius).abs() <= rounding).all())


def test_half_widths_count_and_not_widths() -> None:
    """The pitfall: a box of [0, 1] at share 0.4 around 0.5 is [0.3, 0.7]."""
    region = InputRegion(Interval(torch.zeros(1, 1), torch.ones(1, 1)))
    small = small_box(region, torch.full((1, 1), 0.5), 0.4).box
    assert (small.lower.item(), small.upper.item()) == pytest.approx((0.3, 0.7))
    at_end = small_box(region, torch.zeros(1, 1), 0.4).box
    assert (at_end.lower.item(), at_end.upper.item()) == pytest.approx((0.0, 0.4))


def test_shares_of_0_and_1_are_the_point_and_the_region() -> None:
    region, points = drawn(3, torch.float64)
    nothing, all_of_it = (small_box(region, points, share).box for share in (0.0, 1.0))
    assert torch.allclose(nothing.lower, points)
    assert torch.allclose(nothing.upper, points)
    assert torch.allclose(all_of_it.lower, region.box.lower)
    assert torch.allclose(all_of_it.upper, region.box.upper)


def test_balls_cut_the_small_box_too() -> None:
    center = torch.zeros(1, 3, dtype=torch.float64)
    like = torch.ones(3, dtype=torch.float64)
    ball = Ball(torch.arange(3), center[0], 1.0 * like[0], like, "l2")
    region = InputRegion(Interval(center - 1, center + 1), Balls.of((ball,), 3))
    small = small_box(region, torch.tensor([[0.9, 0.0, 0.0]], dtype=torch.float64), 0.5)
    row = torch.ones(1, 1, 3, dtype=torch.float64)
    # Without the ball the corner (1, 0.5, 0.5) would be the largest.
    assert -small.minimum(-row).item() <= 3**0.5 + 1e-9


def test_shares_outside_are_refused() -> None:
    region, points = drawn(0, torch.float64)
    with pytest.raises(ValueError, match="between 0 and 1"):
        small_box(region, points, 1.5)

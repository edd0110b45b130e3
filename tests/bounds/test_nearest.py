"""Nearest points of boxes cut by unit balls: nothing of the set is nearer, and how they move."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.regions.nearest import Nearest, nearest_in_box, nearest_in_l1, nearest_in_l2

WAYS = {"box": nearest_in_box, "l1": nearest_in_l1, "l2": nearest_in_l2}
ways = st.sampled_from(sorted(WAYS))
seeds = st.integers(0, 10**6)


def random_box(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points far and near, and the ends of a box that holds the origin or a point of the ball."""
    generator = torch.manual_seed(seed)
    entries = int(torch.randint(1, 9, (), generator=generator))
    far = 10.0 ** float(torch.randint(-1, 4, (), generator=generator))
    points = torch.randn(16, entries, generator=generator, dtype=torch.float64) * far
    inside = torch.randn(entries, generator=generator, dtype=torch.float64)
    inside = inside / inside.abs().sum() * float(torch.randint(0, 2, (), generator=generator)) * 0.9
    reach = torch.rand(2, entries, generator=generator, dtype=torch.float64)
    return points, inside - reach[0], inside + reach[1]


def size(points: torch.Tensor, way: str) -> torch.Tensor:
    return points.abs().sum(-1) if way == "l1" else points.norm(dim=-1)


@given(seeds, ways)
@settings(max_examples=200, deadline=None)
def test_no_point_of_the_set_is_nearer(seed: int, way: str) -> None:
    points, low, high = random_box(seed)
    found = WAYS[way](points, low, high).point
    assert ((low <= found) & (found <= high)).all()
    if way != "box":
        assert (size(found, way) <= 1 + 1e-9 * (1 + points.abs().amax())).all()
    # The points found lie in the set, so none may be on the far side of another's plane.
    away = points - found
    gain = away @ found.T - (away * found).sum(1, keepdim=True)
    assert (gain <= 1e-9 * (1 + away.norm(dim=1, keepdim=True)) * (1 + points.abs().amax())).all()


@given(st.integers(0, 300), ways)
@settings(max_examples=100, deadline=None)
def test_points_move_as_the_derivative_says(seed: int, way: str) -> None:
    points, low, high = random_box(seed)
    generator = torch.manual_seed(seed)
    step = torch.randn(points.shape, generator=generator, dtype=torch.float64) * 1e-7
    before, after = (WAYS[way](points + sign * step, low, high) for sign in (-1, 1))
    found = WAYS[way](points, low, high)
    expected = 2 * _moved(found, step)
    # Where the two sides have different derivatives, a bend lies between them.
    smooth = torch.isclose(_moved(before, step), _moved(after, step), atol=1e-12).all(1)
    assert torch.allclose((after.point - before.point)[smooth], expected[smooth], atol=1e-10)
    assert bool(smooth.float().mean() > 0.5)


def _moved(found: Nearest, step: torch.Tensor) -> torch.Tensor:
    along = (found.normal * step).sum(-1, keepdim=True)
    return found.diagonal * step - found.normal * along


@pytest.mark.parametrize("way", ["l1", "l2"])
def test_a_box_beside_the_ball_gives_its_nearest_point(way: str) -> None:
    low, high = torch.tensor([[1.5, -0.2]]).double(), torch.tensor([[2.0, 0.3]]).double()
    found = WAYS[way](torch.tensor([[3.0, 2.0], [-1.0, 0.1]]).double(), low, high).point
    assert torch.allclose(found, torch.tensor([1.5, 0.0]).double(), atol=1e-6)

"""Regions that are moved about and put together have the least values that they should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.claims.claim import Atom, ball, box, intersect
from specdsl.training.runtime.claims.parts import (
    chosen_rows,
    cut_by_ball,
    decided,
    each,
    each_output,
    fixed,
    halfspaces,
    hull,
    joint,
    moved,
    rows_of,
    rows_of_class,
    same_class,
    select,
)

BATCH, SIZE = 2, 3
# Duality of balls cut by boxes ends within this in float32.
CLOSE = 1e-4


def region(norm: str) -> InputRegion:
    center = torch.tensor([[0.5, -0.25, 1.0], [0.0, 0.75, -0.5]])
    if norm == "two":
        first = intersect(ball(center, 0.5, "l1"), box(-1.0, 1.0))
        return cut_by_ball(first, [0, 2], center[:, [0, 2]], 0.25, "l2", 2.0)
    return intersect(ball(center, 0.5, norm), box(-1.0, 1.0))  # type: ignore[arg-type]


def directions() -> Tensor:
    return torch.randn(1, 5, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "two"])
def test_moving_a_region_moves_its_least_values(norm: str) -> None:
    scale, shift = (
        torch.tensor([[2.0, -0.5, 1.0]]),
        torch.tensor([[1.0, 0.0, -2.0], [0.5, 1.0, 0.0]]),
    )
    found = moved(region(norm), scale, shift).minimum(directions())
    wanted = region(norm).minimum(directions() * scale) + (directions() * shift[:, None]).sum(-1)
    assert torch.allclose(found, wanted, atol=CLOSE)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "two"])
def test_least_values_over_a_product_add_up(norm: str) -> None:
    first, second = region(norm), region("l2")
    both = torch.cat([directions(), directions().flip(1)], dim=2)
    found = joint(first, second).minimum(both)
    wanted = first.minimum(directions()) + second.minimum(directions().flip(1))
    assert torch.allclose(found, wanted, atol=CLOSE)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "two"])
def test_a_hull_has_the_least_and_largest_values(norm: str) -> None:
    matrix = directions()[0]
    found = hull(region(norm), matrix, 1.0).box
    assert torch.allclose(found.lower, region(norm).minimum(matrix[None]) + 1)
    assert torch.allclose(found.upper, 1 - region(norm).minimum(-matrix[None]))


def test_selected_entries_stand_in_the_order_given() -> None:
    whole, part = region("linf").box, select(region("linf"), [2, 0]).box
    assert torch.equal(part.lower, whole.lower[:, [2, 0]])
    assert torch.equal(part.upper, whole.upper[:, [2, 0]])


def test_half_spaces_cut_a_region() -> None:
    first = region("linf")
    rows = rows_of(first.box.lower, SIZE, {0: 1.0, 1: 1.0})
    found = halfspaces(first, rows, torch.tensor([[0.25], [0.5]]))
    assert torch.allclose(found.minimum(-rows), torch.tensor([[-0.25], [-0.5]]), atol=CLOSE)
    with pytest.raises(ValueError, match="once"):
        halfspaces(found, rows, torch.zeros(1, 1))


def test_a_ball_has_a_radius_of_0_or_more() -> None:
    center = torch.zeros(BATCH, 1)
    with pytest.raises(ValueError, match="radius"):
        cut_by_ball(region("linf"), [0], center, -0.5, "l2", 1.0)
    point = cut_by_ball(region("linf"), [0], region("linf").box.center[:, :1], 0.0, "l2", 1.0)
    values = point.minimum(rows_of(center, SIZE, {0: 1.0}))[:, 0]
    assert torch.allclose(values, region("linf").box.center[:, 0], atol=CLOSE)


def test_fixed_points_do_not_move() -> None:
    point = torch.tensor([[1.0, 2.0]])
    application = fixed(point)
    assert torch.equal(application.point(torch.zeros(4, 9)), point.expand(4, 2))
    assert torch.equal(application.region.box.radius, torch.zeros(1, 2))


def test_rows_are_those_that_are_named() -> None:
    like, label = torch.zeros(1), torch.tensor([2, 0])
    outputs = torch.tensor([[1.0, 5.0, -2.0], [3.0, 0.0, 4.0]])[:, :, None]
    chosen = (chosen_rows(like, label, 3, [1.0, -2.0]) @ outputs)[..., 0]
    assert chosen.tolist() == [[-2.0, 4.0], [3.0, -6.0]]
    assert (rows_of_class(like, 1, 3) @ outputs)[..., 0].tolist() == [[4.0, 7.0], [-3.0, -4.0]]
    every = (each_output(like, 3, -1.0, 2.0) @ outputs)[..., 0]
    assert every[0].tolist() == [-1.0, 2.0, -5.0, 10.0, 2.0, -4.0]
    assert len(same_class(like, 3, 0, 1, 2).parts) == 3


def test_an_atom_comes_apart_into_its_margins() -> None:
    atom = Atom((None, rows_of(torch.zeros(1), 2, {0: 1.0}, {1: 1.0})), torch.tensor([[1.0, 2.0]]))
    first, second = each(atom)
    assert first.rows[0] is None
    assert second.offset.tolist() == [[2.0]]
    assert second.rows[1] is not None
    assert second.rows[1].tolist() == [[[0.0, 1.0]]]


def test_what_is_decided_has_infinite_margins() -> None:
    assert decided(torch.tensor([[True], [False]])).tolist() == [[torch.inf], [-torch.inf]]

"""Regions of claims: what they contain, what is refused."""

from __future__ import annotations

import pytest
import torch

from specdsl.bounds.interval import EmptyInterval
from specdsl.training.runtime.claims.claim import ball, box, class_rows, intersect


def test_a_region_holds_what_lies_in_all_parts() -> None:
    x = torch.tensor([[0.05, 0.5], [0.95, 0.5]])
    region = intersect(ball(x, 0.1), box(0.0, 1.0), box(torch.tensor([0.0, 0.45]), 1.0))
    assert torch.allclose(region.box.lower, torch.tensor([[0.0, 0.45], [0.85, 0.45]]))
    assert torch.allclose(region.box.upper, torch.tensor([[0.15, 0.6], [1.0, 0.6]]))
    assert region.is_box


def test_ball_radii_may_differ_by_entry() -> None:
    x = torch.zeros(3, 2)
    region = intersect(ball(x, torch.tensor([0.1, 0.2])))
    assert torch.equal(region.box.upper, torch.tensor([[0.1, 0.2]]).expand(3, 2))


def test_a_ball_is_cut_by_the_box_around_it() -> None:
    region = intersect(ball(torch.zeros(1, 2), 1.0, "l2"))
    least = region.minimum(torch.tensor([[[3.0, 4.0]]]))
    assert least.item() == pytest.approx(-5.0, rel=1e-5)
    assert not region.is_box
    assert intersect(ball(torch.zeros(1, 2), 0.0, "l2")).is_box


def test_ends_that_cross_by_rounding_are_swapped() -> None:
    x = torch.tensor([[1.0 + 1e-7, 0.5]])
    region = intersect(ball(x, 0.0), box(0.0, 1.0))
    assert (region.box.lower <= region.box.upper).all()


def test_what_is_no_region_is_refused() -> None:
    x = torch.tensor([[2.0]])
    with pytest.raises(EmptyInterval, match="no point"):
        intersect(ball(x, 0.1), box(0.0, 1.0))
    with pytest.raises(ValueError, match="0 or more"):
        ball(x, -0.1)
    with pytest.raises(ValueError, match="one ball"):
        intersect(ball(x, 0.1, "l1"), ball(x, 0.1, "l2"))
    with pytest.raises(ValueError, match="no shape"):
        intersect(box(0.0, 1.0))
    assert intersect(box(0.0, 1.0), like=x).batch == 1


def test_class_rows_are_the_score_minus_every_other() -> None:
    rows = class_rows(torch.tensor([2, 0]), 3)
    expected = [[[-1, 0, 1], [0, -1, 1]], [[1, -1, 0], [1, 0, -1]]]
    assert torch.equal(rows, torch.tensor(expected, dtype=torch.float32))

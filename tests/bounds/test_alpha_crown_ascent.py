"""How alpha-CROWN raises rows: each by itself, from a start if given, alike every time."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import Relaxation
from specdsl.bounds.passes.alpha_crown import alpha_crown, alpha_propagate, alpha_rows
from specdsl.bounds.passes.ascent import Limits
from specdsl.bounds.passes.crown import Propagated, Relaxations, propagate
from specdsl.bounds.regions.region import InputRegion
from tests.bounds.raising import NONE, QUICK, SHORT, box_region, relu_network, seeds, two_sided
from tests.bounds.random_graphs import INPUTS, random_graph


def alone(propagated: Propagated, index: Tensor) -> Propagated:
    """Bounds and lines of the regions at `index`.

    Made anew they would be others: the planes of a product are often equally good, and one is
    taken by what rounding makes of that, which is not the same in a batch of another size.
    """
    assert not propagated.relaxations.sizes  # Those of delicate graphs, which no caller has.
    bounds = {n: Interval(b.lower[index], b.upper[index]) for n, b in propagated.bounds.items()}
    lines = {n: line_at(line, index) for n, line in propagated.relaxations.items()}
    return Propagated(bounds, Relaxations(lines))


def line_at(line: Any, index: Tensor) -> Relaxation:
    parts = {f.name: getattr(line, f.name) for f in fields(line)}
    return replace(line, **{n: p[index] for n, p in parts.items() if isinstance(p, Tensor)})


def gaps_to_boxes_alone(seed: int, limits: Limits) -> list[float]:
    """How far the bounds of three boxes in a batch are from those of each by itself."""
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 3, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    together = alpha_rows(compiled, rows, region, propagated, limits).linear.lower
    gaps: list[float] = []
    for index in torch.arange(3).split(1):
        own = alone(propagated, index)
        single = alpha_rows(compiled, rows, region.take(index), own, limits).linear.lower
        gaps.append(float(((together[index] - single) / (1 + single.abs())).abs().amax()))
    return gaps


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_before_it_climbs_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    assert max(gaps_to_boxes_alone(seed, Limits(1))) <= 1e-9


# Few enough steps that no row is left alone: that looks at the whole batch. The seeds are fixed,
# since where a coefficient cancels the gradient has a jump, and rounding may choose its side.
@pytest.mark.parametrize("seed", [*range(6), 573780, 924931])
def test_after_some_steps_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    assert max(gaps_to_boxes_alone(seed, Limits(5))) <= 1e-7


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_same_again_is_the_same(seed: int) -> None:
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 2, INPUTS, 0.3)
    rows = two_sided(compiled)
    one, other = (alpha_crown(compiled, region, rows, QUICK) for _ in range(2))
    assert torch.equal(one, other)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_kept_places_give_the_same_rows_again_and_a_start_to_go_on_from(seed: int) -> None:
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 2, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    found = alpha_rows(compiled, rows, region, propagated, Limits(8))
    again = alpha_rows(compiled, rows, region, propagated, NONE, found.places)
    assert torch.allclose(found.linear.lower, again.linear.lower)
    further = alpha_rows(compiled, rows, region, propagated, Limits(8), found.places)
    assert bool((further.linear.lower >= found.linear.lower - 1e-9).all())
    second = found.take(torch.tensor([1, 1]))
    assert torch.equal(second.linear.lower[0], found.linear.lower[1])


def test_rows_that_are_good_enough_are_left_where_they_are() -> None:
    compiled = compile_graph(random_graph(0))
    region = box_region(0, 2, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    best = alpha_rows(compiled, rows, region, propagated, Limits(40)).linear.lower
    enough = float(best.min()) - 1.0
    lazy = alpha_rows(compiled, rows, region, propagated, Limits(40, enough=enough)).linear.lower
    assert bool((lazy > enough).all())
    assert bool((lazy <= best + 1e-9).all())
    assert bool((lazy < best - 1e-9).any())


def test_bounds_are_differentiable_in_the_region_with_places_held() -> None:
    compiled = compile_graph(random_graph(0, products=False))
    region = box_region(1, 1, INPUTS, 0.3)
    lower, upper = region.box.lower.requires_grad_(), region.box.upper.requires_grad_()
    propagated = alpha_propagate(compiled, InputRegion(Interval(lower, upper)), QUICK)
    found = alpha_rows(
        compiled, two_sided(compiled), InputRegion(Interval(lower, upper)), propagated, SHORT
    )
    gradients = torch.autograd.grad(found.linear.lower.sum(), (lower, upper))
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)


def test_places_are_found_again_where_other_entries_are_unstable() -> None:
    compiled = compile_graph(relu_network(3, (12, 12)))
    region = box_region(3, 1, 3, 1.0)
    rows = two_sided(compiled)
    propagated = propagate(compiled, region)
    found = alpha_rows(compiled, rows, region, propagated)
    middle = region.box.center
    parts = InputRegion(
        Interval(
            torch.cat([region.box.lower, middle]),
            torch.cat([middle, region.box.upper]),
        )
    )
    inner = propagate(compiled, parts, known=propagated.bounds, checked=True)
    both = found.take(torch.tensor([0, 0]))
    again = alpha_rows(compiled, rows, parts, inner, NONE, both.places)
    assert [p.values.shape for p in again.places.values()] != [
        p.values.shape for p in both.places.values()
    ]
    assert bool((again.linear.lower >= found.linear.lower - 1e-9).all())

"""Laws that every bounding method of the registry keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import EmptyInterval, Interval
from specdsl.bounds.kinds import maximum
from specdsl.bounds.methods import METHODS, UnknownMethod, lower_bounds
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from tests.bounds.random_graphs import points_of, random_graph, random_set
from tests.bounds.test_sampled_laws import (
    DELICATE,
    GENTLE,
    Block,
    mixed_graph,
    mixed_points,
    mixed_set,
    where_defined,
)
from tests.bounds.test_wong_kolter import boxes, chain

ROUNDING = 1e-9
seeds = st.integers(0, 10**6)
every_method = pytest.mark.parametrize("method", METHODS)
every_pass = pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if not method.climbs]
)
# Their steps depend on rounding, so they differ from batch to batch and from dtype to dtype.
every_climb = pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if method.climbs]
)
every_method_for_all_ops = pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if method.takes_delicate]
)
every_pass_for_all_ops = pytest.mark.parametrize(
    "method",
    [name for name, method in METHODS.items() if method.takes_delicate and not method.climbs],
)


def rows_for(seed: int, count: int = 5, outputs: int = 4) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(1, count, outputs)))


@every_method
@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_rows_lie_above_their_bounds(method: str, seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled, rows = compile_graph(graph), rows_for(seed)
    lower = lower_bounds(compiled, input_region(inputs, compiled.like), rows, method)
    values = evaluate(compiled, torch.as_tensor(points_of(inputs, 300, seed))) @ rows[0].T
    assert bool((lower <= values + ROUNDING * (1 + values.abs().max())).all())


# The same of alpha-CROWN, which climbs, is in test_alpha_crown_soundness.py.
@every_pass_for_all_ops
@given(seed=seeds, blocks=st.sampled_from([GENTLE, DELICATE, GENTLE + DELICATE]))
@settings(max_examples=60, deadline=None)
def test_rows_lie_above_whatever_the_kinds_of_ops(
    method: str, seed: int, blocks: list[Block]
) -> None:
    graph, inputs = mixed_graph(seed, blocks), mixed_set(seed)
    compiled, rows = compile_graph(graph), rows_for(seed)
    with where_defined():
        lower = lower_bounds(compiled, input_region(inputs, compiled.like), rows, method)
    values = evaluate(compiled, torch.as_tensor(mixed_points(inputs, 300, seed))) @ rows[0].T
    assert bool((lower <= values + ROUNDING * (1 + values.abs().max())).all())


@every_pass
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_batch_gives_what_its_boxes_give_alone(method: str, seed: int) -> None:
    """Chains only, every neuron unstable somewhere: else a batch tightens more than it would alone,
    and tighter intervals may make looser lines.
    """
    compiled = compile_graph(chain(seed, (3, 6, 2)))
    region, rows = boxes(seed, 4, 3), rows_for(seed, 3, 2).reshape(1, 3, 1, 2)
    together = lower_bounds(compiled, region, rows, method)
    for i in range(4):
        part = region.take(torch.tensor([i]))
        assert torch.allclose(
            lower_bounds(compiled, part, rows, method)[0], together[i], rtol=1e-9, atol=1e-9
        )


@every_pass
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_rows_of_each_region_are_its_own(method: str, seed: int) -> None:
    compiled, region = compile_graph(chain(seed, (3, 6, 5, 2))), boxes(seed, 3, 3)
    own = torch.as_tensor(np.random.default_rng(seed).normal(size=(3, 2, 1, 2)))
    together = lower_bounds(compiled, region, own, method)
    for i in range(3):
        shared = lower_bounds(compiled, region, own[i : i + 1], method)
        assert torch.allclose(shared[i], together[i], rtol=1e-12, atol=1e-12)


@every_pass
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_float32_differs_by_its_rounding(method: str, seed: int) -> None:
    graph, region = chain(seed, (3, 6, 5, 2)), boxes(seed, 3, 3)
    rows = rows_for(seed, 3, 2).reshape(1, 3, 1, 2)
    single = compile_graph(graph, torch.empty(0, dtype=torch.float32))
    box = Interval(region.box.lower.float(), region.box.upper.float())
    found = lower_bounds(single, InputRegion(box), rows.float(), method)
    assert found.dtype == torch.float32
    expected = lower_bounds(compile_graph(graph), region, rows, method)
    assert torch.allclose(found.double(), expected, rtol=1e-2, atol=1e-2)


@every_climb
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_what_climbs_lies_between_crown_and_the_values(
    method: str, dtype: torch.dtype, seed: int
) -> None:
    """Alone or in a batch, in either dtype. One hidden layer: what lies inside is the same to both,
    and with that no row is looser than where it started.
    """
    like, allowed = torch.empty(0, dtype=dtype), 1e-9 if dtype == torch.float64 else 1e-4
    graph, region = chain(seed, (3, 6, 2)), boxes(seed, 4, 3)
    compiled, rows = compile_graph(graph, like), rows_for(seed, 3, 2).reshape(1, 3, 1, 2)
    share = torch.rand(200, 4, 3, dtype=torch.float64, generator=torch.manual_seed(seed))
    box = Interval(region.box.lower.to(dtype), region.box.upper.to(dtype))
    ends = box.lower.double(), box.upper.double()
    points = ends[0] + share * (ends[1] - ends[0])
    values = evaluate(compile_graph(graph), points.flatten(0, 1)) @ rows.reshape(3, 2).T
    least = values.reshape(200, 4, 3).amin(0)
    started = lower_bounds(compiled, InputRegion(box), rows.to(dtype), "crown").double()
    together = lower_bounds(compiled, InputRegion(box), rows.to(dtype), method)
    assert together.dtype == dtype
    size = allowed * (1 + values.abs().max())
    for i in range(4):
        part = InputRegion(box).take(torch.tensor([i]))
        alone = lower_bounds(compiled, part, rows.to(dtype), method)
        for found in (together[i], alone[0]):
            assert bool((found.double() >= started[i] - size).all())
            assert bool((found.double() <= least[i] + size).all())


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_several_methods_are_the_best_of_each(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled, rows = compile_graph(graph), rows_for(seed)
    region = input_region(inputs, compiled.like)
    each = torch.stack([lower_bounds(compiled, region, rows, name) for name in METHODS])
    assert torch.equal(lower_bounds(compiled, region, rows, *METHODS), each.amax(0))


@every_method
def test_at_a_point_every_method_gives_the_value(method: str) -> None:
    graph = random_graph(3)
    compiled, rows = compile_graph(graph), rows_for(3)
    point = torch.as_tensor(np.random.default_rng(3).normal(size=(2, 40)))
    lower = lower_bounds(compiled, InputRegion(Interval(point, point)), rows, method)
    assert torch.allclose(lower, evaluate(compiled, point) @ rows[0].T, rtol=1e-9, atol=1e-9)


def test_names_that_are_no_method_are_refused() -> None:
    compiled, region = compile_graph(chain(0, (3, 2))), boxes(0, 1, 3)
    rows = rows_for(0, 1, 2).reshape(1, 1, 1, 2)
    with pytest.raises(UnknownMethod, match="`crwon` is no bounding method; there are interval"):
        lower_bounds(compiled, region, rows, "crown", "crwon")
    with pytest.raises(UnknownMethod, match="no bounding method is named"):
        lower_bounds(compiled, region, rows)


def test_planes_of_groups_that_are_not_finite_are_levels() -> None:
    """They tell no more than the image; the others stay."""
    op = ops.GroupMax(np.array([[0, 1], [2, 3]]))
    ends = torch.tensor([[0.0, -1.0, 0.0, -1.0], [1.0, 2.0, 1.0, 2.0]], dtype=torch.float64)
    relaxation = maximum.relax(op, Interval(ends[:1], ends[1:]))
    intercept = relaxation.intercept.clone()
    intercept[0, 0] = torch.inf
    image = Interval(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[2.0, 2.0]]).double())
    found = replace(relaxation, intercept=intercept).flattened(image, ())
    assert found.intercept.tolist() == [[2.0, relaxation.intercept[0, 1].item()]]
    assert (found.first_slope[0, 0], found.second_slope[0, 0]) == (0, 0)
    assert found.first_slope[0, 1] == relaxation.first_slope[0, 1]
    assert found.second_slope[0, 1] == relaxation.second_slope[0, 1]


# --- where nothing is known -----------------------------------------------------------------------


def one(op: ops.Op, scale: float, shift: float) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Scale(np.array(scale), np.array(shift)), builder.add(ops.Input((1,))))
    return builder.build(builder.add(op, x))


@every_method_for_all_ops
def test_what_overflows_has_no_bound_and_is_no_error(method: str) -> None:
    compiled = compile_graph(one(ops.Exp(), 1000.0, 0.0))
    region = InputRegion(Interval(*(torch.tensor([[e]]).double() for e in (-1.0, 1.0))))
    rows = torch.tensor([[[1.0], [-1.0]]]).double()
    lower = lower_bounds(compiled, region, rows, method)
    assert float(lower[0, 1]) == -torch.inf
    # Backward, what may be infinite is nothing to add rounding to.
    least = -1e-300 if method in ("interval", "forward") else -torch.inf
    assert least <= float(lower[0, 0]) <= 0


@every_method
def test_a_value_that_may_not_exist_is_refused(method: str) -> None:
    compiled = compile_graph(one(ops.Log(), 1.0, 0.5))
    region = InputRegion(Interval(*(torch.tensor([[e]]).double() for e in (-1.0, 1.0))))
    rows = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(Unsupported, match="the `Log` of a value that may be 0 or less"):
        lower_bounds(compiled, region, rows, method)


@every_method
def test_nan_in_a_network_is_an_error(method: str) -> None:
    compiled = compile_graph(one(ops.Relu(), float("nan"), 0.0))
    region = InputRegion(Interval(*(torch.tensor([[e]]).double() for e in (-1.0, 1.0))))
    rows = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(EmptyInterval):
        lower_bounds(compiled, region, rows, method)

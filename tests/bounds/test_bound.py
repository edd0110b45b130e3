"""`specdsl.bound`: sound for every network and region it takes, and clear about all others."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import specdsl
from specdsl.bounds.bound import METHODS
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.graph.torch_import.load import load_module
from tests.bounds.random_graphs import points_of, random_graph, random_set

# Points are evaluated in float32 by torch, bounds less what rounding may have added to them.
ROUNDING = {"float64": 1e-5, "float32": 1e-4}

seeds = st.integers(0, 10**6)
methods = st.sampled_from(sorted(METHODS))


def mlp(seed: int, sizes: tuple[int, ...] = (3, 8, 8, 2)) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


@cache
def graph_of(seed: int, sizes: tuple[int, ...] = (3, 8, 8, 2)) -> Graph:
    return load_module(mlp(seed, sizes), [(1, sizes[0])], "net", check=False).graph


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    return nn.Sequential(*layers).eval()


def drawn(region: Any, rng: np.random.Generator) -> np.ndarray:
    """Points of a ball around some center, cut to its box by rejection."""
    offset = rng.uniform(-1, 1, size=(400, np.size(region.center)))
    offset[::2] = np.sign(offset[::2])
    order = {"l1": 1, "l2": 2, "linf": np.inf}[region.norm]
    size = np.linalg.norm(offset, ord=order, axis=1, keepdims=True)
    points = region.center + offset / np.maximum(size, 1) * region.radius / region.scale
    lower, upper = region.within
    kept = ((points >= lower) & (points <= upper)).all(1)
    if region.where is not None:
        kept &= (points @ np.transpose(region.where.matrix) <= region.where.limits).all(1)
    return points[kept]


@pytest.mark.parametrize("method", sorted(METHODS))
@given(seeds, st.sampled_from(["l1", "l2", "linf"]), st.sampled_from(sorted(ROUNDING)))
@settings(max_examples=15, deadline=None)
def test_no_point_of_a_region_lies_outside(method: str, seed: int, norm: str, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    center, matrix = rng.normal(size=3), rng.normal(size=(2, 3))
    cuts = specdsl.LinearConstraints(matrix, matrix @ center + 0.1)
    # With a ball as well each bound is an ascent, and those inside an ascent take long.
    cuts = cuts if seed % 2 and method != "lagrangian" else None
    box = (center - rng.uniform(0, 1, 3), center + rng.uniform(0, 1, 3))
    scale = rng.uniform(0.5, 2, size=3)
    region = specdsl.NormBall(center, 0.7, norm, scale=scale, within=box, where=cuts)  # pyright: ignore
    rows = rng.normal(size=(4, 2))
    network = mlp(seed % 7)
    graph = graph_of(seed % 7)
    found = specdsl.bound(graph, region, method, rows, dtype=dtype, layers=True)
    points = torch.as_tensor(drawn(region, rng), dtype=torch.float32)
    with torch.no_grad():
        values = network(points).numpy() @ rows.T
        first = network[0](points).numpy()  # pyright: ignore
    assert (found.lower - ROUNDING[dtype] <= values).all()
    assert (values <= found.upper + ROUNDING[dtype]).all()
    layer = next(iter(found.layers.values()))
    assert (layer.lower - ROUNDING[dtype] <= first).all()
    assert (first <= layer.upper + ROUNDING[dtype]).all()


@given(seeds, methods)
@settings(max_examples=20, deadline=None)
def test_convolutions_branches_and_products(seed: int, method: str) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    lower, upper = inputs.box.float_bounds()
    found = specdsl.bound(graph, (lower, upper), method)
    points = points_of(inputs, 60, seed).reshape(-1, *graph.shapes[graph.input])
    values = evaluate(graph, {graph.input: points})[graph.output]
    # Products make values of some thousands, and points may lie outside by rounding.
    slack = 1e-7 * (1 + np.abs(values).max())
    assert (found.lower - slack <= values).all()
    assert (values <= found.upper + slack).all()


@given(seeds, st.sampled_from(["crown", "interval"]), st.sampled_from(["l1", "l2", "linf"]))
@settings(max_examples=30, deadline=None)
def test_a_batch_gives_what_each_region_gives_alone(seed: int, method: str, norm: Any) -> None:
    rng = np.random.default_rng(seed)
    centers, radii = rng.normal(size=(3, 3)), rng.choice([0.0, 0.1, 1.0], size=3)
    # With one hidden layer, what is bounded tighter for others of a batch can only help.
    graph, within = graph_of(1, (3, 8, 2)), ([-9.0] * 3, centers.max(0) + 0.01)
    rows = rng.normal(size=(3, 2, 2))
    ball = specdsl.NormBall(centers, radii, norm, within=within)
    together = specdsl.bound(graph, ball, method, rows)
    assert together.lower.shape == (3, 2)
    for i in range(3):
        one = specdsl.NormBall(centers[i], radii[i], norm, within=within)
        alone = specdsl.bound(graph, one, method, rows[i])
        assert (together.lower[i] >= alone.lower - 1e-7).all()
        assert (together.upper[i] <= alone.upper + 1e-7).all()
        if method == "interval":
            assert np.allclose(together.lower[i], alone.lower, rtol=1e-7, atol=1e-7)


def test_files_modules_and_graphs_agree(tmp_path: Path) -> None:
    network = convolutional()
    graph = load_module(network, [(1, 1, 6, 6)], "net").graph
    path = tmp_path / "net.onnx"
    path.write_bytes(export(graph, "net"))
    image = np.random.default_rng(0).uniform(size=(1, 6, 6))
    box = specdsl.Box(image - 0.05, image + 0.05)
    found = [
        specdsl.bound(network, box, input_shape=(1, 6, 6)),
        specdsl.bound(path, box),
        specdsl.bound(str(path), specdsl.NormBall(image.reshape(-1), 0.05)),
        specdsl.bound(graph, (image - 0.05, image + 0.05)),
    ]
    for other in found:
        assert other.lower.shape == (2,)
        assert np.allclose(other.lower, found[0].lower, atol=1e-9)
        assert np.allclose(other.upper, found[0].upper, atol=1e-9)
    batch = specdsl.bound(network, (image[None] - 0.05, image[None] + 0.05), layers=True)
    assert batch.lower.shape == (1, 2)
    (layer,) = batch.layers.values()
    assert layer.lower.shape == (1, 3, 2, 2)


def test_rows_are_tighter_than_the_bounds_of_their_entries() -> None:
    box = (np.zeros(3), np.ones(3))
    whole, margin = specdsl.bound(mlp(0), box), specdsl.bound(mlp(0), box, rows=[[1, -1]])
    assert margin.lower[0] > whole.lower[0] - whole.upper[1]


@given(seeds, st.sets(methods, min_size=2, max_size=3))
@settings(max_examples=5, deadline=None)
def test_several_methods_give_the_intersection(seed: int, names: set[str]) -> None:
    several = sorted(names)
    graph, region = random_graph(seed), specdsl.Box(np.full(40, -0.1), np.full(40, 0.1))
    found = specdsl.bound(graph, region, several, layers=True)
    alone = [specdsl.bound(graph, region, name, layers=True) for name in several]
    assert found.methods == tuple(several)
    assert np.array_equal(found.lower, np.max([a.lower for a in alone], axis=0))
    assert np.array_equal(found.upper, np.min([a.upper for a in alone], axis=0))
    for node, layer in found.layers.items():
        each = [a.layers[node] for a in alone]
        # Ends that cross by rounding alone are moved apart.
        assert layer.lower == pytest.approx(np.max([b.lower for b in each], axis=0), abs=1e-9)
        assert layer.upper == pytest.approx(np.min([b.upper for b in each], axis=0), abs=1e-9)


def test_the_methods_are_in_order() -> None:
    widths = {}
    for method in METHODS:
        found = specdsl.bound(mlp(3), (-np.ones(3), np.ones(3)), method)
        widths[method] = float((found.upper - found.lower).sum())
    assert widths["interval"] > widths["crown"] > widths["lagrangian"]


def test_constraints_tighten_a_hidden_layer() -> None:
    region = specdsl.Box([0, 0, 0], [1, 1, 1])
    cut = specdsl.Box([0, 0, 0], [1, 1, 1], specdsl.LinearConstraints([[1, 1, 1]], [0.5]))
    plain, tight = (specdsl.bound(mlp(2), r, layers=True) for r in (region, cut))
    widths = [
        sum(float((i.upper - i.lower).sum()) for i in b.layers.values()) for b in (plain, tight)
    ]
    assert widths[1] < 0.8 * widths[0]


# --- what is refused -----------------------------------------------------------------------------

BOX = ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
Ball, Box, Constraints = specdsl.NormBall, specdsl.Box, specdsl.LinearConstraints


@pytest.mark.parametrize(
    ("region", "text"),
    [
        (([0, 0, 2], [1, 1, 1]), "`lower` is above `upper` at entry 2: 2 > 1"),
        (([[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, -1, 1]]), "at entry 1 of region 1: 0 > -1"),
        (([0, 0, -np.inf], [1, 1, 1]), "`lower` is infinite at [2]"),
        (([0, 0, 0], [1, np.nan, 1]), "`upper` is NaN at [1]"),
        (([0, 0], [1, 1]), "`lower` has shape (2,), but the network takes (3,)"),
        (([], []), "`lower` has no entries"),
        ((np.zeros((2, 3)), np.ones((4, 3))), "batches differ in length: `lower` 2, `upper` 4"),
        (("a", "b"), "`lower` is no array of numbers but a `str`"),
        ([0, 0, 0], "the region is a `list`"),
        (Ball([0, 0, 0], -1), "the radius is -1"),
        (Ball([0, 0, 0], np.nan), "`radius` is NaN as a whole"),
        (Ball([0, 0, 0], [[1]]), "`radius` has shape (1, 1); it is one number"),
        (Ball([0, 0, 0], 1, "l3"), "there is no norm `l3`"),  # pyright: ignore
        (Ball([0, 0, 0], 1, scale=[1, 0, 1]), "`scale` is not positive everywhere"),
        (Ball([0, 0, 0], 1, within=([2, 2, 2], [3, 3, 3])), "the ball has no point in `within`"),
        (
            Ball([0, 0, 0], 1, "l2", within=([0.9] * 3, [3] * 3)),
            "the ball has no point in `within`",
        ),
        (Ball([0, 0, 0], 1, within=([4, 2, 2], [3, 3, 3])), "`within` is empty at entry 0: 4 > 3"),
        (Box(*BOX, Constraints([[1, 1, 1]], [-1])), "the constraints `where` leave no point"),
        (Box(*BOX, Constraints([[1, 1]], [1])), "`matrix` has shape (1, 2)"),
        (Box(*BOX, Constraints([[1, 1, 1]], [1, 2])), "`limits` has shape (2,)"),
    ],
)
def test_regions_that_are_none_are_named(region: Any, text: str) -> None:
    with pytest.raises(specdsl.SpecError) as caught:
        specdsl.bound(graph_of(0), region)
    (found,) = caught.value.diagnostics
    assert found.code == "E0870"
    assert text in found.message


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"method": "crwn"}, "E0871", "there is no bounding method `crwn`"),
        ({"dtype": "float16"}, "E0871", "there is no number format `float16`"),
        ({"device": "gpu"}, "E0871", "there is no device `gpu`"),
        ({"network": 3}, "E0871", "the network is a `int`"),
        ({"network": "absent.onnx"}, "E0501", "absent.onnx"),
        ({"network": nn.Linear(3, 2)}, "E0615", "training mode"),
        ({"rows": [[1, 2, 3]]}, "E0870", "`rows` has shape (1, 3); it is (rows, 2)"),
        ({"rows": np.ones((2, 1, 2))}, "E0871", "`rows` is for 2 regions, and there are 1"),
    ],
)
def test_other_arguments_that_are_none_are_named(
    arguments: dict[str, Any], code: str, text: str
) -> None:
    given: dict[str, Any] = {"network": graph_of(0), "region": BOX, **arguments}
    with pytest.raises(specdsl.SpecError) as caught:
        specdsl.bound(**given)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert text in found.message


def test_an_unknown_method_comes_with_a_suggestion() -> None:
    with pytest.raises(specdsl.SpecError) as caught:
        specdsl.bound(graph_of(0), BOX, "crwn")
    assert "did you mean `crown`? methods are `" in str(caught.value.diagnostics[0].help)


def test_the_help_says_what_can_be_done() -> None:
    with pytest.raises(specdsl.SpecError) as caught:
        specdsl.bound(graph_of(0), BOX, [])
    assert str(caught.value.diagnostics[0].help).startswith("methods are `interval`")
    with pytest.raises(specdsl.SpecError) as caught:
        specdsl.bound(graph_of(0), ([0, 0, -np.inf], [1, 1, 1]))
    assert "give every input a lower and an upper end" in str(caught.value.diagnostics[0].help)


def test_ops_without_a_value_and_networks_with_two_outputs_are_named() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)))
    y = builder.add(ops.Log(), x)
    with pytest.raises(specdsl.SpecError, match="`crown` does not support the `Log`"):
        specdsl.bound(builder.build(y), ([-1], [1]))
    with pytest.raises(specdsl.SpecError, match=r"E0871: the network has 2 outputs"):
        specdsl.bound(builder.build(x, y), ([1], [2]))
    with pytest.raises(specdsl.SpecError, match="E0855: the network has an op that may magnify"):
        specdsl.bound(builder.build(y), ([1], [2]), dtype="float32")
    found = specdsl.bound(builder.build(y), ([1], [2]))
    assert found.lower == pytest.approx([0], abs=1e-9)


def test_all_entries_are_bounded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are all at once, whatever the method, where each row is bounded by itself."""
    graph, region = graph_of(3, (3, 8, 5)), (np.zeros((2, 3)), np.full((2, 3), 0.5))
    whole = {name: specdsl.bound(graph, region, name) for name in METHODS}
    by_rows = {name: specdsl.bound(graph, region, name, rows=np.eye(5)) for name in METHODS}
    monkeypatch.setattr("specdsl.bounds.bound.MAX_UNIT_COEFFICIENTS", 10)
    for name, expected in whole.items():
        found = specdsl.bound(graph, region, name)
        # What climbs stops when most of its rows have.
        tolerance = 1e-2 if METHODS[name].climbs else 1e-9
        for other in (found, by_rows[name]):
            np.testing.assert_allclose(other.lower, expected.lower, atol=tolerance)
            np.testing.assert_allclose(other.upper, expected.upper, atol=tolerance)

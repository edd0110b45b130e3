"""What float32 computes, in any order of summation, lies within the checker's bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.proof.arithmetic import FLOAT
from specdsl.proof.operators import Affine, dense_map
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval
from specdsl.query.query import Atom, Case, NetworkCall, Query, Variable
from specdsl.query.sets import Box, exact
from tests.proof.certificates import bounds_of, question_of

Single = npt.NDArray[np.float32]


def shuffled_sum(terms: Single, rng: np.random.Generator) -> np.float32:
    """In float32, in an order of its own, in pairs or one after another."""
    values = [np.float32(t) for t in rng.permutation(terms)]
    if rng.random() < 0.5:
        total = np.float32(0)
        for value in values:
            total = np.float32(total + value)
        return total
    while len(values) > 1:
        pairs = [np.float32(a + b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(values) // 2 * 2 :]
    return values[0]


def computed(graph: Graph, x: Single, rng: np.random.Generator) -> Single:
    """The dense network as float32 hardware may compute it."""
    value = x
    for node in graph.order:
        op = graph.op(node)
        if isinstance(op, ops.Dense):
            weight, bias = (np.asarray(a, np.float32) for a in (op.weight, op.bias))
            rows = [np.append(row * value, b) for row, b in zip(weight, bias, strict=True)]
            value = np.array([shuffled_sum(r.astype(np.float32), rng) for r in rows])
        elif isinstance(op, ops.Relu):
            value = np.maximum(value, np.float32(0))
    return value


def cancelling(seed: int, scale: float) -> Graph:
    """A network whose layers add up large numbers that nearly cancel."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((4,)), name="x")
    for rows, columns in ((12, 4), (12, 12), (3, 12)):
        weight = rng.normal(size=(rows, columns)).astype(np.float32)
        weight[:, ::2] *= np.float32(scale)
        weight[:, 1::2] = -weight[:, ::2] + weight[:, 1::2]
        bias = (rng.normal(size=rows) * scale).astype(np.float32)
        node = builder.add(ops.Dense(weight, bias), node)
        if rows != 3:
            node = builder.add(ops.Relu(), node)
    return builder.build(node)


def asking(graph: Graph, center: npt.NDArray[np.float64], radius: float) -> Query:
    """Some query about a network over a box."""
    inputs = Box(exact(center - radius), exact(center + radius))
    call = NetworkCall("f", export(graph), (graph.input,), (graph.output,))
    variable = Variable.at("x", 0, graph.shapes[graph.input])
    return Query("q", graph, (Case(inputs, (Atom(0),)),), (variable,), (call,))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((1.0, 1e3, 1e6)), st.sampled_from((0.0, 1e-3, 0.3)))
def test_no_order_of_summation_leaves_the_bounds(seed: int, scale: float, radius: float) -> None:
    graph, rng = cancelling(seed, scale), np.random.default_rng(seed)
    center = rng.uniform(-1, 1, 4)
    question, bounds = bounds_of(asking(graph, center, radius), "float32_any_order")
    low, high = (end.reshape(-1) for end in bounds.found[question.network.output])
    for _ in range(10):
        point = center + radius * rng.uniform(-1, 1, 4)
        found = computed(graph, point.astype(np.float32), rng).astype(np.float64)
        assert (low <= found).all()
        assert (found <= high).all()


def test_what_is_exact_stays_sharper_than_float32() -> None:
    graph, center = cancelling(0, 1e6), np.full(4, 0.3)
    query = asking(graph, center, 0.0)
    widths = {}
    for semantics in ("real", "float32_any_order"):
        question, bounds = bounds_of(query, semantics)  # pyright: ignore[reportArgumentType]
        low, high = bounds.found[question.network.output]
        widths[semantics] = float((high - low).max())
    exact_value = evaluate(graph, {graph.input: center[None]}, [graph.output])[graph.output]
    assert widths["real"] < 1e-9 * float(np.abs(exact_value).max() + 1e12)
    assert widths["float32_any_order"] > 1e3 * widths["real"]


def normalised(op: ops.BatchNorm, x: Single) -> list[Single]:
    """As runtimes may compute it."""
    gamma, beta, mean, variance = (
        np.asarray(v, np.float32) for v in (op.gamma, op.beta, op.mean, op.variance)
    )
    one, epsilon = np.float32(1), np.float32(op.epsilon)
    root = np.sqrt(variance + epsilon)
    factors = (gamma / root, gamma * (one / root), one / root * gamma)
    found = [(x - mean) * factor + beta for factor in factors]
    found += [x * factor + (beta - mean * factor) for factor in factors]
    found += [gamma * ((x - mean) / root) + beta, gamma * (x * (one / root) - mean / root) + beta]
    return [np.asarray(each, np.float32) for each in found]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((1e-3, 1.0, 1e4)))
def test_no_way_to_normalise_leaves_the_bounds(seed: int, scale: float) -> None:
    rng, count = np.random.default_rng(seed), 64
    x = (scale * rng.normal(size=count)).astype(np.float32)
    # Near the mean what is subtracted cancels; for every other offset, what is added.
    mean = (x * (1 + 1e-3 * rng.normal(size=count))).astype(np.float32)
    gamma, beta, variance = (
        rng.normal(size=count).astype(np.float32) * np.float32(s) for s in (1, scale, scale)
    )
    op = ops.BatchNorm(gamma, beta, mean, np.abs(variance), 1e-5)
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, count)), name="x")
    graph = builder.build(builder.add(op, node))
    query = asking(graph, x[None].astype(np.float64), 0.0)
    question, bounds = bounds_of(query, "float32_any_order")
    low, high = (end.reshape(-1) for end in bounds.found[question.network.output])
    for found in normalised(op, x):
        assert (low <= found).all()
        assert (found <= high).all()


TINY = 2.0**-127
"""Below the normal numbers of float32: hardware may take 0 for it."""

FLUSHED: dict[str, tuple[ops.Op, float, float]] = {
    "an operand": (ops.Dense(np.array([[2.0**126]]), np.zeros(1)), TINY, 0.0),
    "a constant": (ops.Dense(np.array([[TINY]]), np.zeros(1)), 2.0**125, 0.0),
    "a square root's": (ops.Sqrt(), TINY, 0.0),
    "a steep piece's": (ops.LeakyRelu(2.0**40), -TINY, 0.0),
    "a logarithm's": (ops.Log(), TINY, -np.inf),
    "a reciprocal's": (ops.Reciprocal(), 1.25 * TINY, np.inf),
}


@pytest.mark.parametrize(("op", "point", "value"), FLUSHED.values(), ids=FLUSHED)
def test_what_is_flushed_lies_within_the_bounds_of_rows(
    op: ops.Op, point: float, value: float
) -> None:
    builder = GraphBuilder()
    node = builder.add(op, builder.add(ops.Input((1,)), name="x"))
    query = asking(builder.build(node), np.full(1, point), 0.0)
    question = question_of(query, "float32_any_order")
    # What the network takes is not rounded here, so that the op itself has to do the rest.
    first, *others = question.network.nodes
    network = replace(question.network, nodes=(replace(first, evaluated="exact"), *others))
    rules = Rules.of(network, FLOAT, single=True)
    bounds = Bounds(rules, Region(FLOAT, Interval(np.full((1, 1), point), np.full((1, 1), point))))
    with np.errstate(all="ignore"):
        bounds.propagate(None)
        for sign in (1.0, -1.0):
            least = bounds.least(bounds.back({network.output: np.full((1, 1, 1), sign)})).item()
            assert not least > sign * value


def test_sums_of_several_maps_are_added_up_in_any_order() -> None:
    count = 32
    map_ = dense_map(np.ones((1, count)))
    assert Affine((map_, map_), None, None, moves=False).terms >= 2 * count

"""The checker's ops: what they compute, their transposes, and their lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.proof.arithmetic import EXACT, FLOAT
from specdsl.proof.curves import CURVES
from specdsl.proof.operators import Affine
from specdsl.proof.relaxations import Interval, Nonlinear, Product, Smooth
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from tests.proof.certificates import question_of


def query_of(graph: Graph) -> Query:
    """Any query about a graph; its output is flattened."""
    builder = GraphBuilder()
    spliced = builder.splice(graph, {graph.input: builder.add(graph.op(graph.input), name="x")})
    size = graph.size(graph.output)
    output = builder.add(ops.Reshape((size,)), spliced[graph.output])
    inputs = graph.size(graph.input)
    box = Box(exact(np.zeros(inputs)), exact(np.ones(inputs)))
    case = Case(box, (Atom(0),))
    return Query("q", builder.build(output), (case,), (Variable.at("x", 0, (inputs,)),), ())


def chain(shape: ops.Shape, *layers: ops.Op) -> Graph:
    """Ops one after another."""
    builder = GraphBuilder()
    node = builder.add(ops.Input(shape), name="x")
    for layer in layers:
        node = builder.add(layer, node)
    return builder.build(node)


RNG = np.random.default_rng(3)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


AFFINE = {
    "dense": chain((1, 3), ops.Dense(weights(2, 3), weights(2))),
    "dense on rows": chain((4, 3), ops.Dense(weights(2, 3), weights(2))),
    "conv": chain(
        (1, 4, 5, 6),
        ops.Conv(weights(6, 2, 3, 2), weights(6), (2, 1), ((1, 0), (0, 1)), (1, 2), 2),
    ),
    "conv in one dimension": chain(
        (1, 2, 9), ops.Conv(weights(3, 2, 3), weights(3), (2,), ((1, 1),), (2,))
    ),
    "conv transposed": chain(
        (1, 4, 3, 3),
        ops.ConvTranspose(
            weights(4, 1, 2, 3), weights(2), (2, 1), ((0, 1), (1, 0)), (1, 1), (1, 0), 2
        ),
    ),
    "scale": chain((2, 3), ops.Scale(weights(3), weights(2, 1))),
    "batch norm": chain(
        (1, 2, 3),
        ops.BatchNorm(weights(2), weights(2), weights(2), np.abs(weights(2)) + 0.1, 1e-5),
    ),
    "transpose": chain((2, 3, 4), ops.Transpose((2, 0, 1))),
    "select": chain((2, 3), ops.Select(np.array([[0, 5], [5, 2], [5, 5]]))),
    "reshape": chain((2, 6), ops.Reshape((3, 4))),
}


@pytest.mark.parametrize("graph", AFFINE.values(), ids=AFFINE.keys())
@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
def test_affine_ops_compute_what_the_graph_does(graph: Graph, how: object) -> None:
    network = question_of(query_of(graph)).network
    shape = graph.shapes[graph.input]
    points = np.round(RNG.normal(size=(3, *shape)) * 8) / 8
    value = how.array(points)  # pyright: ignore[reportAttributeAccessIssue]
    for number, op in network.rules(how).items():  # pyright: ignore[reportArgumentType]
        node = network.nodes[number]
        assert isinstance(op, Affine)
        (matrix,) = op.maps
        rows = how.array(  # pyright: ignore[reportAttributeAccessIssue]
            np.round(RNG.normal(size=(3, *node.shape)) * 8) / 8
        )
        applied = matrix.apply(value)
        # <A x, r> = <x, A' r>
        left = (applied * rows).reshape(3, -1).sum(1)
        right = (value * matrix.transpose(rows)).reshape(3, -1).sum(1)
        assert np.allclose(left.astype(float), right.astype(float), rtol=1e-9, atol=1e-9)
        size = matrix.size(np.abs(value))
        assert (size.astype(float) >= np.abs(applied.astype(float)) - 1e-9).all()
        value = applied if op.offset is None else applied + op.offset
    wanted = evaluate(graph, {graph.input: points}, [graph.output])[graph.output]
    assert np.allclose(value.astype(float), wanted.reshape(3, -1), rtol=1e-6, atol=1e-6)


def test_concatenation_computes_what_the_graph_does() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2, 3)), name="x")
    y = builder.add(ops.Scale(np.full((), 2.0), np.full((), 1.0)), x)
    graph = builder.build(builder.add(ops.Concat(1), x, y, x))
    network = question_of(query_of(graph)).network
    points = RNG.normal(size=(2, 2, 3))
    values = [points, 2 * points + 1]
    (op,) = [o for o in network.rules(FLOAT).values() if isinstance(o, Affine) and len(o.maps) == 3]
    assert op.moves
    own = [values[0], values[1], values[0]]
    found = np.sum([m.apply(v) for m, v in zip(op.maps, own, strict=True)], axis=0)
    assert np.array_equal(found, np.concatenate(own, axis=2))
    rows = RNG.normal(size=found.shape)
    for matrix, value in zip(op.maps, own, strict=True):
        assert np.isclose(
            (matrix.apply(value) * rows).sum(), (value * matrix.transpose(rows)).sum()
        )


PIECEWISE = {
    "relu": ops.Relu(),
    "leaky": ops.LeakyRelu(0.1),
    "steep": ops.LeakyRelu(2.5),
    "abs": ops.Abs(),
    "clip": ops.Clip(-0.5, 0.75),
}


def evaluate_op(op: ops.Op, x: np.ndarray) -> np.ndarray:
    graph = chain((1,), op)
    return evaluate(graph, {graph.input: x}, [graph.output])[graph.output]


def elementwise(op: ops.Op) -> Nonlinear:
    network = question_of(query_of(chain((1,), op))).network
    (rule,) = [r for r in network.rules(FLOAT).values() if isinstance(r, Nonlinear)]
    return rule


VALUES = {
    **{name: lambda x, op=op: evaluate_op(op, x) for name, op in PIECEWISE.items()},
    **{name: curve.value for name, curve in CURVES.items()},
}
CURVED = {"sigmoid": ops.Sigmoid(), "tanh": ops.Tanh(), "exp": ops.Exp(), "square": ops.Square()}


@pytest.mark.parametrize("name", [*PIECEWISE, *CURVED, "log", "sqrt", "softplus", "reciprocal"])
@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(0, 8), st.floats(-3, 3))
def test_lines_lie_on_their_sides(name: str, start: float, width: float, slope: float) -> None:
    op = elementwise(PIECEWISE[name]) if name in PIECEWISE else Smooth(CURVES[name])
    low = start if name not in {"log", "reciprocal"} else abs(start) + 1e-3
    if name == "reciprocal" and slope < 0:
        low = -low - width
    x = Interval(np.array([[low]]), np.array([[low + width]]))
    points = np.linspace(low, low + width, 257)[:, None]
    values = VALUES[name](points)
    for own in (None, (np.array([[slope]]),)):
        lines = op.lines(FLOAT, [x], (own, own))
        size = 1e-12 * (1 + np.abs(values) + 3 * np.abs(points))
        assert (points * lines.below.slopes[0] + lines.below.constant <= values + size).all()
        assert (points * lines.above.slopes[0] + lines.above.constant >= values - size).all()
    image = op.image(FLOAT, [x])
    assert (image.lower <= values + 1e-12).all()
    assert (values - 1e-12 * (1 + np.abs(values)) <= image.upper).all()


@pytest.mark.parametrize(("name", "low"), [("log", 0), ("reciprocal", -1)])
def test_outside_of_a_domain_nothing_is_known(name: str, low: float) -> None:
    x = Interval(np.array([[float(low)]]), np.array([[1.0]]))
    op = Smooth(CURVES[name])
    with np.errstate(all="ignore"):
        assert np.isnan(op.image(FLOAT, [x])).all()
        lines = op.lines(FLOAT, [x], (None, None))
    assert np.isnan([line.constant for line in lines]).all()


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_planes_lie_on_their_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = [np.sort(rng.normal(size=(2, 1, 5)) * 3, axis=0) for _ in range(2)]
    operands = [Interval(e[0], e[1]) for e in ends]
    points = [i.lower + rng.uniform(size=(200, 5)) * (i.upper - i.lower) for i in operands]
    op, value = Product(), points[0] * points[1]
    slopes = tuple(rng.normal(size=(1, 5)) for _ in range(2))
    for chosen in (None, slopes):
        lines = op.lines(FLOAT, operands, (chosen, chosen))
        for line, sign in ((lines.below, 1), (lines.above, -1)):
            own = sum(s * p for s, p in zip(line.slopes, points, strict=False)) + line.constant
            assert (sign * own <= sign * value + 1e-11 * (1 + np.abs(value))).all()
    image = op.image(FLOAT, operands)
    assert (image.lower <= value + 1e-12).all()
    assert (value <= image.upper + 1e-12).all()

"""Networks that read a number and its negation: rows put together lie below, and lose nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.proof.arithmetic import EXACT, FLOAT, Arithmetic
from specdsl.proof.cases import Cases
from specdsl.proof.passes import Rules
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval
from specdsl.query.sets import exact
from tests.proof.certificates import bounds_of, question_of
from tests.proof.test_float32 import asking, computed
from tests.proof.test_parts import Maker, Walk, rational, values_at

Floats = npt.NDArray[np.float64]
BENT: dict[str, ops.Op] = {"relu": ops.Relu(), "leaky": ops.LeakyRelu(0.3), "abs": ops.Abs()}


def mirrored(seed: int, op: ops.Op = BENT["relu"], layers: int = 2) -> Graph:
    """Layers that compute numbers and most of their negations, in any order; what comes next adds
    up both of some, and takes one from the other of others.
    """
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node, size = builder.add(ops.Input((2,)), name="x"), 2
    for _ in range(layers):
        weight = rng.integers(-8, 9, (4, size)) / 4
        bias = rng.integers(-4, 5, 4) / 8
        negated = rng.random(4) < 0.8
        order = rng.permutation(4 + negated.sum())
        weight, bias = (np.concatenate([v, -v[negated]])[order] for v in (weight, bias))
        node = builder.add(op, builder.add(ops.Dense(weight, bias), node))
        back = rng.integers(-4, 5, (3, 4)) / 4
        # Of each pair its sum, its difference, or any two multiples.
        signs = rng.choice([-1.0, 0.5, 1.0], 4)
        columns = np.concatenate([back, (back * signs)[:, negated]], axis=1)[:, order]
        node, size = builder.add(ops.Dense(columns, rng.integers(-2, 3, 3) / 2), node), 3
    return builder.build(node)


def points_of(lower: Floats, upper: Floats, rng: np.random.Generator) -> list[Floats]:
    """Corners and others, short in binary."""
    shares = [*np.ndindex(*(2,) * len(lower)), *(rng.integers(0, 9, (4, len(lower))) / 8)]
    return [lower + (upper - lower) * np.array(share) for share in shares]


def value_at(graph: Graph, point: Floats) -> list[object]:
    """Exactly."""
    values = evaluate_exact(graph, {graph.input: exact(point)}, nodes=[graph.output])
    return values[graph.output].reshape(-1).tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from(sorted(BENT)),
    st.sampled_from(("real", "float32_any_order")),
    st.sampled_from((FLOAT, EXACT)),
)
def test_rows_lie_below(seed: int, name: str, semantics: str, how: Arithmetic) -> None:
    graph, rng = mirrored(seed, BENT[name]), np.random.default_rng(seed)
    query = asking(graph, np.zeros(2), 1.0)
    question, bounds = bounds_of(query, semantics, how)  # pyright: ignore[reportArgumentType]
    output = question.network.output
    rows = np.concatenate([np.eye(3), -np.eye(3)])
    with np.errstate(all="ignore"):
        least = bounds.least(bounds.back({output: how.array(rows)[None]}))[0].tolist()
    for point in points_of(-np.ones(2), np.ones(2), rng):
        values = [rational(v) for v in value_at(graph, point)]
        for low, value in zip(least, [*values, *(-v for v in values)], strict=True):
            assert rational(low) <= value


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(sorted(BENT)), st.sampled_from((FLOAT, EXACT)))
def test_rows_of_many_boxes_lie_below(seed: int, name: str, how: Arithmetic) -> None:
    graph, rng = mirrored(seed, BENT[name]), np.random.default_rng(seed)
    question = question_of(asking(graph, np.zeros(2), 4.0))
    cases = Cases.of(question, Rules.of(question.network, how, single=False), [0])
    lower = rng.integers(-8, 8, (5, 2)) / 4
    upper = lower + rng.integers(0, 9, (5, 2)) / 4
    region = Region(how, Interval(how.array(lower), how.array(upper)))
    with np.errstate(all="ignore"):
        bounds = cases.bounds(region)(how.array(np.array([[[1.0]], [[-1.0]]]).reshape(1, 2, 1)))
        least = region.minimum(bounds, cases.rules.part).tolist()
    for box in range(5):
        for point in points_of(lower[box], upper[box], rng):
            value = rational(value_at(graph, point)[0])
            assert rational(least[box][0]) <= value
            assert rational(least[box][1]) <= -value


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from((1.0, 1e4)))
def test_float32_lies_within(seed: int, scale: float) -> None:
    graph, rng = mirrored(seed), np.random.default_rng(seed)
    center = scale * rng.uniform(-1, 1, 2)
    question, bounds = bounds_of(asking(graph, center, 0.25), "float32_any_order")
    rows = np.concatenate([np.eye(3), -np.eye(3)])
    least = bounds.least(bounds.back({question.network.output: rows[None]}))[0]
    for _ in range(8):
        point = (center + rng.uniform(-0.25, 0.25, 2)).astype(np.float32)
        found = computed(graph, point, rng).astype(np.float64)
        assert (least <= np.concatenate([found, -found])).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from((FLOAT, EXACT)))
def test_parts_hold_where_either_of_a_pair_is_split(seed: int, how: Arithmetic) -> None:
    query = asking(mirrored(seed), np.zeros(2), 1.0)
    proof = Maker(query, np.random.default_rng(seed)).proof()
    walk = Walk(query, proof, how)
    points = points_of(-np.ones(2), np.ones(2), np.random.default_rng(seed))
    walk.run(proof.root, [values_at(walk.question, exact(point)) for point in points])


def identity(layers: int, op: ops.Op) -> Graph:
    """x, written as a difference of two values again and again."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    for _ in range(layers):
        read = builder.add(ops.Dense(np.array([[1.0], [-1.0]]), np.array([0.5, -0.5])), node)
        bent = builder.add(op, read)
        node = builder.add(ops.Dense(np.array([[1.0, -1.0]]), np.array([-0.5])), bent)
    return builder.build(node)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
def test_what_is_linear_after_all_is_bounded_so(how: Arithmetic) -> None:
    graph = identity(6, ops.Relu())
    question, bounds = bounds_of(asking(graph, np.zeros(1), 1.0), how=how)
    row = how.array(np.array([[[1.0]]]))
    found = bounds.back({question.network.output: row})
    assert float(found.coefficients.item()) == 1
    assert float(bounds.least(found).item()) == pytest.approx(-1, abs=1e-9)


def test_absolute_values_of_both_are_one() -> None:
    """So abs(z) - abs(-z) is 0."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    read = builder.add(ops.Dense(np.array([[1.0], [-1.0]]), np.zeros(2)), node)
    both = builder.add(
        ops.Dense(np.array([[1.0, -1.0]]), np.zeros(1)), builder.add(ops.Abs(), read)
    )
    question, bounds = bounds_of(asking(builder.build(both), np.zeros(1), 1.0))
    rows = np.array([[[1.0], [-1.0]]])
    least = bounds.least(bounds.back({question.network.output: rows}))
    assert least == pytest.approx(np.zeros((1, 2)), abs=1e-9)


def test_both_of_a_pair_may_be_off_upward() -> None:
    """Computed in float32, z and -z may both come out above 0, and so does relu(z) + relu(-z)."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="x")
    read = builder.add(ops.Dense(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(2)), node)
    bent = builder.add(ops.Relu(), read)
    graph = builder.build(builder.add(ops.Dense(np.array([[1.0, 1.0]]), np.zeros(1)), bent))
    question, bounds = bounds_of(asking(graph, np.full(2, 1e3), 0.0), "float32_any_order")
    (pairs, _), *_ = bounds.pairs.values()
    row = np.array([[[-1.0]]])
    most = -bounds.least(bounds.back({question.network.output: row})).item()
    assert most >= bounds.noise[pairs.chain[-1]].sum() > 0


def test_only_what_is_opposite_is_a_pair() -> None:
    more = 1 + 2**-52
    weights = np.array([[1, 2], [-1, -2], [1, 2], [-1, -2 * more], [3, 1], [-3, -1]])
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="x")
    read = builder.add(ops.Dense(weights, np.array([0, 0, 0, 0, 0.5, -0.5 * more])), node)
    graph = builder.build(builder.add(ops.Relu(), read))
    question = question_of(asking(graph, np.zeros(2), 1.0))
    for how in (FLOAT, EXACT):
        (pairs,) = Rules.of(question.network, how, single=False).pairs.values()
        assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
        assert not pairs.idle.any()

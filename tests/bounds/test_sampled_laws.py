"""Of every kind of op, 100 000 points inside its interval and linear bounds; of whole graphs that
mix kinds, points inside the bounds of every node and above the rows of CROWN.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from specdsl.backend import Unsupported
from specdsl.bounds import pre_activation_bounds
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, margin_rows
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.joint import case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.bounds.rounding import rounding_slack
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate as reference_evaluate
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query
from specdsl.query.sets import Box, InputSet, exact, norm_ball

# Sampled values round too; of what they are computed from, by less than this.
ROUNDING = 1e-11
REGIONS, POINTS = 50, 2000

# --- one op ---------------------------------------------------------------------------------------


def conv(kind: type[ops.Conv] | type[ops.ConvTranspose], groups: int) -> ops.Op:
    random = np.random.default_rng(groups)
    weight, bias = random.normal(size=(2, 2 // groups, 2, 2)), random.normal(size=2)
    place = ((2, 1), ((1, 0), (0, 1)), (1, 2))
    if kind is ops.ConvTranspose:
        return ops.ConvTranspose(weight, bias, *place, (1, 0), groups)
    return ops.Conv(weight, bias, *place, groups)


def affine_ops() -> list[ops.Op]:
    random = np.random.default_rng(0)
    thirds = np.array([[Fraction(1, 3), Fraction(-2, 7)]] * 2, dtype=object)
    four = [random.normal(size=2) for _ in range(4)]
    return [
        ops.Dense(random.normal(size=(5, 2)), random.normal(size=5)),
        ops.Dense(thirds, np.zeros(2)),
        *(conv(kind, groups) for kind in (ops.Conv, ops.ConvTranspose) for groups in (1, 2)),
        ops.Scale(random.normal(size=(2, 1)), random.normal(size=2)),
        ops.BatchNorm(*four[:3], np.abs(four[3]), 1e-5),
        ops.Reshape((8,)),
        ops.Transpose((0, 3, 1, 2)),
        ops.Select(random.integers(0, 8, (3, 2))),
        ops.Sum((1.0, -2.0)),
        ops.Concat(1),
    ]


SMOOTH: list[ops.Op] = [
    *(ops.Exp(), ops.Log(), ops.Sqrt(), ops.Power(-0.5), ops.Power(0.3), ops.Power(2.5)),
    *(ops.Reciprocal(), ops.Sigmoid(), ops.Tanh(), ops.Erf(), ops.Softsign(), ops.Softplus()),
    *(ops.Elu(1.0), ops.Elu(2.0), ops.Gelu(), ops.GeluTanh(), ops.Silu(), ops.Mish()),
    *(ops.HardSwish(), ops.Sin(), ops.Cos(), ops.Tan()),
]
STEPS: list[ops.Op] = [
    *(ops.Sign(), ops.Positive(), ops.NotNegative(), ops.IsZero()),
    *(ops.Floor(), ops.Ceil(), ops.Round(), ops.Truncate()),
]
PIECEWISE: list[ops.Op] = [
    *(ops.Relu(), ops.LeakyRelu(0.2), ops.LeakyRelu(-0.5), ops.Abs(), ops.Clip(-0.5, 1.0)),
]
OTHERS: list[ops.Op] = [
    *(ops.Multiply(), ops.Square()),
    ops.GroupMax(np.array([[0, 1, 2], [2, 5, 5], [7, 3, 6]])),
]
SHAPE = (1, 2, 2, 2)
ENTRIES = 8
positive_only = (ops.Log, ops.Sqrt, ops.Power)


def one_op(op: ops.Op) -> Graph:
    """The op on the input; one of two operands takes the input and three times it, less one."""
    builder = GraphBuilder()
    x = builder.add(ops.Input(SHAPE))
    operands = [x]
    if op.arity != 1:
        operands.append(builder.add(ops.Scale(np.array(3.0), np.array(-1.0)), x))
    return builder.build(builder.add(op, *operands))


def boxes(op: ops.Op, random: np.random.Generator) -> Interval:
    """Of no width, tiny, usual and huge; where the op has values."""
    center = random.normal(size=(REGIONS, ENTRIES)) * random.choice([0.1, 1, 5], (REGIONS, 1))
    width = np.abs(random.normal(size=center.shape))
    width *= random.choice([0, 1e-13, 1e-6, 0.1, 1, 30], center.shape)
    # Ends on jumps, kinks and turns.
    center = np.where(random.random(center.shape) < 0.3, np.round(2 * center) / 2, center)
    if isinstance(op, ops.Tan):
        center, width = np.clip(center, -1, 1) * 0.7, np.minimum(width, 0.7)
    lower, upper = center - width, center + width
    if isinstance(op, (*positive_only, ops.Reciprocal)):
        lower, upper = np.sort(np.abs([lower, upper]) + 1e-9, axis=0)
    if isinstance(op, ops.Reciprocal):
        lower, upper = -upper, -lower
    return Interval(torch.as_tensor(lower), torch.as_tensor(upper))


def points_in(box: Interval, count: int, random: np.random.Generator) -> torch.Tensor:
    """(regions, points, entries); corners, and places where ops change, included."""
    lower, upper = box.lower.numpy()[:, None], box.upper.numpy()[:, None]
    share = random.random((lower.shape[0], count, lower.shape[2]))
    share[:, ::3] = np.round(share[:, ::3])
    points = lower + share * (upper - lower)
    places = random.choice([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0], points.shape)
    points[:, 1::3] = np.where(share[:, 1::3] < 0.5, places[:, 1::3], points[:, 1::3])
    return torch.as_tensor(np.clip(points, lower, upper))


def name_of(op: ops.Op) -> str:
    return type(op).__name__


@pytest.mark.parametrize("op", [*affine_ops(), *SMOOTH, *STEPS, *PIECEWISE, *OTHERS], ids=name_of)
def test_100_000_points_lie_inside_intervals_and_lines(op: ops.Op) -> None:
    random = np.random.default_rng(1)
    graph = one_op(op)
    compiled = compile_graph(graph)
    region = InputRegion(boxes(op, random))
    points = points_in(region.box, POINTS, random)
    values = evaluate(compiled, points.reshape(-1, ENTRIES)).unflatten(0, points.shape[:2])
    propagated = propagate(compiled, region)
    size = values.abs() + ROUNDING
    span = propagated.bounds[graph.output]
    assert bool((span.lower.flatten(1)[:, None] <= values + ROUNDING * size).all())
    assert bool((values <= span.upper.flatten(1)[:, None] + ROUNDING * size).all())
    count = graph.size(graph.output)
    unit = torch.eye(count, dtype=torch.float64)
    rows = torch.cat([unit, -unit]).reshape(1, 2 * count, *graph.shapes[graph.output])
    found = lower_rows(compiled, graph.output, rows, region, propagated.relaxations)
    lines = points @ found.coefficients.transpose(1, 2) + found.constant[:, None]
    terms = points.abs() @ found.coefficients.abs().transpose(1, 2) + found.constant.abs()[:, None]
    signed = torch.cat([values, -values], 2)
    assert bool((lines <= signed + ROUNDING * (1 + terms)).all())
    assert bool((found.lower[:, None] <= lines + ROUNDING * (1 + terms)).all())


# --- graphs that mix kinds ------------------------------------------------------------------------

Block = Callable[[GraphBuilder, NodeId, np.random.Generator], NodeId]
WIDTH = 4


def dense(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    (width,) = builder.shape(x)
    weight = random.normal(size=(WIDTH, width)) / np.sqrt(width)
    return builder.add(ops.Dense(weight, random.normal(size=WIDTH)), x)


def totals(builder: GraphBuilder, x: NodeId, count: int, weight: float) -> NodeId:
    """Each entry replaced by the weighted sum of all."""
    return builder.add(ops.Dense(np.full((count, count), weight), np.zeros(count)), x)


def difference(builder: GraphBuilder, a: NodeId, b: NodeId) -> NodeId:
    return builder.add(ops.Sum((1.0, -1.0)), a, b)


def softmax(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """`1 / sum_j exp(x_j - x_i)`."""
    i, j = np.divmod(np.arange(WIDTH**2), WIDTH)
    one, other = (builder.add(ops.Select(k.astype(np.int64)), x) for k in (i, j))
    powers = builder.add(ops.Exp(), difference(builder, other, one))
    square = builder.add(ops.Reshape((WIDTH, WIDTH)), powers)
    total = builder.add(ops.Dense(np.ones((1, WIDTH)), np.zeros(1)), square)
    return builder.add(ops.Reciprocal(), builder.add(ops.Reshape((WIDTH,)), total))


def normalised(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """Layer normalisation."""
    centered = difference(builder, x, totals(builder, x, WIDTH, 1 / WIDTH))
    variance = totals(builder, builder.add(ops.Square(), centered), WIDTH, 1 / WIDTH)
    safe = builder.add(ops.Scale(np.array(1.0), np.array(1e-3)), variance)
    return builder.add(ops.Multiply(), centered, builder.add(ops.Power(-0.5), safe))


def size_of(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """The l2 norm, at each entry."""
    return builder.add(ops.Sqrt(), totals(builder, builder.add(ops.Square(), x), WIDTH, 1.0))


def quotient(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """`x / (1 + softplus(w x))`."""
    soft = builder.add(ops.Softplus(), dense(builder, x, random))
    below = builder.add(ops.Scale(np.array(1.0), np.array(1.0)), soft)
    return builder.add(ops.Multiply(), x, builder.add(ops.Reciprocal(), below))


def logarithm(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """`log(1 / 10 + |x|)`."""
    safe = builder.add(ops.Scale(np.array(1.0), np.array(0.1)), builder.add(ops.Abs(), x))
    return builder.add(ops.Log(), safe)


def pooled(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """Largest entries of overlapping groups."""
    return builder.add(ops.GroupMax(random.integers(0, WIDTH, (WIDTH, 3))), x)


def wins(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """How many others each entry beats."""
    i, j = np.divmod(np.arange(WIDTH**2), WIDTH)
    one, other = (builder.add(ops.Select(k.astype(np.int64)), x) for k in (i, j))
    beats = builder.add(ops.Positive(), difference(builder, one, other))
    square = builder.add(ops.Reshape((WIDTH, WIDTH)), beats)
    total = builder.add(ops.Dense(np.ones((1, WIDTH)), np.zeros(1)), square)
    return builder.add(ops.Reshape((WIDTH,)), total)


def rounded(builder: GraphBuilder, x: NodeId, random: np.random.Generator) -> NodeId:
    """To tenths."""
    tens = builder.add(ops.Scale(np.array(10.0), np.array(0.0)), x)
    return builder.add(ops.Scale(np.array(0.1), np.array(0.0)), builder.add(ops.Round(), tens))


def plain(op: ops.Op) -> Block:
    return lambda builder, x, random: builder.add(op, x)


GENTLE: list[Block] = [
    pooled,
    *(plain(op) for op in (ops.Sigmoid(), ops.Tanh(), ops.Gelu(), ops.Silu(), ops.Elu(1.0))),
    *(plain(op) for op in (ops.Relu(), ops.Square(), ops.Sin(), ops.HardSwish(), ops.Mish())),
]
DELICATE: list[Block] = [softmax, normalised, size_of, quotient, logarithm, wins, rounded]


def mixed_graph(seed: int, blocks: Sequence[Block]) -> Graph:
    """Three blocks behind one another, dense layers between them."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((WIDTH,)))
    for block in random.integers(0, len(blocks), 3):
        x = blocks[block](builder, dense(builder, x, random), random)
    return builder.build(dense(builder, x, random))


def mixed_set(seed: int) -> InputSet:
    random = np.random.default_rng(seed + 1)
    center = exact(random.normal(size=WIDTH))
    return norm_ball(center, Fraction(1, (2, 10, 1000)[seed % 3]), ("linf", "l2")[seed // 3 % 2])


def mixed_points(inputs: InputSet, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed + 2)
    lower, upper = inputs.box.float_bounds()
    unit = random.uniform(-1, 1, size=(count, WIDTH))
    unit[::3] = np.sign(unit[::3])
    if inputs.balls:
        unit /= np.maximum(1.0, np.linalg.norm(unit, axis=1, keepdims=True))
    return (lower + upper) / 2 + unit * (upper - lower) / 2


@contextmanager
def where_defined() -> Generator[None]:
    """No example where intervals cannot tell that a divisor is not 0: one in a thousand."""
    try:
        yield
    except Unsupported as refused:
        if "of a value that may be" not in str(refused):
            raise
        reject()


@given(st.integers(0, 10**6), st.sampled_from([GENTLE, DELICATE, GENTLE + DELICATE]))
@settings(max_examples=120, deadline=None)
def test_points_lie_inside_the_bounds_of_every_node(seed: int, blocks: list[Block]) -> None:
    graph, inputs = mixed_graph(seed, blocks), mixed_set(seed)
    points = mixed_points(inputs, 300, seed)
    values = reference_evaluate(graph, {graph.input: points})
    for method in ("interval", "crown"):
        with where_defined():
            bounds = pre_activation_bounds(graph, inputs, method)
        for node, bound in bounds.items():
            slack = 1e-9 * (1 + np.abs(values[node]).max())
            assert (bound.lower - slack <= values[node]).all(), (node, method)
            assert (values[node] <= bound.upper + slack).all(), (node, method)
            assert np.isfinite(bound.lower).all()
            assert np.isfinite(bound.upper).all()


@given(st.integers(0, 10**6), st.sampled_from([GENTLE, DELICATE]))
@settings(max_examples=60, deadline=None)
def test_rows_lie_below_at_every_point_of_every_part(seed: int, blocks: list[Block]) -> None:
    graph, inputs = mixed_graph(seed, blocks), mixed_set(seed)
    compiled = compile_graph(graph)
    box = input_region(inputs, compiled.like).box
    random = np.random.default_rng(seed)
    shares = torch.as_tensor(np.sort(random.random((2, 6, WIDTH)), axis=0))
    parts = Interval(*(box.lower + share * (box.upper - box.lower) for share in shares))
    region = InputRegion(parts)
    rows = torch.as_tensor(random.normal(size=(1, 5, WIDTH)))
    propagated = propagate(compiled, region, checked=True)
    found = lower_rows(compiled, graph.output, rows, region, propagated.relaxations)
    points = points_in(parts, 100, random)
    values = evaluate(compiled, points.reshape(-1, WIDTH)).unflatten(0, points.shape[:2])
    lines = points @ found.coefficients.transpose(1, 2) + found.constant[:, None]
    signed = values @ rows[0].T
    assert bool((lines <= signed + 1e-9 * (1 + signed.abs().max())).all())
    assert bool((found.lower[:, None] <= lines + 1e-9 * (1 + lines.abs().max())).all())


@given(st.integers(0, 10**6), st.sampled_from([GENTLE, DELICATE]))
@settings(max_examples=30, deadline=None)
def test_torch_and_numpy_evaluate_alike_and_gradients_flow(seed: int, blocks: list[Block]) -> None:
    graph = mixed_graph(seed, blocks)
    points = np.random.default_rng(seed).normal(size=(20, WIDTH))
    expected = reference_evaluate(graph, {graph.input: points})[graph.output]
    inputs = torch.as_tensor(points).requires_grad_()
    found = evaluate(compile_graph(graph), inputs)
    # A jump may fall the other way on either side of rounding.
    alike = np.isclose(found.detach().numpy(), expected, rtol=1e-8, atol=1e-8)
    assert alike.mean() > (0.9 if blocks is DELICATE else 0.999)
    (gradient,) = torch.autograd.grad(found.sum(), inputs)
    assert bool(gradient.isfinite().all())


# --- rounding, and where nothing is known ---------------------------------------------------------


def softmax_graph(scale: float) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Scale(np.array(scale), np.array(0.0)), builder.add(ops.Input((WIDTH,))))
    return builder.build(softmax(builder, x, np.random.default_rng(0)))


def box_set(lower: float, upper: float, size: int = WIDTH) -> InputSet:
    return Box(exact(np.full(size, lower)), exact(np.full(size, upper)))


@pytest.mark.parametrize("scale", [1.0, 20.0, 300.0])
def test_a_softmax_stays_between_0_and_1_however_far_its_scores_lie_apart(scale: float) -> None:
    graph, inputs = softmax_graph(scale), box_set(-1.0, 1.0)
    assert rounding_slack(graph, inputs) == 0
    for method in ("interval", "crown"):
        bound = pre_activation_bounds(graph, inputs, method)[graph.output]
        assert bound.lower.min() >= 0
        assert np.isfinite(bound.upper).all()
        # Intervals do not see that an entry does not differ from itself.
        assert method == "interval" or bound.upper.max() <= 1 + 1e-6


def test_gentle_graphs_keep_the_slack_at_the_end() -> None:
    graph = mixed_graph(0, GENTLE)
    assert compile_graph(graph).outward is None
    assert 0 < rounding_slack(graph, mixed_set(0)) < 1e-6


def both_signs(op: ops.Op, scale: float, shift: float) -> Graph:
    """`f(scale x + shift)` and its negative."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)))
    y = builder.add(op, builder.add(ops.Scale(np.array(scale), np.array(shift)), x))
    turned = builder.add(ops.Scale(np.array(-1.0), np.array(0.0)), y)
    return builder.build(builder.add(ops.Concat(0), y, turned))


def test_values_that_overflow_leave_bounds_infinite_and_refute_nothing() -> None:
    graph, inputs = both_signs(ops.Exp(), 1000.0, 0.0), box_set(-1.0, 1.0, size=1)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    propagated = propagate(compiled, region)
    query = Query("overflow", graph, (Case(inputs, (Atom(0), Atom(1))),), (), ())
    (group,) = group_cases(query)
    margins = bound_margins(compiled, margin_rows(compiled, group), region, propagated)
    # e^x is not negative; -e^x has no bound that a float64 could tell.
    assert float(propagated.bounds[graph.output].lower[0, 0]) >= -1e-300
    assert float(margins.proven[0, 1]) == -inf
    assert not bool(margins.linear.coefficients.isnan().any())
    assert float(case_bounds(group, margins, region, slack=0.0).least[0, 0]) <= 0


def test_a_value_that_may_not_exist_is_refused_before_anything_is_solved() -> None:
    graph, inputs = both_signs(ops.Log(), 1.0, 0.5), box_set(-1.0, 1.0, size=1)
    for ask in (
        lambda: rounding_slack(graph, inputs),
        lambda: pre_activation_bounds(graph, inputs),
    ):
        with pytest.raises(Unsupported, match="the `Log` of a value that may be 0 or less"):
            ask()
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    bounds = propagate(compiled, region, checked=True).bounds[graph.output]
    assert bool((bounds.lower == -inf).all() & (bounds.upper == inf).all())

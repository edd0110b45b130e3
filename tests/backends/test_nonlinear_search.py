"""Smooth ops, steps, maxima and transposed convolutions: no two verdicts contradict each other, nor
what sampling finds, and nothing is verified that a jump alone makes false.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Backend, Deadline, Unsupported
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.search import Search
from specdsl.bounds.affine import affine_kernel
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Unknown, Verdict, Verified
from tests.steps import STEPS
from tests.strategies import generators, margin_query, queries, random_weights, sample

FAST_CASES, CASES = 25, 600
# A sampled margin below the violated side by more than this is no rounding.
CLEARLY = 1e-6
POINTS = 20_000
FOREVER = Deadline.after(None)

SMOOTH: tuple[ops.Smooth, ...] = (
    *(ops.Exp(), ops.Sigmoid(), ops.Tanh(), ops.Erf(), ops.Softsign(), ops.Softplus()),
    *(ops.Elu(0.5), ops.Gelu(), ops.Silu(), ops.Mish(), ops.HardSwish(), ops.Sin(), ops.Cos()),
)
# Of numbers from 1 on: their domains and poles are kept at a distance.
FROM_ONE: tuple[ops.Smooth, ...] = (ops.Log(), ops.Sqrt(), ops.Reciprocal(), ops.Power(-0.5))


class Maker:
    """Adds random layers of the shape `(1, n)` to a graph."""

    def __init__(self, rng: np.random.Generator, inputs: int) -> None:
        self.rng = rng
        self.builder = GraphBuilder()
        self.input = self.builder.add(ops.Input((1, inputs)), name="x")

    def dense(self, node: NodeId, width: int) -> NodeId:
        weight = random_weights(self.rng, (width, self.builder.shape(node)[-1]))
        return self.builder.add(ops.Dense(weight, random_weights(self.rng, (width,), 0.5)), node)

    def layer(self, kind: str, node: NodeId, width: int) -> NodeId:
        """A dense layer and something nonlinear, or a transposed convolution."""
        if kind == "conv_transpose":
            return self.conv_transpose(node)
        add, node = self.builder.add, self.dense(node, width)
        match kind:
            case "step":
                return add(self.one_of(tuple(STEPS.values())), node)
            case "smooth":
                return add(self.one_of(SMOOTH), node)
            case "from_one":
                one = np.ones(1, dtype=np.float32)
                return add(self.one_of(FROM_ONE), add(ops.Scale(one, one), add(ops.Abs(), node)))
            case "maximum":
                return add(ops.GroupMax(self.rng.integers(0, width, (1, width, 3))), node)
            case _:
                return add(ops.Relu(), node)

    def conv_transpose(self, node: NodeId) -> NodeId:
        """One channel to one of the same or more places, and back to a row."""
        places = self.builder.shape(node)[-1]
        stride = int(self.rng.integers(1, 3))
        op = ops.ConvTranspose(
            weight=random_weights(self.rng, (1, 1, 2)),
            bias=random_weights(self.rng, (1,), 0.5),
            strides=(stride,),
            pads=((int(self.rng.integers(0, 2)), 0),),
            dilations=(1,),
            output_pads=(stride - 1,),
        )
        row = self.builder.add(ops.Reshape((1, 1, places)), node)
        spread = self.builder.add(op, row)
        return self.builder.add(ops.Reshape((1, self.builder.shape(spread)[-1])), spread)

    def one_of(self, choices: tuple[ops.Op, ...]) -> ops.Op:
        return choices[int(self.rng.integers(len(choices)))]


KINDS = ("step", "smooth", "from_one", "maximum", "conv_transpose", "relu")


@st.composite
def mixed_networks(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> Graph:
    """`(1, n) -> (1, m)` of at most two hidden layers, the first of which may be added again."""
    maker = Maker(draw(generators()), draw(st.integers(1, 2)))
    node = maker.input
    for _ in range(draw(st.integers(1, 2))):
        node = maker.layer(draw(st.sampled_from(kinds)), node, draw(st.integers(2, 3)))
    if draw(st.booleans()):
        other = maker.layer(draw(st.sampled_from(kinds)), maker.input, 2)
        node = maker.builder.add(ops.Concat(1), node, other)
    return maker.builder.build(maker.dense(node, draw(st.integers(1, 2))))


def answer(query: Query, backend: Backend, seconds: float = 2.0) -> Verdict:
    """The verdict after its evidence was settled."""
    return settle(query, backend.answer(query, Deadline.after(seconds))).verdict


def depth(query: Query, points: npt.NDArray[np.float64]) -> float:
    """The least deciding margin of any case at points of the (one) box."""
    graph = query.graph
    shaped = points.reshape(-1, *graph.shapes[graph.input])
    margins = evaluate(graph, {graph.input: shaped}, [graph.output])[graph.output]
    margins = margins.reshape(len(points), -1)
    return min(float(margins[:, [a.index for a in c.atoms]].max(1).min()) for c in query.cases)


def agree(query: Query, backends: tuple[Backend, ...]) -> list[Verdict]:
    """The verdicts, checked against each other and against samples."""
    box = query.cases[0].inputs
    assert isinstance(box, Box)
    verdicts = [answer(query, backend) for backend in backends]
    found = depth(query, sample(box, POINTS))
    if any(isinstance(v, Verified) for v in verdicts):
        assert not any(isinstance(v, Falsified) for v in verdicts)
        assert found > -CLEARLY
    return verdicts


def for_random_queries(count: int, law: Callable[[Query], None], kinds: tuple[str, ...]) -> None:
    """Check the law on that many queries, the same in every run."""
    chosen = settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    chosen(given(queries(mixed_networks(kinds)))(law))()


BACKENDS = (Search(), Incomplete(), Attack(steps=30, restarts=10))

how_many = pytest.mark.parametrize(
    "cases", [FAST_CASES, pytest.param(CASES, marks=pytest.mark.slow)]
)


@how_many
@pytest.mark.parametrize("kinds", [("step", "relu"), ("smooth", "from_one"), KINDS])
def test_no_two_verdicts_contradict_each_other_or_samples(
    cases: int, kinds: tuple[str, ...]
) -> None:
    decided: list[bool] = []

    def law(query: Query) -> None:
        verdicts = agree(query, BACKENDS)
        decided.append(any(not isinstance(v, Unknown) for v in verdicts))

    for_random_queries(cases, law, kinds)
    # Few queries are nearer to a tie, or to a jump, than rounding tells.
    assert sum(decided) > 0.8 * len(decided)


# --- at jumps -------------------------------------------------------------------------------------


def step_query(
    op: ops.Step, ends: tuple[float, float], sign: int, value: float, strict: bool
) -> Query:
    """Is there an x between the ends with `sign * op(x) <= value` (or `<`)?"""
    builder = GraphBuilder()
    step = builder.add(op, builder.add(ops.Input((1, 1)), name="x"))
    network = builder.build(step)
    weight, bias = np.full((1, 1), float(sign)), np.array([-value])
    box = Box(exact([ends[0]]), exact([ends[1]]))
    return margin_query(network, box, weight, bias, ((Atom(0, strict),),))


def values_between(op: ops.Step, low: float, high: float) -> set[Fraction]:
    """All values of a step between two numbers, ends included."""
    places = {Fraction(low), Fraction(high)}
    quarters = {Fraction(n, 4) for n in range(-16, 17)}
    places |= {q for q in quarters if low <= q <= high}
    return {op.exact(p) for p in places}


ENDS = [*product((-1.0, 0.0), (0.0, 0.5, 1.0)), (0.5, 1.5), (-1.5, -1.0), (0.25, 0.25)]


def is_true(query: Query, values: set[Fraction], atom_below: Fraction) -> bool:
    """Whether a step with these values has one that the query asks for."""
    strict = query.cases[0].atoms[0].strict
    return any(v < atom_below or (v == atom_below and not strict) for v in values)


@pytest.mark.parametrize("backend", [Search(), Incomplete(), Attack(4, 2)], ids=lambda b: b.name)
@pytest.mark.parametrize("op", STEPS.values(), ids=repr)
def test_a_verdict_on_a_step_alone_is_the_truth(op: ops.Step, backend: Backend) -> None:
    """Asked about each of its values: every one is a tie. Search decides them all."""
    for ends, sign in product(ENDS, (1, -1)):
        values = {sign * v for v in values_between(op, *ends)}
        for value, strict in product(sorted(values), (False, True)):
            query = step_query(op, ends, sign, float(value), strict)
            verdict = answer(query, backend, seconds=10.0)
            if isinstance(verdict, Unknown):
                assert not isinstance(backend, Search), (ends, sign, value, strict, verdict)
            else:
                found = isinstance(verdict, Falsified)
                assert found == is_true(query, values, value), (ends, sign, value, strict)


@pytest.mark.parametrize("op", STEPS.values(), ids=repr)
def test_away_from_the_tie_a_step_is_decided(op: ops.Step) -> None:
    """Both ways: half a value below the least one, and half above it."""
    for ends, sign in product([(-1.25, 0.75), (0.25, 1.75), (-0.75, -0.25)], (1, -1)):
        values = {sign * v for v in values_between(op, *ends)}
        # Of a function with a peak at one point alone, the points beside it are asked for.
        least = float(min(values)) if not isinstance(op, ops.IsZero) else float(max(values))
        assert isinstance(
            answer(step_query(op, ends, sign, least + 0.5, False), Search()), Falsified
        )
        lowest = float(min(values)) - 0.5
        assert isinstance(answer(step_query(op, ends, sign, lowest, False), Search()), Verified)


def conjunction_query(value: float, strict: bool) -> Query:
    """Is there a point of the unit square with `relu([x > y] + [x < 1/2] + [round(3 y) >= 1] - 2)`
    at least (more than) `value`? The and of all three: 1 somewhere, never more.
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    weight = np.array([[1.0, -1.0], [-1.0, 0.0], [0.0, 3.0]], dtype=np.float32)
    z = builder.add(ops.Dense(weight, np.array([0.0, 0.5, 0.0], dtype=np.float32)), x)
    two = builder.add(ops.Positive(), builder.add(ops.Select(np.array([[0, 1]])), z))
    thirds = builder.add(ops.Round(), builder.add(ops.Select(np.array([[2]])), z))
    third = builder.add(ops.NotNegative(), builder.add(ops.Scale(np.ones(1), -np.ones(1)), thirds))
    both = builder.add(ops.Concat(1), two, third)
    total = builder.add(ops.Dense(np.ones((1, 3), np.float32), np.full(1, -2, np.float32)), both)
    network = builder.build(builder.add(ops.Relu(), total))
    box = Box(exact([0.0, 0.0]), exact([1.0, 1.0]))
    return margin_query(network, box, -np.ones((1, 1)), np.array([value]), ((Atom(0, strict),),))


def test_what_logic_makes_of_comparisons_is_settled_at_its_very_value() -> None:
    assert isinstance(answer(conjunction_query(1.0, strict=False), Search(), 20.0), Falsified)
    assert isinstance(answer(conjunction_query(1.0, strict=True), Search(), 20.0), Verified)
    assert isinstance(answer(conjunction_query(1.5, strict=False), Search(), 20.0), Verified)


def diagonal_query() -> Query:
    """Is there a point of the unit square with `[x > y] + [y >= x] <= 1/2`? There is none, but on
    the diagonal bounds see 0 + 0.
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    weight = np.array([[1.0, -1.0], [-1.0, 1.0]], dtype=np.float32)
    z = builder.add(ops.Dense(weight, np.zeros(2, dtype=np.float32)), x)
    above = builder.add(ops.Positive(), builder.add(ops.Select(np.array([[0]])), z))
    below = builder.add(ops.NotNegative(), builder.add(ops.Select(np.array([[1]])), z))
    network = builder.build(builder.add(ops.Sum((1.0, 1.0)), above, below))
    box = Box(exact([0.0, 0.0]), exact([1.0, 1.0]))
    return margin_query(network, box, np.ones((1, 1)), np.array([-0.5]), ((Atom(0),),))


def test_a_jump_that_bounds_never_resolve_is_said_soon() -> None:
    verdict = answer(diagonal_query(), Search(), seconds=60.0)
    assert isinstance(verdict, Unknown)
    assert not verdict.timeout
    assert "jump" in verdict.reason
    assert verdict.advice is not None
    # What places jumps exactly goes on from there.
    assert isinstance(answer(diagonal_query(), Portfolio(), seconds=60.0), Verified)


def thin_query() -> Query:
    """Is there a point of a square with `2 [z > 0] - [z > 1/1024] >= 3/2`? In a strip of that width
    the sum is 2, elsewhere 0 or 1.
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    weight = np.array([[1.0, 0.5], [1.0, 0.5]], dtype=np.float32)
    bias = np.array([-0.375, -0.375 - 2.0**-10], dtype=np.float32)
    step = builder.add(ops.Positive(), builder.add(ops.Dense(weight, bias), x))
    total = ops.Dense(np.array([[2.0, -1.0]], dtype=np.float32), np.zeros(1, dtype=np.float32))
    network = builder.build(builder.add(total, step))
    box = Box(exact([-1.0, -1.0]), exact([1.0, 1.0]))
    return margin_query(network, box, -np.ones((1, 1)), np.array([1.5]), ((Atom(0),),))


@pytest.mark.parametrize("backend", [Search(), Attack(), Portfolio()], ids=repr)
def test_a_witness_in_a_thin_strip_at_a_jump_is_found(backend: Backend) -> None:
    assert isinstance(answer(thin_query(), backend, seconds=20.0), Falsified)


# --- outside of domains ---------------------------------------------------------------------------


def domain_query(op: ops.Smooth) -> Query:
    """`op(x) > -1` for x between -1 and 1."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    shifted = builder.add(ops.Scale(np.ones(1), np.ones(1)), builder.add(op, x))
    case = Case(Box(exact([-1.0]), exact([1.0])), (Atom(0),))
    return Query("domain", builder.build(shifted), (case,), (Variable.at("x", 0, (1,)),), ())


@pytest.mark.parametrize("op", [ops.Log(), ops.Sqrt(), ops.Reciprocal(), ops.Power(0.5)], ids=repr)
def test_where_a_function_may_have_no_value_nothing_is_proved(op: ops.Smooth) -> None:
    for backend in (Search(), Incomplete()):
        with pytest.raises(Unsupported, match="value that may"):
            backend.answer(domain_query(op), FOREVER)
    # Where it does have values an attack may look: the logarithm and the reciprocal fall below -1.
    found = Attack(20, 4).answer(domain_query(op), FOREVER).verdict
    assert isinstance(found, Falsified) == isinstance(op, ops.Log | ops.Reciprocal)


# --- transposed convolutions ----------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_kernel_of_a_transposed_convolution_is_the_op(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    strides = tuple(int(s) for s in rng.integers(1, 4, axes))
    kernel = tuple(int(k) for k in rng.integers(1, 4, axes))
    op = ops.ConvTranspose(
        weight=rng.normal(size=(2 * groups, 2, *kernel)),
        bias=rng.normal(size=2 * groups),
        strides=strides,
        pads=tuple((int(rng.integers(0, k)), int(rng.integers(0, k))) for k in kernel),
        dilations=tuple(int(d) for d in rng.integers(1, 3, axes)),
        output_pads=tuple(int(rng.integers(0, s)) for s in strides),
        groups=groups,
    )
    operand = (1, 2 * groups, *(int(n) for n in rng.integers(3, 5, axes)))
    result = op.shape(operand)
    like = torch.empty(0, dtype=torch.float64)
    found = affine_kernel(op, (operand,), like)
    x, y = torch.tensor(rng.normal(size=(3, *operand))), torch.tensor(rng.normal(size=(3, *result)))
    applied = found.apply(0, x)
    assert found.offset is not None
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, builder.add(ops.Input(operand))))
    wanted = evaluate(graph, {graph.input: x.numpy()}, [graph.output])[graph.output]
    assert np.allclose((applied + found.offset).numpy(), wanted, atol=1e-9)
    # <A x, y> = <x, A^T y>, and |A| |x| is at least |A x|.
    inner = (applied * y).flatten(1).sum(1)
    assert torch.allclose(inner, (x * found.transpose(0, y)).flatten(1).sum(1))
    assert bool((found.apply_magnitude(0, x.abs()) >= applied.abs() - 1e-9).all())

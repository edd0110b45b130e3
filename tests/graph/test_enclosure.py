"""What a computed value may be off by is known: the true value, from fifty digits, lies inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.enclosure import Enclosed, enclose, smooth_range
from specdsl.graph.exact import NoValue, evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from tests.graph.random_graphs import graphs, random_points
from tests.graph.test_new_ops import CURVES, elementwise, exactly

# A dependency of torch.
mpmath: Any = pytest.importorskip("mpmath")
mpmath.mp.dps = 50

# Bounds of 1e-12 at each of a few curves, of slopes of at most some tens.
SHARP = 1e-9

TRUE: Mapping[type[ops.Smooth], Callable[[Any], Any]] = {
    ops.Exp: mpmath.exp,
    ops.Log: mpmath.log,
    ops.Sqrt: mpmath.sqrt,
    ops.Reciprocal: lambda x: 1 / x,
    ops.Sigmoid: lambda x: 1 / (1 + mpmath.exp(-x)),
    ops.Tanh: mpmath.tanh,
    ops.Erf: mpmath.erf,
    ops.Softsign: lambda x: x / (1 + abs(x)),
    ops.Softplus: lambda x: mpmath.log1p(mpmath.exp(x)),
    ops.Gelu: lambda x: x * mpmath.ncdf(x),
    # `(1 + tanh(z)) / 2` as a sigmoid: fifty digits would cancel.
    ops.GeluTanh: lambda x: (
        x / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (x + _inner() * x**3)))
    ),
    ops.Silu: lambda x: x / (1 + mpmath.exp(-x)),
    ops.Mish: lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    ops.HardSwish: lambda x: x * min(max(x + 3, 0), 6) / 6,
    ops.Sin: mpmath.sin,
    ops.Cos: mpmath.cos,
    ops.Tan: mpmath.tan,
}


def _inner() -> Any:
    return mpmath.mpf(44715) / 1_000_000


def true_value(op: ops.Smooth, x: Fraction) -> Any:
    argument = mpmath.mpf(x.numerator) / x.denominator
    if isinstance(op, ops.Power):
        return argument ** mpmath.mpf(op.exponent)
    if isinstance(op, ops.Elu):
        return argument if x >= 0 else op.alpha * mpmath.expm1(argument)
    return TRUE[type(op)](argument)


def holds(found: Enclosed, true: Any) -> bool:
    value, error = Fraction(found.value.reshape(-1)[0]), float(found.error.reshape(-1)[0])
    return bool(abs(mpmath.mpf(value.numerator) / value.denominator - true) <= error)


@pytest.mark.parametrize("op", CURVES, ids=repr)
@settings(max_examples=60, deadline=None)
@given(numerator=st.integers(-200_000, 200_000), denominator=st.sampled_from([1, 7, 1000, 4999]))
def test_the_true_value_of_every_curve_lies_inside(
    op: ops.Smooth, numerator: int, denominator: int
) -> None:
    x = Fraction(numerator, denominator)
    try:
        found = enclose(elementwise(op, 1), {"x": exactly([x], (1, 1))})["y"]
    except NoValue:
        assert x <= 0 or abs(x) > 700
        return
    assert holds(found, true_value(op, x))


@pytest.mark.parametrize("first", CURVES, ids=repr)
@settings(max_examples=30, deadline=None)
@given(
    second=st.sampled_from(CURVES),
    place=st.fractions(-4, 4, max_denominator=1000),
    scale=st.fractions(-3, 3, max_denominator=50),
    shift=st.fractions(-2, 2, max_denominator=50),
)
def test_errors_are_carried_on(
    first: ops.Smooth, second: ops.Smooth, place: Fraction, scale: Fraction, shift: Fraction
) -> None:
    """`second(scale * first(x) + shift) * first(x)`."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    y = builder.add(first, x)
    between = builder.add(ops.Scale(exactly([scale], ()), exactly([shift], ())), y)
    z = builder.add(second, between)
    graph = builder.build(builder.add(ops.Multiply(), y, z, name="out"))
    try:
        found = enclose(graph, {"x": exactly([place], (1,))}, nodes=["out"])["out"]
    except NoValue:
        return
    inner = true_value(first, place)
    argument = inner * scale.numerator / scale.denominator
    argument += mpmath.mpf(shift.numerator) / shift.denominator
    if not np.isinf(found.error[0]):
        assert holds(found, inner * _of_real(second, argument))


def _of_real(op: ops.Smooth, x: Any) -> Any:
    if isinstance(op, ops.Power):
        return x ** mpmath.mpf(op.exponent)
    if isinstance(op, ops.Elu):
        return x if x >= 0 else op.alpha * mpmath.expm1(x)
    return TRUE[type(op)](x)


def test_errors_stay_small() -> None:
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 4)), name="x")
    rng = np.random.default_rng(0)
    for op in (ops.Tanh(), ops.Gelu(), ops.Sigmoid(), ops.Softplus(), ops.Exp()):
        node = builder.add(ops.Dense(rng.standard_normal((4, 4)), np.ones(4)), node)
        node = builder.add(op, node)
    graph = builder.build(node)
    point = exactly([Fraction(i, 3) for i in range(4)], (1, 4))
    found = enclose(graph, {"x": point}, nodes=[node])[node]
    assert found.error.min() > 0
    assert (found.error <= SHARP * found.value.astype(np.float64)).all()


@settings(max_examples=40, deadline=None)
@given(graphs(max_steps=6))
def test_graphs_without_curves_have_no_error(graph: Graph) -> None:
    point = exactly([Fraction(v) for v in random_points(graph, 1).flat], graph.shapes[graph.input])
    found = enclose(graph, {graph.input: point})
    exact = evaluate_exact(graph, {graph.input: point})
    for node in graph.order:
        assert (found[node].value == exact[node]).all()
        assert not found[node].error.any()


def behind(op: ops.Op, shift: float, curve: ops.Smooth | None = None) -> Enclosed:
    """`op(exp(x) + shift)` at 0, where exp is 1 up to its error."""
    builder = GraphBuilder()
    x = builder.add(curve or ops.Exp(), builder.add(ops.Input((1,)), name="x"))
    y = builder.add(op, builder.add(ops.Scale(np.array(1.0), np.array(shift)), x), name="y")
    return enclose(builder.build(y), {"x": exactly([Fraction(0)], (1,))}, nodes=["y"])["y"]


def test_a_step_is_certain_away_from_its_jumps_only() -> None:
    assert behind(ops.Positive(), -0.5).error.tolist() == [0.0]
    assert behind(ops.Positive(), -1.0).error.tolist() == [1.0]
    assert behind(ops.Sign(), -1.0).error.tolist() == [2.0]
    assert behind(ops.Floor(), 0.25).error.tolist() == [0.0]
    assert behind(ops.Floor(), 0.0).error.tolist() == [1.0]
    assert behind(ops.Round(), -0.5).error.tolist() == [1.0]


def test_near_a_pole_or_the_end_of_a_domain_nothing_is_known() -> None:
    for curve in (ops.Log(), ops.Sqrt()):
        nearly_nothing = behind(curve, -1.0 + 1e-14)
        assert np.isinf(nearly_nothing.error).all()
    assert np.isinf(behind(ops.Reciprocal(), -1.0 + 1e-14).error).all()


@pytest.mark.parametrize("op", CURVES, ids=repr)
@settings(max_examples=50, deadline=None)
@given(start=st.floats(-20, 20), width=st.floats(0, 10), parts=st.lists(st.floats(0, 1)))
def test_ranges_hold_every_value_between(
    op: ops.Smooth, start: float, width: float, parts: list[float]
) -> None:
    low, high = np.array([start]), np.array([start + width])
    with np.errstate(all="ignore"):
        least, most = smooth_range(op, low, high)
        values = op.value(np.clip(low + width * np.array([0.0, *parts, 1.0]), low, high))
    if op.domain[0] <= start and np.isfinite(values).all():
        assert (least <= values).all()
        assert (values <= most).all()

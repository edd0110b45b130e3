"""Exact evaluation of a graph in rational arithmetic.

All ops but `Smooth` ones are computed without rounding. Smooth functions have irrational values:
they are computed in float64 at the float64 number nearest to their argument, and what depends on
them is not exact (`is_exact`). How far off it can be says `enclosure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import singledispatch
from math import lcm, prod

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.evaluate import (
    convolve,
    convolve_transposed,
    knot_values,
    reader_counts,
    rearrange,
)
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rational import Exact, linear_map, plus, times

ExactArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]


class NoValue(ArithmeticError):
    """A function has no value at a point: the logarithm of a negative number, a pole, a number
    beyond float64.
    """


def evaluate_exact(
    graph: Graph,
    inputs: Mapping[NodeId, ExactArray],
    given: Mapping[NodeId, ExactArray] | None = None,
    nodes: Iterable[NodeId] | None = None,
) -> dict[NodeId, ExactArray]:
    """Exact values of `nodes` (all by default) at one point; but for `Smooth` ops, see above.

    `inputs` and the results are arrays of `Fraction` of the nodes' shapes (no points axis). Nodes
    in `given` are not computed: they have the values that stand there. Only what `nodes` need is
    computed. Raises ValueError where an input is missing or has another shape, NoValue where a
    function has no value.
    """
    fixed = {**inputs, **(given or {})}
    wanted = tuple(graph.order if nodes is None else nodes)
    remaining = reader_counts(graph, wanted, given=fixed)
    values: dict[NodeId, Exact] = {}
    for node in graph.order:
        if node not in remaining:
            continue
        operands = graph.operands(node)
        if node in fixed:
            values[node] = as_exact(graph, node, fixed[node])
            continue
        if isinstance(graph.op(node), ops.Input):
            raise ValueError(f"no value for input {node}")
        values[node] = apply(graph.op(node), [values[o] for o in operands]).reduced()
        for operand in operands:
            remaining[operand] -= 1
            if not remaining[operand]:
                del values[operand]
    return {node: values[node].fractions() for node in wanted}


def is_exact(graph: Graph, nodes: Iterable[NodeId], given: Iterable[NodeId] = ()) -> bool:
    """Whether `evaluate_exact` gives `nodes` without any rounding: no `Smooth` op on the way to
    them, those behind the nodes in `given` left out.
    """
    needed = reader_counts(graph, tuple(nodes), given=given)
    known = set(given)
    return not any(isinstance(graph.op(n), ops.Smooth) for n in needed if n not in known)


def as_exact(graph: Graph, node: NodeId, value: ExactArray) -> Exact:
    """A value from outside. Raises ValueError where it does not have the node's shape."""
    if value.shape != graph.shapes[node]:
        raise ValueError(f"{node} takes {graph.shapes[node]}, not {value.shape}")
    return Exact.of(value.astype(object))


# --- one rule for each kind or op ----------------------------------------------------------------


@singledispatch
def apply(op: ops.Op, operands: Sequence[Exact]) -> Exact:
    """The exact value of one op. Raises NotImplementedError for one without a rule (our bug)."""
    raise NotImplementedError(f"no exact evaluation rule for {type(op).__name__}")


@apply.register
def _constant(op: ops.Constant, operands: Sequence[Exact]) -> Exact:
    return Exact.of(op.value)


@apply.register
def _dense(op: ops.Dense, operands: Sequence[Exact]) -> Exact:
    def kernel(weight: FloatArray, x: FloatArray) -> FloatArray:
        return x @ weight.T

    result = linear_map(kernel, op.weight, operands[0], op.weight.shape[1])
    return plus(result, Exact.of(op.bias))


@apply.register
def _conv(op: ops.Conv, operands: Sequence[Exact]) -> Exact:
    def kernel(weight: FloatArray, x: FloatArray) -> FloatArray:
        return convolve(op, weight, x)

    result = linear_map(kernel, op.weight, operands[0], prod(op.weight.shape[1:]))
    bias = Exact.of(op.bias.reshape(-1, *(1 for _ in op.strides)))
    return plus(result, bias)


@apply.register
def _scale(op: ops.Scale, operands: Sequence[Exact]) -> Exact:
    return plus(times(operands[0], Exact.of(op.scale)), Exact.of(op.shift))


@apply.register
def _sum(op: ops.Sum, operands: Sequence[Exact]) -> Exact:
    total: Exact | None = None
    for coefficient, operand in zip(op.coefficients, operands, strict=True):
        term = times(operand, Exact.of(np.array(coefficient)))
        total = term if total is None else plus(total, term)
    if total is None:
        raise ValueError("a sum of nothing")
    return total


@apply.register
def _batch_norm(op: ops.BatchNorm, operands: Sequence[Exact]) -> Exact:
    extent = (-1, *(1 for _ in operands[0].numerators.shape[2:]))
    factor = Exact.of(op.factor.reshape(extent))
    return plus(times(operands[0], factor), Exact.of(op.offset.reshape(extent)))


@apply.register
def _rearrange(op: ops.Rearrange, operands: Sequence[Exact]) -> Exact:
    denominator = lcm(*(o.denominator for o in operands))
    moved = rearrange(op, [o.over(denominator)[np.newaxis] for o in operands])
    return Exact(moved[0], denominator)


@apply.register
def _piecewise(op: ops.PiecewiseLinear, operands: Sequence[Exact]) -> Exact:
    """Each segment is `slope * x + intercept`; all of them over one denominator."""
    (x,) = operands
    breakpoints = [Fraction(b) for b in op.breakpoints]
    slopes = [Fraction(s) for s in op.slopes]
    knots = [(breakpoints[0], knot_values(op)[0]), *zip(breakpoints, knot_values(op), strict=True)]
    intercepts = [v - s * b for s, (b, v) in zip(slopes, knots, strict=True)]
    common = lcm(*(f.denominator for f in (*slopes, *intercepts)))
    result = x.numerators * int(slopes[0] * common) + int(intercepts[0] * common) * x.denominator
    for i, breakpoint_ in enumerate(breakpoints, start=1):
        right = x.numerators * breakpoint_.denominator >= breakpoint_.numerator * x.denominator
        line = x.numerators * int(slopes[i] * common) + int(intercepts[i] * common) * x.denominator
        result = np.where(right.astype(bool), line, result)
    return Exact(result, x.denominator * common)


@apply.register
def _relu(op: ops.Relu, operands: Sequence[Exact]) -> Exact:
    (x,) = operands
    return Exact(np.where((x.numerators > 0).astype(bool), x.numerators, 0), x.denominator)


@apply.register
def _abs(op: ops.Abs, operands: Sequence[Exact]) -> Exact:
    return Exact(np.abs(operands[0].numerators), operands[0].denominator)


@apply.register
def _multiply(op: ops.Multiply, operands: Sequence[Exact]) -> Exact:
    return times(operands[0], operands[1])


@apply.register
def _square(op: ops.Square, operands: Sequence[Exact]) -> Exact:
    return times(operands[0], operands[0])


@apply.register
def _conv_transpose(op: ops.ConvTranspose, operands: Sequence[Exact]) -> Exact:
    def kernel(weight: FloatArray, x: FloatArray) -> FloatArray:
        return convolve_transposed(op, weight, x)

    terms = prod(op.weight.shape[2:]) * op.weight.shape[0] // op.groups
    bias = Exact.of(op.bias.reshape(-1, *(1 for _ in op.strides)))
    return plus(linear_map(kernel, op.weight, operands[0], terms), bias)


@apply.register
def _group_max(op: ops.GroupMax, operands: Sequence[Exact]) -> Exact:
    (x,) = operands
    return Exact(x.numerators.reshape(-1)[op.groups].max(axis=-1), x.denominator)


@apply.register
def _step(op: ops.Step, operands: Sequence[Exact]) -> Exact:
    (x,) = operands
    values = [op.exact(Fraction(n, x.denominator)) for n in x.numerators.reshape(-1).tolist()]
    return Exact.of(fraction_array(values, x.numerators.shape))


@apply.register
def _threshold(op: ops.Threshold, operands: Sequence[Exact]) -> Exact:
    """By the signs of numerators: a binarised network has some hundred thousand of these."""
    (x,) = operands
    flat = x.numerators.reshape(-1).tolist()
    signs = np.array([(n > 0) - (n < 0) for n in flat], dtype=np.float64)
    return Exact.of(op.value(signs).reshape(x.numerators.shape))


@apply.register
def _smooth(op: ops.Smooth, operands: Sequence[Exact]) -> Exact:
    """In float64, of the nearest float64. Raises NoValue where that is no finite number."""
    values = smooth_value(op, nearest(operands[0]))
    if not np.isfinite(values).all():
        raise NoValue(f"{type(op).__name__.lower()} has no value here")
    return Exact.of(values)


def smooth_value(op: ops.Smooth, x: FloatArray) -> FloatArray:
    """f(x) in float64; NaN or infinite where there is none."""
    with np.errstate(all="ignore"):
        return np.asarray(op.value(x), dtype=np.float64)


def nearest(x: Exact) -> FloatArray:
    """The float64 numbers nearest to the entries. Raises NoValue beyond their range."""
    try:
        values = [n / x.denominator for n in x.numerators.reshape(-1).tolist()]
    except OverflowError as error:
        raise NoValue("a number is beyond float64") from error
    return np.array(values, dtype=np.float64).reshape(x.numerators.shape)


def fraction_array(values: Sequence[Fraction], shape: tuple[int, ...]) -> ExactArray:
    """Fractions as an array of a shape."""
    flat = np.empty(len(values), dtype=object)
    flat[:] = values
    return flat.reshape(shape)

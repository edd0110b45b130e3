"""Values at one point with a bound on how far off they are.

Everything but `Smooth` ops is computed exactly. A smooth function is evaluated in float64, which
rounds; the error that this leaves is carried through whatever is computed from it: by the
magnitudes of affine ops, by slopes, by ranges. What is trusted is that an elementary function in
float64 is as near to its true value as `ELEMENTARY_ERROR` says.

Errors are float64 numbers, rounded up: they stay rough, while values keep all their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import singledispatch

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.evaluate import Batch, reader_counts, rearrange
from specdsl.graph.evaluate import apply as apply_in_floats
from specdsl.graph.exact import NoValue, apply, as_exact, nearest, smooth_value
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rational import Exact

ExactArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]

# Relative. Libraries promise a few units in the last place (2.2e-16 each) for the functions
# themselves; the longest formulas here (the tanh form of Gelu, far tails of the normal
# distribution) lose three digits more. 2**-40 is 9.1e-13.
ELEMENTARY_ERROR = 2.0**-40
# Absolute, for results that underflow; and it makes any error of a rounded number positive.
TINY = 1e-300
# Errors are sums and products of up to some 2**26 nonnegative float64 terms: computing them rounds
# by less than this, relative.
INFLATION = 1 + 1e-7
# Turns and poles of periodic functions are found to within some units in the last place.
PLACE_ERROR = 1e-14

_ONE_POINT = Batch(1, np.dtype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Enclosed:
    """`|true value - value| <= error`, entry by entry; an error of 0 says that it is exact.

    Shapes: both that of the node. Errors may be infinite.
    """

    value: ExactArray
    error: FloatArray


def enclose(
    graph: Graph,
    inputs: Mapping[NodeId, ExactArray | Enclosed],
    given: Mapping[NodeId, ExactArray] | None = None,
    nodes: Iterable[NodeId] | None = None,
) -> dict[NodeId, Enclosed]:
    """What `evaluate_exact` gives for `nodes` at one point, with error bounds.

    `inputs` and `given` are exact where no error stands with them. Raises ValueError where an input
    is missing or has another shape, NoValue where a function has no value.
    """
    fixed = {**inputs, **(given or {})}
    wanted = tuple(graph.order if nodes is None else nodes)
    remaining = reader_counts(graph, wanted, given=fixed)
    known: dict[NodeId, _Approximate] = {}
    for node in graph.order:
        if node not in remaining:
            continue
        if node in fixed:
            known[node] = _given(graph, node, fixed[node])
            continue
        op, takes = graph.op(node), graph.operands(node)
        if isinstance(op, ops.Input):
            raise ValueError(f"no value for input {node}")
        known[node] = _step(op, [known[o] for o in takes])
        for operand in takes:
            remaining[operand] -= 1
            if not remaining[operand]:
                del known[operand]
    return {node: known[node].shown() for node in wanted}


@dataclass(frozen=True, slots=True, eq=False)
class _Approximate:
    """A computed tensor. error: that of `Enclosed`, None where it is 0 everywhere."""

    value: Exact
    error: FloatArray | None

    @property
    def errors(self) -> FloatArray:
        """Zeros written out."""
        return np.zeros(self.value.numerators.shape) if self.error is None else self.error

    @property
    def sizes(self) -> FloatArray:
        """Magnitudes in float64, infinite beyond its range."""
        try:
            return np.abs(nearest(self.value))
        except NoValue:
            return np.full(self.value.numerators.shape, np.inf)

    def shown(self) -> Enclosed:
        """As a result."""
        return Enclosed(self.value.fractions(), self.errors)


def _given(graph: Graph, node: NodeId, value: ExactArray | Enclosed) -> _Approximate:
    if not isinstance(value, Enclosed):
        return _Approximate(as_exact(graph, node, value), None)
    error = value.error if value.error.any() else None
    return _Approximate(as_exact(graph, node, value.value), error)


def _step(op: ops.Op, operands: Sequence[_Approximate]) -> _Approximate:
    value = apply(op, [o.value for o in operands]).reduced()
    exact = all(o.error is None for o in operands)
    if exact and not isinstance(op, ops.Smooth):
        return _Approximate(value, None)
    with np.errstate(all="ignore"):
        error = np.asarray(spread(op, operands, value), dtype=np.float64)
    # NaN comes from infinities that meet zeros: nothing is known there.
    return _Approximate(value, np.where(np.isnan(error), np.inf, error))


def _up(error: FloatArray, touched: npt.NDArray[np.bool_]) -> FloatArray:
    """Computed errors rounded up where there is an error at all."""
    return np.where(touched, error * INFLATION + TINY, 0.0)


# --- one rule for each kind ----------------------------------------------------------------------


@singledispatch
def spread(op: ops.Op, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    """How far the op's computed `value` may be off, given how far its operands are.

    Raises NotImplementedError for an op without a rule (our bug).
    """
    raise NotImplementedError(f"no rule for the errors of {type(op).__name__}")


@spread.register
def _affine(op: ops.Affine, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    """The magnitudes of the weights, applied to the errors."""
    magnitudes, pattern = linear_part(op, np.abs), linear_part(op, _nonzero)
    errors = [o.errors[np.newaxis] for o in operands]
    marks = [(error > 0).astype(np.float64) for error in errors]
    touched = apply_in_floats(pattern, marks, _ONE_POINT)[0] > 0
    return _up(apply_in_floats(magnitudes, errors, _ONE_POINT)[0], touched)


@spread.register
def _rearrange(op: ops.Rearrange, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    return rearrange(op, [o.errors[np.newaxis] for o in operands])[0]


@spread.register
def _piecewise(
    op: ops.PiecewiseLinear, operands: Sequence[_Approximate], value: Exact
) -> FloatArray:
    error = operands[0].errors
    return _up(error * max(abs(s) for s in op.slopes), error > 0)


@spread.register
def _group_max(op: ops.GroupMax, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    return operands[0].errors.reshape(-1)[op.groups].max(axis=-1)


@spread.register
def _multiply(op: ops.Multiply, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    return _product_error(operands[0], operands[1])


@spread.register
def _square(op: ops.Square, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    return _product_error(operands[0], operands[0])


def _product_error(a: _Approximate, b: _Approximate) -> FloatArray:
    first, second = a.errors, b.errors
    error = a.sizes * second + b.sizes * first + first * second
    return _up(error, (first > 0) | (second > 0))


@spread.register
def _threshold(op: ops.Threshold, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    """None where the error leaves no doubt about the sign."""
    (x,) = operands
    spans = max(op.below, op.at, op.above) - min(op.below, op.at, op.above)
    doubtful = (x.errors > 0) & ~(x.sizes > x.errors * INFLATION)
    return np.where(doubtful, spans, 0.0)


@spread.register
def _rounding(op: ops.Rounding, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    """These rise, so both ends of the operand's interval say all."""
    (x,) = operands
    result = np.zeros(x.errors.shape)
    values, chosen = x.value.fractions(), value.fractions()
    for place in zip(*np.nonzero(x.errors), strict=True):
        error = float(x.errors[place])
        if np.isinf(error):
            result[place] = np.inf
            continue
        ends = (op.exact(values[place] + sign * Fraction(error)) for sign in (-1, 1))
        result[place] = max(float(abs(end - chosen[place])) for end in ends)
    return result


@spread.register
def _smooth(op: ops.Smooth, operands: Sequence[_Approximate], value: Exact) -> FloatArray:
    """The range of the function over all that the operand may be."""
    (x,) = operands
    center = nearest(x.value)
    rounded = x.value.fractions() != Exact.of(center).fractions()
    radius = _up(x.errors + np.abs(center) * 2.0**-53, (x.errors > 0) | rounded.astype(bool))
    low = np.where(radius > 0, np.nextafter(center - radius, -np.inf), center)
    high = np.where(radius > 0, np.nextafter(center + radius, np.inf), center)
    least, most = smooth_range(op, low, high)
    found = nearest(value)
    error = np.maximum(most - found, found - least)
    return _up(error, np.ones(error.shape, dtype=bool))


# --- ranges of smooth functions ------------------------------------------------------------------


def smooth_range(
    op: ops.Smooth, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bounds on f over [low, high], entry by entry; infinite over a pole or outside the domain.

    A continuous function has its extremes at the ends or where it turns.
    """
    ends = (smooth_value(op, low), smooth_value(op, high))
    least, most = np.minimum(*ends), np.maximum(*ends)
    for turn in op.turns:
        inside = _holds(op, turn, low, high)
        there = float(smooth_value(op, np.array([turn]))[0])
        least = np.where(inside, np.minimum(least, there), least)
        most = np.where(inside, np.maximum(most, there), most)
    lost = (low < op.domain[0]) | (high > op.domain[1])
    lost |= ~np.isfinite(least) | ~np.isfinite(most)
    for pole in op.poles:
        lost |= _holds(op, pole, low, high)
    least = np.where(lost, -np.inf, least - np.abs(least) * ELEMENTARY_ERROR - TINY)
    most = np.where(lost, np.inf, most + np.abs(most) * ELEMENTARY_ERROR + TINY)
    return least, most


def _holds(
    op: ops.Smooth, place: float, low: FloatArray, high: FloatArray
) -> npt.NDArray[np.bool_]:
    """Whether `place`, or a repetition of it, lies in [low, high], or nearly so."""
    if op.period is None:
        slack = PLACE_ERROR if place else 0.0
        return (low - slack * np.abs(low) <= place) & (place <= high + slack * np.abs(high))
    reach = PLACE_ERROR * (1 + np.maximum(np.abs(low), np.abs(high)))
    repeated = place + np.ceil((low - reach - place) / op.period) * op.period
    return repeated <= high + reach


# --- linear parts --------------------------------------------------------------------------------


def _nonzero(weight: ops.Array) -> FloatArray:
    return (np.asarray(weight) != 0).astype(np.float64)


@singledispatch
def linear_part(op: ops.Affine, change: Callable[[FloatArray], FloatArray]) -> ops.Affine:
    """The op with changed weights and without its offset.

    Raises NotImplementedError for an op without a rule (our bug).
    """
    raise NotImplementedError(f"no linear part of {type(op).__name__}")


@linear_part.register
def _rearrange_part(op: ops.Rearrange, change: Callable[[FloatArray], FloatArray]) -> ops.Affine:
    return op


@linear_part.register(ops.Dense)
@linear_part.register(ops.Conv)
@linear_part.register(ops.ConvTranspose)
def _weighted_part(
    op: ops.Dense | ops.Conv | ops.ConvTranspose, change: Callable[[FloatArray], FloatArray]
) -> ops.Affine:
    return replace(op, weight=change(ops.as_float(op.weight)), bias=np.zeros(op.bias.shape))


@linear_part.register
def _scale_part(op: ops.Scale, change: Callable[[FloatArray], FloatArray]) -> ops.Affine:
    return ops.Scale(change(ops.as_float(op.scale)), np.zeros(()))


@linear_part.register
def _sum_part(op: ops.Sum, change: Callable[[FloatArray], FloatArray]) -> ops.Affine:
    return ops.Sum(tuple(change(np.array(op.coefficients)).tolist()))


@linear_part.register
def _batch_norm_part(op: ops.BatchNorm, change: Callable[[FloatArray], FloatArray]) -> ops.Affine:
    zeros, ones = np.zeros(op.gamma.shape), np.ones(op.gamma.shape)
    return ops.BatchNorm(change(op.factor), zeros, zeros, ones, 0.0)

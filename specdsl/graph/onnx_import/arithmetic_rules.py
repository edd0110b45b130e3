"""Rules of the ONNX import for sums, products, quotients, powers and extremes."""

from __future__ import annotations

from functools import reduce

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import BOOLEAN, Computed
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

# Integers this wide do not wrap around in any network that makes sense.
WIDE_BYTES = 4


def common_shape(call: NodeCall, *values: Value) -> ops.Shape:
    """The shape all operands broadcast to. Refuses where there is none."""
    try:
        return np.broadcast_shapes(*(v.shape for v in values))
    except ValueError:
        listed = " and ".join(str(v.shape) for v in values)
        call.refuse(f"shapes {listed} do not broadcast", code="E0609")


def _exactly(call: NodeCall, *values: Value) -> None:
    """Refuse arithmetic that the runtime computes modulo a power of two."""
    for value in values:
        element = value.element if isinstance(value, Computed) else value.dtype
        narrow = element.kind in "iu" and element.itemsize < WIDE_BYTES
        if narrow or element == BOOLEAN:
            call.refuse(f"arithmetic on {element} values")


# --- sums ----------------------------------------------------------------------------------------


def add(call: NodeCall) -> tuple[Value, ...]:
    """`left + right`."""
    return (_sum(call, 1.0),)


def subtract(call: NodeCall) -> tuple[Value, ...]:
    """`left - right`."""
    return (_sum(call, -1.0),)


def _sum(call: NodeCall, sign: float) -> Value:
    """`left + sign * right`."""
    left, right = _operands(call)
    if right is None:
        return left
    if isinstance(left, Computed) and isinstance(right, Computed):
        return call.composed(composites.add if sign > 0 else composites.subtract, left, right)
    if isinstance(left, Computed):
        shift = call.weight(1, "constant")
        return call.composed(composites.affine, left, shift=shift if sign > 0 else -shift)
    x = call.computed(1)
    return call.composed(composites.affine, x, scale=sign, shift=call.weight(0, "constant"))


def _operands(call: NodeCall) -> tuple[Value, Value | None]:
    """Both operands, at least one of them computed; or their folded result and None."""
    left, right = call.operand(0), call.operand(1)
    if not isinstance(left, Computed) and not isinstance(right, Computed):
        result = constants.folded(call, left, right)
        if result is not None:
            return result, None
        left = call.constant_node(left)
    _exactly(call, left, right)
    shape = common_shape(call, left, right)
    call.guard_size(shape)
    return left, right


def total(call: NodeCall) -> tuple[Value, ...]:
    """The sum of any number of operands."""
    return (_total(call, [call.computed(i) for i in range(len(call.operands))]),)


def mean(call: NodeCall) -> tuple[Value, ...]:
    """The mean of any number of operands."""
    count = len(call.operands)
    operands = [call.computed(i) for i in range(count)]
    summed = _total(call, operands)
    return (call.composed(composites.affine, summed, scale=composites.share(count)),)


def _total(call: NodeCall, operands: list[Computed]) -> Computed:
    if not operands:
        call.refuse("a sum of nothing", code="E0601")
    shape = common_shape(call, *operands)
    spread = [call.broadcast(o, shape) for o in operands]
    return call.add(ops.Sum((1.0,) * len(spread)), *spread)


# --- products ------------------------------------------------------------------------------------


def multiply(call: NodeCall) -> tuple[Value, ...]:
    """`left * right`."""
    left, right = _operands(call)
    if right is None:
        return (left,)
    if isinstance(left, Computed) and isinstance(right, Computed):
        return (call.composed(composites.multiply, left, right),)
    if isinstance(left, Computed):
        return (call.composed(composites.affine, left, scale=call.weight(1, "factor")),)
    x = call.computed(1)
    return (call.composed(composites.affine, x, scale=call.weight(0, "factor")),)


def divide(call: NodeCall) -> tuple[Value, ...]:
    """`left / right`; of integers without the fractional part."""
    left, right = _operands(call)
    if right is None:
        return (left,)
    element = left.element if isinstance(left, Computed) else left.dtype
    if isinstance(right, Computed):
        quotient = _quotient(call, left, right)
    else:
        divisor = call.weight(1, "divisor")
        if not divisor.all():
            call.refuse("division by a constant that holds 0")
        x = left if isinstance(left, Computed) else call.constant_node(left)
        quotient = call.composed(composites.affine, x, scale=constants.reciprocal(divisor))
    return (call.add(ops.Truncate(), quotient) if element.kind in "iu" else quotient,)


def _quotient(call: NodeCall, left: Value, right: Computed) -> Computed:
    """By a computed value."""
    if isinstance(left, Computed):
        return call.composed(composites.divide, left, right)
    inverse = call.add(ops.Reciprocal(), right)
    return call.composed(composites.affine, inverse, scale=call.weight(0, "dividend"))


def reciprocal(call: NodeCall) -> tuple[Value, ...]:
    """`1 / x`."""
    return (call.add(ops.Reciprocal(), call.computed(0)),)


def negate(call: NodeCall) -> tuple[Value, ...]:
    """`-x`."""
    x = call.operand(0)
    if not isinstance(x, Computed):
        return (-x,)
    _exactly(call, x)
    return (call.composed(composites.opposite, x),)


# --- powers --------------------------------------------------------------------------------------


def power(call: NodeCall) -> tuple[Value, ...]:
    """Of a computed base: one constant exponent; of a constant base: its exponential."""
    base, exponent = call.operand(0), call.operand(1)
    if isinstance(exponent, Computed):
        return (_exponential(call, base, exponent),)
    if not exponent.size:
        call.refuse("an exponent without entries", code="E0609")
    shape = common_shape(call, base, exponent)
    if not isinstance(base, Computed) and base.dtype.kind in "iu":
        if exponent.dtype.kind not in "iu" or exponent.min() < 0:
            call.refuse("a power of constant integers that is not whole")
        return (np.power(base, exponent),)
    x = call.broadcast(base if isinstance(base, Computed) else call.computed(0), shape)
    found = np.unique(call.weight(1, "exponent"))
    if found.size == 1:
        return (_power(call, x, float(found[0])),)
    return (_powers(call, x, np.broadcast_to(exponent, shape)),)


def _power(call: NodeCall, x: Computed, exponent: float) -> Computed:
    raised = call.composed(composites.power, x, exponent=exponent)
    if x.element.kind in "iu" and exponent < 0:
        call.refuse(f"integers to the power {exponent:g}")
    return raised


def _powers(call: NodeCall, x: Computed, exponents: Tensor) -> Computed:
    """Entries with one exponent together, then each back in its place."""
    flat = exponents.reshape(-1)
    parts: list[Computed] = []
    order: list[Tensor] = []
    for exponent in np.unique(flat):
        places = np.flatnonzero(flat == exponent)
        parts.append(_power(call, call.select(x, places), float(exponent)))
        order.append(places)
    joined = call.add(ops.Concat(0), *parts)
    places = np.concatenate(order)
    back = np.empty_like(places)
    back[places] = np.arange(len(places))
    return call.select(joined, back.reshape(exponents.shape))


def _exponential(call: NodeCall, base: Value, exponent: Computed) -> Computed:
    """`base ** x` of positive constants: `e^(x log base)`."""
    if isinstance(base, Computed):
        call.refuse("a power whose base and exponent are both computed is not supported")
    numbers = call.weight(0, "base")
    if not (numbers > 0).all():
        call.refuse("a computed power of constants that are not positive is not supported")
    logarithm = call.add(ops.Log(), call.add(ops.Constant(numbers)))
    scaled = call.composed(composites.multiply, exponent, logarithm)
    return call.add(ops.Exp(), scaled)


# --- extremes ------------------------------------------------------------------------------------


def maximum(call: NodeCall) -> tuple[Value, ...]:
    """The largest of any number of operands."""
    return (_extreme(call, 1.0),)


def minimum(call: NodeCall) -> tuple[Value, ...]:
    """The least of any number of operands."""
    return (_extreme(call, -1.0),)


def _extreme(call: NodeCall, sign: float) -> Value:
    """The largest (sign 1) or least (-1) of any number of operands, each after the other."""
    values = [call.operand(i) for i in range(len(call.operands))]
    if not values:
        call.refuse("of nothing", code="E0601")
    shape = common_shape(call, *values)
    call.guard_size(shape)
    fixed = [v for v in values if not isinstance(v, Computed)]
    computed = [v for v in values if isinstance(v, Computed)]
    limit = reduce(np.maximum if sign > 0 else np.minimum, fixed) if fixed else None
    if not computed:
        return np.broadcast_to(np.asarray(limit), shape).copy()
    best = call.broadcast(computed[0], shape)
    for other in computed[1:]:
        build = composites.maximum if sign > 0 else composites.minimum
        best = call.composed(build, best, other)
    if limit is None:
        return best
    bound = call.numbers(np.asarray(limit), "constant")
    return _beyond_constant(call, best, bound, sign)


def _beyond_constant(call: NodeCall, x: Computed, other: Tensor, sign: float) -> Computed:
    """`max(x, c) = c + relu(x - c)`, `min(x, c) = c - relu(c - x)`."""
    shift = -other if sign > 0 else other
    gap = call.composed(composites.affine, x, scale=sign, shift=shift)
    return call.composed(composites.affine, call.add(ops.Relu(), gap), scale=sign, shift=other)

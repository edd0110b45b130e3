"""Rules of the ONNX import that work entry by entry: sums, products, extremes, activations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from specdsl.graph import ops
from specdsl.graph.onnx_import import layout_rules as layout
from specdsl.graph.onnx_import.call import Computed, NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

ZERO = np.zeros((), dtype=np.float32)
ONE = np.ones((), dtype=np.float32)
# Higher powers of anything but numbers near 1 leave float32.
LARGEST_EXPONENT = 16
# Exporters write the ends of float32 for "no bound" (they are the defaults before opset 11).
FLOAT32_MAX = float(np.finfo(np.float32).max)


def add(call: NodeCall) -> tuple[Value, ...]:
    """`left + right`."""
    return _sum(call, 1.0)


def subtract(call: NodeCall) -> tuple[Value, ...]:
    """`left - right`."""
    return _sum(call, -1.0)


def _sum(call: NodeCall, sign: float) -> tuple[Value, ...]:
    """`left + sign * right`."""
    left, right = call.operand(0), call.operand(1)
    if not isinstance(left, Computed) and not isinstance(right, Computed):
        if left.dtype.kind == "i":
            return (layout.integer_arithmetic(call, left, right),)
        left = call.constant_node(left)
    shape = layout.broadcast_shape(call, left.shape, right.shape)
    if isinstance(left, Computed) and isinstance(right, Computed):
        operands = call.broadcast(left, shape), call.broadcast(right, shape)
        return (call.add(ops.Sum((1.0, sign)), *operands),)
    if isinstance(left, Computed):
        shift = np.float32(sign) * call.weight(1, "constant")
        return (call.add(ops.Scale(ONE, shift), call.broadcast(left, shape)),)
    x = call.broadcast(call.computed(1), shape)
    return (call.add(ops.Scale(np.asarray(np.float32(sign)), call.weight(0, "constant")), x),)


def total(call: NodeCall) -> tuple[Value, ...]:
    """The sum of any number of operands."""
    operands = [call.computed(i) for i in range(len(call.operands))]
    if not operands:
        call.refuse("a sum of nothing", code="E0601")
    shape = operands[0].shape
    for operand in operands:
        shape = layout.broadcast_shape(call, shape, operand.shape)
    spread = [call.broadcast(o, shape) for o in operands]
    return (call.add(ops.Sum((1.0,) * len(spread)), *spread),)


def multiply(call: NodeCall) -> tuple[Value, ...]:
    """`left * right`."""
    left, right = call.operand(0), call.operand(1)
    if not isinstance(left, Computed) and not isinstance(right, Computed):
        if left.dtype.kind == "i":
            return (layout.integer_arithmetic(call, left, right),)
        left = call.constant_node(left)
    if isinstance(left, Computed) and isinstance(right, Computed):
        return (_product(call, left, right),)
    if isinstance(left, Computed):
        return (_scaled(call, left, call.weight(1, "factor")),)
    return (_scaled(call, call.computed(1), call.weight(0, "factor")),)


def _product(call: NodeCall, left: Computed, right: Computed) -> Computed:
    """Entry by entry; of one value with itself where both operands are one node."""
    if left == right:
        return call.add(ops.Square(), left)
    shape = layout.broadcast_shape(call, left.shape, right.shape)
    return call.add(ops.Multiply(), call.broadcast(left, shape), call.broadcast(right, shape))


def power(call: NodeCall) -> tuple[Value, ...]:
    """Whole exponents only: squares, and products of them."""
    exponent = call.operand(1)
    if isinstance(exponent, Computed):
        call.refuse("the exponent is computed, not a constant")
    found = np.unique(exponent)
    if found.size != 1 or float(found[0]) not in range(1, LARGEST_EXPONENT + 1):
        text = f"the exponent is not one whole number from 1 to {LARGEST_EXPONENT}"
        call.refuse(text)
    x = call.computed(0)
    x = call.broadcast(x, layout.broadcast_shape(call, x.shape, exponent.shape))
    return (_power(call, x, int(found[0])),)


def _power(call: NodeCall, x: Computed, exponent: int) -> Computed:
    if exponent == 1:
        return x
    even = call.add(ops.Square(), _power(call, x, exponent // 2))
    return call.add(ops.Multiply(), even, x) if exponent % 2 else even


def divide(call: NodeCall) -> tuple[Value, ...]:
    """By a constant without zeros."""
    left, right = call.operand(0), call.operand(1)
    if not isinstance(left, Computed) and not isinstance(right, Computed):
        if left.dtype.kind == "i":
            return (layout.integer_arithmetic(call, left, right),)
        left = call.constant_node(left)
    if isinstance(right, Computed):
        call.refuse("division by a computed value is not supported")
    divisor = call.weight(1, "divisor")
    if not divisor.all():
        call.refuse("division by a constant that holds 0")
    x = left if isinstance(left, Computed) else call.constant_node(left)
    return (_scaled(call, x, _reciprocal(divisor)),)


def _reciprocal(divisor: Tensor) -> Tensor:
    """`1 / divisor`, exactly: as floats where these are exact, else as fractions."""
    exact = np.empty(divisor.shape, dtype=object)
    exact.reshape(-1)[:] = [1 / Fraction(float(d)) for d in divisor.reshape(-1)]
    rounded = exact.astype(np.float64)
    same = all(Fraction(r) == e for r, e in zip(rounded.flat, exact.flat, strict=True))
    return rounded if same else exact


def _scaled(call: NodeCall, x: Computed, factor: Tensor) -> Computed:
    shape = layout.broadcast_shape(call, x.shape, factor.shape)
    return call.add(ops.Scale(factor, ZERO), call.broadcast(x, shape))


def negate(call: NodeCall) -> tuple[Value, ...]:
    """`-x`."""
    x = call.operand(0)
    if not isinstance(x, Computed):
        return (-x,)
    return (_scaled(call, x, -ONE),)


def relu(call: NodeCall) -> tuple[Value, ...]:
    """`max(x, 0)`."""
    return (call.add(ops.Relu(), call.computed(0)),)


def leaky_relu(call: NodeCall) -> tuple[Value, ...]:
    """With a slope from 0 to 1."""
    slope = call.number("alpha", float(np.float32(0.01)))
    if not 0 <= slope <= 1:
        call.refuse(f"the slope is {slope}, not in [0, 1]")
    return (call.add(ops.LeakyRelu(slope), call.computed(0)),)


def absolute(call: NodeCall) -> tuple[Value, ...]:
    """`|x|`."""
    return (call.add(ops.Abs(), call.computed(0)),)


def maximum(call: NodeCall) -> tuple[Value, ...]:
    """The largest of any number of operands."""
    return _extreme(call, 1.0)


def minimum(call: NodeCall) -> tuple[Value, ...]:
    """The least of any number of operands."""
    return _extreme(call, -1.0)


def _extreme(call: NodeCall, sign: float) -> tuple[Value, ...]:
    """The largest (sign 1) or least (-1) of any number of operands, each after the other."""
    if not call.operands:
        call.refuse("of nothing", code="E0601")
    best = call.computed(0)
    for i in range(1, len(call.operands)):
        other = call.operand(i)
        shape = layout.broadcast_shape(call, best.shape, other.shape)
        best = call.broadcast(best, shape)
        if isinstance(other, Computed):
            best = _beyond(call, best, call.broadcast(other, shape), sign)
        else:
            best = _beyond_constant(call, best, call.weight(i, "constant"), sign)
    return (best,)


def _beyond(call: NodeCall, x: Computed, other: Computed, sign: float) -> Computed:
    """`max(x, y) = y + relu(x - y)`, `min(x, y) = y - relu(y - x)`."""
    gap = call.add(ops.Relu(), call.add(ops.Sum((sign, -sign)), x, other))
    return call.add(ops.Sum((1.0, sign)), other, gap)


def _beyond_constant(call: NodeCall, x: Computed, other: Tensor, sign: float) -> Computed:
    """The same for a constant y. float32 constants have exact opposites."""
    factor = np.asarray(np.float32(sign))
    gap = call.add(ops.Relu(), call.add(ops.Scale(factor, -factor * other), x))
    return call.add(ops.Scale(factor, other), gap)


def clip(call: NodeCall) -> tuple[Value, ...]:
    """A bound at the end of float32 is no bound; one bound alone is a shifted ReLU."""
    x = call.computed(0)
    lower = _clip_bound(call, 1, "min", -FLOAT32_MAX)
    upper = _clip_bound(call, 2, "max", FLOAT32_MAX)
    lowered, raised = lower > -FLOAT32_MAX, upper < FLOAT32_MAX
    if lowered and raised:
        if lower >= upper:
            call.refuse(f"min {lower} is not below max {upper}")
        return (call.add(ops.Clip(lower, upper), x),)
    if lowered:
        above = call.add(ops.Relu(), _affine(call, x, 1.0, -lower))
        return (_affine(call, above, 1.0, lower),)
    if raised:
        below = call.add(ops.Relu(), _affine(call, x, -1.0, upper))
        return (_affine(call, below, -1.0, upper),)
    return (x,)


def _affine(call: NodeCall, x: Computed, scale: float, shift: float) -> Computed:
    if scale == 1.0 and shift == 0.0:
        return x
    return call.add(ops.Scale(np.asarray(np.float32(scale)), np.asarray(np.float32(shift))), x)


def _clip_bound(call: NodeCall, index: int, name: str, default: float) -> float:
    if call.opset >= 11:
        bound = call.optional_weight(index, f"bound `{name}`")
        if bound is None:
            return default
        if bound.size != 1:
            call.refuse(f"bound `{name}` has shape {bound.shape}")
        return float(bound.reshape(-1)[0])
    value = call.node.attributes.get(name, default)
    if not isinstance(value, float) or np.isnan(value):
        call.refuse(f"attribute `{name}` is not a number", code="E0601")
    return value

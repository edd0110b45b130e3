"""Rules of the ONNX import for quantisation: to whole numbers of a few values, and back.

Jacob et al. 2018, arXiv:1712.05877. Values stay numbers of the graph, so that `DequantizeLinear`
of `QuantizeLinear` is a staircase.
"""

from __future__ import annotations

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed, Element
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

# Enumeration values of onnx.TensorProto.DataType.
_TARGETS: dict[int, Element] = {
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
}


def quantize(call: NodeCall) -> tuple[Value, ...]:
    """`clip(round(x / scale) + zero point)`, half to even."""
    x = call.computed(0)
    scale, zero, target = _parameters(call, x.shape)
    limits = np.iinfo(target)
    shift = np.zeros((), np.float32) if zero is None else zero
    inverse = constants.reciprocal(scale)
    steps = call.add(ops.Round(), call.composed(composites.affine, x, scale=inverse))
    moved = call.composed(composites.affine, steps, shift=shift)
    bounds = {"lower": float(limits.min), "upper": float(limits.max)}
    return (call.composed(composites.clip, moved, **bounds, element=target),)


def dequantize(call: NodeCall) -> tuple[Value, ...]:
    """`scale * (x - zero point)`, of constants exactly."""
    x = call.operand(0)
    scale, zero, _ = _parameters(call, x.shape)
    shift = np.zeros((), np.float32) if zero is None else zero
    if not isinstance(x, Computed):
        # A difference of small integers times a float32 number is a float64 number.
        centred = call.numbers(x, "quantised constant") - shift.astype(np.float64)
        if scale.dtype == np.float32 and (np.abs(centred) < 2.0**29).all():
            return (centred * scale.astype(np.float64),)
        return (constants.product(centred, scale),)
    centred = call.composed(composites.affine, x, shift=-shift.astype(np.float64))
    return (call.composed(composites.affine, centred, scale=scale, element=np.dtype(np.float32)),)


def _parameters(call: NodeCall, shape: ops.Shape) -> tuple[Tensor, Tensor | None, Element]:
    """Scale and zero point, made to broadcast to `shape`; the element type of the integers."""
    scale = call.weight(1, "scale")
    if not (scale > 0).all():
        call.refuse("a scale that is not positive")
    if call.integer("block_size", 0):
        call.refuse("blocked quantisation is not supported")
    zero = call.optional(2)
    if isinstance(zero, Computed):
        call.refuse("the zero point is computed, not a constant")
    target = _target(call, zero)
    shift = None if zero is None else call.numbers(zero, "zero point")
    if shift is not None and shift.size != scale.size:
        call.refuse(f"scale {scale.shape} and zero point {shift.shape}", code="E0609")
    if scale.size == 1:
        return scale.reshape(()), None if shift is None else shift.reshape(()), target
    axis = call.axis(call.integer("axis", 1), len(shape))
    if scale.ndim != 1 or scale.size != shape[axis]:
        call.refuse(f"scale {scale.shape} along axis {axis} of {shape}", code="E0609")
    spread = (-1, *(1 for _ in shape[axis + 1 :]))
    return scale.reshape(spread), None if shift is None else shift.reshape(spread), target


def _target(call: NodeCall, zero: Tensor | None) -> Element:
    """The element type of the integers: that of the zero point, or as an attribute says."""
    if zero is not None:
        if zero.dtype.kind not in "iu":
            call.refuse(f"quantisation to {zero.dtype} is not supported")
        return zero.dtype
    code = call.integer("output_dtype", 0) if call.node.op == "QuantizeLinear" else 0
    if code and code not in _TARGETS:
        call.refuse(f"quantisation to element type {code} is not supported")
    return _TARGETS[code or 2]

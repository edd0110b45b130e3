"""One rule for each ONNX op: what it computes, as ops of the graph.

A rule takes a `NodeCall` and returns the node's results. To support an op of a known kind, write a
rule and add it to `RULES`. The meaning is that of ONNX over the real numbers: `Div` by 3 is an
exact third, `alpha * weight` is not rounded to float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import prod
from types import MappingProxyType

import numpy as np

from specdsl.graph import ops
from specdsl.graph.onnx_import import elementwise_rules as elementwise
from specdsl.graph.onnx_import import layout_rules as layout
from specdsl.graph.onnx_import.call import Computed, NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

Rule = Callable[[NodeCall], tuple[Value, ...]]

# --- products with weights -----------------------------------------------------------------------


def _matmul(call: NodeCall) -> tuple[Value, ...]:
    left, right = call.operand(0), call.operand(1)
    if isinstance(left, Computed) and isinstance(right, Computed):
        call.refuse("a matrix product of two computed values is not supported")
    if isinstance(left, Computed):
        return (_times_right(call, left, _matrix(call, call.weight(1, "weight"))),)
    if not isinstance(right, Computed):
        call.refuse("a product of two constants is not supported")
    return (_times_left(call, _matrix(call, call.weight(0, "weight")), right),)


def _matrix(call: NodeCall, weight: Tensor) -> Tensor:
    """The weight with leading axes of extent 1 dropped."""
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim not in {1, 2}:
        call.refuse(f"a weight of shape {weight.shape}; it must be a matrix or a vector")
    return weight


def _times_right(call: NodeCall, x: Computed, weight: Tensor) -> Computed:
    """`x @ weight`."""
    if weight.ndim == 1:
        product = _dense(call, x, weight[np.newaxis])
        return call.reshape(product, product.shape[:-1])
    return _dense(call, x, weight.T)


def _times_left(call: NodeCall, weight: Tensor, x: Computed) -> Computed:
    """`weight @ x`: a dense layer over the last axis but one of `x`."""
    rank = len(x.shape)
    rows = weight if weight.ndim == 2 else weight[np.newaxis]
    if rank < 2:
        product = _dense(call, x, rows)
    else:
        swap = (*range(rank - 2), rank - 1, rank - 2)
        turned = _dense(call, call.add(ops.Transpose(swap), x), rows)
        product = call.add(ops.Transpose(swap), turned)
    if weight.ndim == 2:
        return product
    axis = len(product.shape) - min(rank, 2)
    return call.reshape(product, (*product.shape[:axis], *product.shape[axis + 1 :]))


def _dense(call: NodeCall, x: Computed, weight: Tensor, bias: Tensor | None = None) -> Computed:
    zero = np.zeros(weight.shape[0], dtype=np.float32)
    return call.add(ops.Dense(weight, zero if bias is None else bias), x)


def _gemm(call: NodeCall) -> tuple[Value, ...]:
    left, right = call.operand(0), call.operand(1)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    turned = [call.integer("transA", 0) != 0, call.integer("transB", 0) != 0]
    if isinstance(left, Computed) and isinstance(right, Computed):
        call.refuse("a matrix product of two computed values is not supported")
    if not isinstance(left, Computed) and not isinstance(right, Computed):
        call.refuse("a product of two constants is not supported")
    if any(len(o.shape) != 2 for o in (left, right)):
        call.refuse(f"operands of shapes {left.shape} and {right.shape}, not matrices")
    if isinstance(left, Computed):
        weight = _multiplied(call.weight(1, "weight"), alpha)
        x = call.add(ops.Transpose((1, 0)), left) if turned[0] else left
        rows = weight if turned[1] else weight.T
        offset = _gemm_offset(call, beta)
        if offset is not None and offset.size in {1, rows.shape[0]} and offset.ndim < 2:
            return (_dense(call, x, rows, np.broadcast_to(offset, rows.shape[0])),)
        return (_offset(call, _dense(call, x, rows), offset),)
    weight = _multiplied(call.weight(0, "weight"), alpha)
    x = call.computed(1)
    x = call.add(ops.Transpose((1, 0)), x) if turned[1] else x
    product = _times_left(call, weight.T if turned[0] else weight, x)
    return (_offset(call, product, _gemm_offset(call, beta)),)


def _gemm_offset(call: NodeCall, beta: float) -> Tensor | None:
    if call.optional(2) is None:
        return None
    offset = _multiplied(call.weight(2, "bias"), beta)
    while offset.ndim and offset.shape[0] == 1:
        offset = offset[0]
    return offset


def _multiplied(weight: Tensor, factor: float) -> Tensor:
    # The product of two float32 numbers is a float64 number.
    return weight if factor == 1.0 else weight.astype(np.float64) * factor


def _offset(call: NodeCall, x: Computed, offset: Tensor | None) -> Computed:
    return x if offset is None else call.add(ops.Scale(elementwise.ONE, offset), x)


# --- convolution and pooling ---------------------------------------------------------------------


def _conv(call: NodeCall) -> tuple[Value, ...]:
    weight = call.weight(1, "weight")
    rank = weight.ndim - 2
    if rank < 1:
        call.refuse(f"a weight of shape {weight.shape}", code="E0601")
    bias = call.optional_weight(2, "bias")
    if bias is None:
        bias = np.zeros(weight.shape[0], dtype=np.float32)
    groups = call.integer("group", 1)
    kernel = call.integer_list("kernel_shape")
    if kernel is not None and kernel != weight.shape[2:]:
        call.refuse(f"kernel_shape {kernel} but weight {weight.shape}", code="E0601")
    if groups < 1 or weight.shape[0] % groups or bias.shape != weight.shape[:1]:
        call.refuse(f"weight {weight.shape}, bias {bias.shape}, group {groups}", code="E0609")
    window = layout.window(call, call.computed(0), weight.shape[2:])
    op = ops.Conv(weight, bias, window.strides, window.pads, window.dilations, groups)
    return (call.add(op, call.computed(0)),)


def _average_pool(call: NodeCall) -> tuple[Value, ...]:
    x = call.computed(0)
    kernel = call.integer_list("kernel_shape")
    if not kernel or min(kernel) < 1:
        call.refuse(f"kernel_shape is {kernel}", code="E0601")
    if call.integer("ceil_mode", 0):
        call.refuse("ceil_mode is not supported")
    window = layout.window(call, x, kernel)
    if any(p for pad in window.pads for p in pad) and not call.integer("count_include_pad", 0):
        call.refuse("padding that is left out of the average is not supported")
    return (_averaged(call, x, kernel, window),)


def _global_average_pool(call: NodeCall) -> tuple[Value, ...]:
    x = call.computed(0)
    return (_averaged(call, x, x.shape[2:], layout.window(call, x, x.shape[2:])),)


def _averaged(
    call: NodeCall, x: Computed, kernel: tuple[int, ...], window: layout.Window
) -> Computed:
    """The average as a convolution of every channel by itself, with exact weights."""
    channels = x.shape[1]
    share = Fraction(1, prod(kernel))
    exact = Fraction(float(share)) == share
    weight = np.full((channels, 1, *kernel), float(share) if exact else share)
    bias = np.zeros(channels, dtype=np.float32)
    op = ops.Conv(weight, bias, window.strides, window.pads, window.dilations, channels)
    return call.add(op, x)


# --- the rest ------------------------------------------------------------------------------------


def _batch_norm(call: NodeCall) -> tuple[Value, ...]:
    if call.integer("training_mode", 0) or len([r for r in call.node.results if r]) > 1:
        call.refuse("training mode is not supported")
    if call.integer("spatial", 1) != 1:
        call.refuse("`spatial = 0` is not supported")
    x = call.computed(0)
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (call.weight(i, n) for i, n in enumerate(names, start=1))
    epsilon = call.number("epsilon", float(np.float32(1e-5)))
    if any(p.shape != gamma.shape or p.ndim != 1 for p in (gamma, beta, mean, variance)):
        call.refuse("its parameters have different shapes", code="E0609")
    if (variance.astype(np.float64) + epsilon <= 0).any():
        call.refuse("the variance plus epsilon is not positive")
    return (call.add(ops.BatchNorm(gamma, beta, mean, variance, epsilon), x),)


def _dropout(call: NodeCall) -> tuple[Value, ...]:
    mode = call.optional(2)
    if mode is not None and (isinstance(mode, Computed) or mode.any()):
        call.refuse("training mode is not supported")
    return (call.operand(0),)


def _identity(call: NodeCall) -> tuple[Value, ...]:
    return (call.operand(0),)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Abs": elementwise.absolute,
        "Add": elementwise.add,
        "AveragePool": _average_pool,
        "BatchNormalization": _batch_norm,
        "Cast": layout.cast,
        "Clip": elementwise.clip,
        "Concat": layout.concat,
        "Constant": layout.constant,
        "ConstantOfShape": layout.constant_of_shape,
        "Conv": _conv,
        "Div": elementwise.divide,
        "Dropout": _dropout,
        "Expand": layout.expand,
        "Flatten": layout.flatten,
        "Gather": layout.gather,
        "Gemm": _gemm,
        "GlobalAveragePool": _global_average_pool,
        "Identity": _identity,
        "LeakyRelu": elementwise.leaky_relu,
        "MatMul": _matmul,
        "Max": elementwise.maximum,
        "Min": elementwise.minimum,
        "Mul": elementwise.multiply,
        "Neg": elementwise.negate,
        "Pad": layout.pad,
        "Pow": elementwise.power,
        "Relu": elementwise.relu,
        "Reshape": layout.reshape,
        "Shape": layout.shape,
        "Slice": layout.slice_,
        "Split": layout.split,
        "Squeeze": layout.squeeze,
        "Sub": elementwise.subtract,
        "Sum": elementwise.total,
        "Transpose": layout.transpose,
        "Unsqueeze": layout.unsqueeze,
    }
)
"""Every supported ONNX op and its rule."""

"""Rules of the ONNX import for matrix products: with constants, and of computed values."""

from __future__ import annotations

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor


def matmul(call: NodeCall) -> tuple[Value, ...]:
    """Of a value with a constant matrix or a stack of them, or of two computed values."""
    left, right = call.operand(0), call.operand(1)
    if isinstance(left, Computed) == isinstance(right, Computed):
        return (call.composed(composites.matmul, call.computed(0), call.computed(1)),)
    result = _product_shape(call, left.shape, right.shape)
    if isinstance(left, Computed):
        weight = _matrix(call.weight(1, "weight"))
        if weight.ndim > 2:
            return (_stacked(call, left, weight, right=True),)
        return (call.reshape(_times_right(call, left, weight), result),)
    x, weight = call.computed(1), _matrix(call.weight(0, "weight"))
    if weight.ndim > 2:
        return (_stacked(call, x, weight, right=False),)
    return (call.reshape(_times_left(call, weight, x), result),)


def _product_shape(call: NodeCall, left: ops.Shape, right: ops.Shape) -> ops.Shape:
    """The shape of `left @ right`. Refuses operands that do not fit."""
    depth = right[-2] if len(right) > 1 else right[0] if right else None
    if not left or left[-1] != depth:
        call.refuse(f"a matrix product of {left} and {right}", code="E0609")
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        call.refuse(f"batches of matrices {left} and {right} do not fit", code="E0609")
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def _matrix(weight: Tensor) -> Tensor:
    """The weight with leading axes of extent 1 dropped."""
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    return weight


def _times_right(call: NodeCall, x: Computed, weight: Tensor) -> Computed:
    """`x @ weight`."""
    return _dense(call, x, weight[np.newaxis] if weight.ndim == 1 else weight.T)


def _times_left(call: NodeCall, weight: Tensor, x: Computed) -> Computed:
    """`weight @ x`: a dense layer over the last axis but one of `x`."""
    rank = len(x.shape)
    rows = weight if weight.ndim == 2 else weight[np.newaxis]
    if rank < 2:
        return _dense(call, x, rows)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    turned = _dense(call, call.add(ops.Transpose(swap), x), rows)
    return call.add(ops.Transpose(swap), turned)


def _stacked(call: NodeCall, x: Computed, weight: Tensor, *, right: bool) -> Computed:
    """A product with a stack of matrices: entries times weights, (..., n, m, k), summed over k."""
    shapes = (x.shape, weight.shape) if right else (weight.shape, x.shape)
    result = _product_shape(call, *shapes)
    places = call.positions(x)
    if right:
        rows = places if places.ndim > 1 else places[np.newaxis]
        spread = rows[..., :, np.newaxis, :]
        factor = np.swapaxes(weight, -1, -2)[..., np.newaxis, :, :]
    else:
        columns = places if places.ndim > 1 else places[:, np.newaxis]
        spread = np.swapaxes(columns, -1, -2)[..., np.newaxis, :, :]
        factor = weight[..., :, np.newaxis, :]
    full = np.broadcast_shapes(spread.shape, factor.shape)
    call.guard_size(full)
    entries = call.select(x, np.broadcast_to(spread, full).copy())
    products = call.composed(composites.affine, entries, scale=factor)
    total = call.composed(composites.reduce_sum, products, axes=(-1,))
    return call.reshape(total, result)


def _dense(call: NodeCall, x: Computed, weight: Tensor, bias: Tensor | None = None) -> Computed:
    zero = np.zeros(weight.shape[0], dtype=np.float32)
    return call.add(ops.Dense(weight, zero if bias is None else bias), x)


# --- Gemm ----------------------------------------------------------------------------------------


def gemm(call: NodeCall) -> tuple[Value, ...]:
    """`alpha * left @ right + beta * offset`, either factor transposed."""
    left, right = call.operand(0), call.operand(1)
    alpha = np.asarray(call.number("alpha", 1.0), np.float32)
    turned = call.integer("transA", 0) != 0, call.integer("transB", 0) != 0
    if any(len(o.shape) != 2 for o in (left, right)):
        call.refuse(f"operands of shapes {left.shape} and {right.shape}, not matrices")
    if isinstance(left, Computed) == isinstance(right, Computed):
        matrices = (
            _turned(call, call.computed(0), turned[0]),
            _turned(call, call.computed(1), turned[1]),
        )
        product = call.composed(composites.matmul, *matrices)
        scaled = call.composed(composites.affine, product, scale=float(alpha))
        return (_plus(call, scaled),)
    if isinstance(left, Computed):
        weight = constants.product(call.weight(1, "weight"), alpha)
        rows = weight if turned[1] else weight.T
        return (_dense_plus(call, _turned(call, left, turned[0]), rows),)
    weight = constants.product(call.weight(0, "weight"), alpha)
    x = _turned(call, call.computed(1), turned[1])
    return (_plus(call, _times_left(call, weight.T if turned[0] else weight, x)),)


def _turned(call: NodeCall, x: Computed, turn: bool) -> Computed:
    return call.add(ops.Transpose((1, 0)), x) if turn else x


def _dense_plus(call: NodeCall, x: Computed, rows: Tensor) -> Computed:
    """A dense layer, with the offset as its bias where that is one number for each row."""
    offset = call.optional(2)
    if offset is None or isinstance(offset, Computed):
        return _plus(call, _dense(call, x, rows))
    bias = _offset(call)
    if bias.size in {1, rows.shape[0]} and bias.ndim < 2:
        return _dense(call, x, rows, np.broadcast_to(bias, rows.shape[0]))
    return _plus(call, _dense(call, x, rows))


def _plus(call: NodeCall, product: Computed) -> Computed:
    """The offset added, which may be computed."""
    offset = call.optional(2)
    if offset is None:
        return product
    if isinstance(offset, Computed):
        beta = call.number("beta", 1.0)
        scaled = call.composed(composites.affine, offset, scale=beta)
        return call.composed(composites.add, product, scaled)
    return call.composed(composites.affine, product, shift=_offset(call))


def _offset(call: NodeCall) -> Tensor:
    """A constant offset, leading axes of extent 1 dropped."""
    offset = constants.product(
        call.weight(2, "bias"), np.asarray(call.number("beta", 1.0), np.float32)
    )
    while offset.ndim and offset.shape[0] == 1:
        offset = offset[0]
    return offset

"""Rules of the ONNX import for convolutions and pooling."""

from __future__ import annotations

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.composites import Window
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

Pads = tuple[tuple[int, int], ...]

# --- geometry ------------------------------------------------------------------------------------


def window(call: NodeCall, x: Computed, kernel: tuple[int, ...]) -> Window:
    """Strides, pads (`auto_pad` resolved) and dilations of a node, checked against the rank."""
    rank = len(kernel)
    if rank < 1 or len(x.shape) != rank + 2 or min(kernel) < 1:
        call.refuse(f"kernel {kernel} on a value of shape {x.shape}", code="E0609")
    strides, dilations = _positive(call, "strides", rank), _positive(call, "dilations", rank)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    mode = call.text("auto_pad", "NOTSET")
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        extents = zip(x.shape[2:], strides, spans, strict=True)
        pads = tuple(_same(n, stride, span, mode) for n, stride, span in extents)
    else:
        pads = _explicit_pads(call, mode, rank)
    padded = zip(x.shape[2:], pads, strict=True)
    call.guard_size((*x.shape[:2], *(n + sum(pad) for n, pad in padded)))
    ceil = call.integer("ceil_mode", 0) != 0 and mode == "NOTSET"
    return Window(kernel, strides, pads, dilations, ceil)


def _positive(call: NodeCall, name: str, rank: int) -> tuple[int, ...]:
    """An attribute of one positive number for each spatial axis, 1 by default."""
    values = call.integer_list(name) or (1,) * rank
    if len(values) != rank or min(values) < 1:
        call.refuse(f"{name} {values}: one positive number an axis", code="E0601")
    return values


def _explicit_pads(call: NodeCall, mode: str, rank: int) -> Pads:
    if mode == "VALID":
        return ((0, 0),) * rank
    if mode != "NOTSET":
        call.refuse(f"auto_pad `{mode}`", code="E0601")
    flat = call.integer_list("pads") or (0,) * (2 * rank)
    if len(flat) != 2 * rank or min(flat) < 0:
        call.refuse(f"pads {flat}: two numbers >= 0 an axis", code="E0601")
    return tuple((flat[i], flat[i + rank]) for i in range(rank))


def _same(extent: int, stride: int, span: int, mode: str) -> tuple[int, int]:
    """Padding that keeps `ceil(extent / stride)` entries; the odd one goes to the named side."""
    return _halves(max(0, (-(-extent // stride) - 1) * stride + span - extent), mode)


def _halves(total: int, mode: str) -> tuple[int, int]:
    half = total // 2
    return (half, total - half) if mode == "SAME_UPPER" else (total - half, half)


def _kernel(call: NodeCall) -> tuple[int, ...]:
    kernel = call.integer_list("kernel_shape")
    if not kernel:
        call.refuse("kernel_shape is missing", code="E0601")
    return kernel


# --- convolutions --------------------------------------------------------------------------------


def conv(call: NodeCall) -> tuple[Value, ...]:
    """Cross-correlation with constant weights."""
    weight = _filters(call)
    bias = _bias(call, weight.shape[0])
    groups = call.integer("group", 1)
    if groups < 1 or weight.shape[0] % groups:
        call.refuse(f"weight {weight.shape}, group {groups}", code="E0609")
    x = call.computed(0)
    found = window(call, x, weight.shape[2:])
    op = ops.Conv(weight, bias, found.strides, found.pads, found.dilations, groups)
    return (call.add(op, x),)


def conv_transpose(call: NodeCall) -> tuple[Value, ...]:
    """Its transpose; with `output_shape`, the padding that gives it."""
    weight, x = _filters(call), call.computed(0)
    kernel = weight.shape[2:]
    rank, groups = len(kernel), call.integer("group", 1)
    if groups < 1 or weight.shape[0] % groups or len(x.shape) != rank + 2:
        call.refuse(f"weight {weight.shape}, group {groups}, operand {x.shape}", code="E0609")
    bias = _bias(call, weight.shape[1] * groups)
    strides, dilations = _positive(call, "strides", rank), _positive(call, "dilations", rank)
    extra = call.integer_list("output_padding") or (0,) * rank
    if len(extra) != rank or min(extra) < 0:
        call.refuse(f"output_padding {extra}", code="E0601")
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    full = tuple(
        stride * (n - 1) + add + span
        for n, stride, add, span in zip(x.shape[2:], strides, extra, spans, strict=True)
    )
    pads = _transposed_pads(call, x.shape[2:], strides, full)
    call.guard_size((x.shape[0], bias.shape[0], *full))
    op = ops.ConvTranspose(weight, bias, strides, pads, dilations, extra, groups)
    return (call.add(op, x),)


def _transposed_pads(
    call: NodeCall, extents: ops.Shape, strides: tuple[int, ...], full: ops.Shape
) -> Pads:
    """What is cut from the full result; `output_shape` may ask for more than there is."""
    mode = call.text("auto_pad", "NOTSET")
    wanted = call.integer_list("output_shape")
    if wanted is None and mode in {"SAME_UPPER", "SAME_LOWER"}:
        wanted = tuple(n * stride for n, stride in zip(extents, strides, strict=True))
    if wanted is None:
        return _explicit_pads(call, mode, len(full))
    # Old exporters list the batch and channel axes too.
    wanted = wanted[-len(full) :]
    if len(wanted) != len(full) or any(w > n for w, n in zip(wanted, full, strict=True)):
        call.refuse(f"output_shape {wanted}, larger than {full}")
    # Of an odd number the operator takes the larger half from the front, unless it is SAME_UPPER.
    side = "SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER"
    return tuple(_halves(n - w, side) for n, w in zip(full, wanted, strict=True))


def _filters(call: NodeCall) -> Tensor:
    weight = call.weight(1, "weight")
    if weight.ndim < 3:
        call.refuse(f"a weight of shape {weight.shape}", code="E0601")
    kernel = call.integer_list("kernel_shape")
    if kernel is not None and kernel != weight.shape[2:]:
        call.refuse(f"kernel_shape {kernel} but weight {weight.shape}", code="E0601")
    return weight


def _bias(call: NodeCall, channels: int) -> Tensor:
    bias = call.optional_weight(2, "bias")
    if bias is None:
        return np.zeros(channels, dtype=np.float32)
    if bias.shape != (channels,):
        call.refuse(f"bias {bias.shape} of {channels} channels", code="E0609")
    return bias


# --- pooling -------------------------------------------------------------------------------------


def max_pool(call: NodeCall) -> tuple[Value, ...]:
    """The largest entry of each window."""
    if any(call.node.results[1:]):
        call.refuse("the indices of the largest entries are not supported")
    if call.integer("storage_order", 0):
        call.refuse("column-major storage order is not supported")
    x = call.computed(0)
    found = window(call, x, _kernel(call))
    return (call.composed(composites.max_pool, x, window=found),)


def average_pool(call: NodeCall) -> tuple[Value, ...]:
    """The average of each window."""
    x = call.computed(0)
    found = window(call, x, _kernel(call))
    counted = call.integer("count_include_pad", 0) != 0
    return (call.composed(composites.average_pool, x, window=found, count_padding=counted),)


def global_average_pool(call: NodeCall) -> tuple[Value, ...]:
    """The average over all spatial axes."""
    x = call.computed(0)
    return (call.composed(composites.reduce_mean, x, axes=_spatial_axes(call, x)),)


def global_max_pool(call: NodeCall) -> tuple[Value, ...]:
    """The largest entry over all spatial axes."""
    x = call.computed(0)
    return (call.composed(composites.reduce_max, x, axes=_spatial_axes(call, x)),)


def _spatial_axes(call: NodeCall, x: Computed) -> tuple[int, ...]:
    if len(x.shape) < 3:
        call.refuse(f"a value of shape {x.shape} has no spatial axes", code="E0609")
    return tuple(range(2, len(x.shape)))

"""Rules of the ONNX import that cut values apart and put them together."""

from __future__ import annotations

from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.layout_rules import rearranged
from specdsl.graph.onnx_import.read import Tensor


def concat(call: NodeCall) -> tuple[Value, ...]:
    """One after another along an axis; constants among computed values become nodes."""
    values = [call.operand(i) for i in range(len(call.operands))]
    if not values or "axis" not in call.node.attributes:
        call.refuse("operands or the axis are missing", code="E0601")
    axis = call.axis(call.integer("axis", 0), len(values[0].shape))
    constants = [v for v in values if not isinstance(v, Computed)]
    if len(constants) == len(values):
        result = ops.Concat(axis).shape(*(v.shape for v in values))
        call.guard_size(result)
        return (np.concatenate(constants, axis=axis),)
    nodes = [call.computed(i) for i in range(len(values))]
    return (call.add(ops.Concat(axis), *nodes),)


def slice_(call: NodeCall) -> tuple[Value, ...]:
    """Ranges with steps along some axes, clamped as ONNX says."""
    x = call.operand(0)
    rank = len(x.shape)
    if call.opset < 10:
        starts, ends = call.integer_list("starts"), call.integer_list("ends")
        axes, steps = call.integer_list("axes"), None
    else:
        starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
        axes = None if call.optional(3) is None else call.integers(3, "axes")
        steps = None if call.optional(4) is None else call.integers(4, "steps")
    if starts is None or ends is None:
        call.refuse("starts or ends are missing", code="E0601")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        call.refuse("starts, ends, axes and steps do not fit together", code="E0601")
    ranges = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = call.axis(axis, rank)
        ranges[place] = _range(start, end, step, x.shape[place])
    cut = tuple(ranges)
    extents = zip(cut, x.shape, strict=True)
    result = tuple(len(range(*r.indices(n))) for r, n in extents)
    return (rearranged(call, x, result, lambda v: v[cut].copy()),)


def _range(start: int, end: int, step: int, extent: int) -> slice:
    """The Python slice of an ONNX range: a negative end below the start means "to the front"."""
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    start = start + extent if start < 0 else start
    end = end + extent if end < 0 else end
    start = min(max(start, 0), high)
    end = min(max(end, low), high)
    return slice(start, None if end < 0 else end, step)


def split(call: NodeCall) -> tuple[Value, ...]:
    """Parts along an axis: sizes as given, or equal ones."""
    x = call.operand(0)
    count = len(call.node.results)
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    extent = x.shape[axis]
    if call.opset < 13:
        sizes = call.integer_list("split")
    else:
        sizes = None if call.optional(1) is None else call.integers(1, "sizes")
    if sizes is None and call.opset >= 18 and call.integer("num_outputs", count) != count:
        call.refuse(f"{call.integer('num_outputs', count)} parts for {count} results", code="E0601")
    if sizes is None:
        size = -(-extent // count)
        sizes = (*(size for _ in range(count - 1)), extent - size * (count - 1))
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != extent:
        call.refuse(f"parts {sizes} of {extent} entries", code="E0609")
    results: list[Value] = []
    start = 0
    for size in sizes:
        cut = (*(slice(None) for _ in range(axis)), slice(start, start + size))
        shape_ = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        results.append(rearranged(call, x, shape_, lambda v, cut=cut: v[cut].copy()))
        start += size
    return tuple(results)


# --- channels and space --------------------------------------------------------------------------


def depth_to_space(call: NodeCall) -> tuple[Value, ...]:
    """Channels to blocks of pixels; mode `DCR` has the block in front of the channel."""
    x = call.operand(0)
    block, mode = call.integer("blocksize", 0), call.text("mode", "DCR")
    if len(x.shape) != 4 or block < 1 or x.shape[1] % block**2 or mode not in {"DCR", "CRD"}:
        call.refuse(f"blocks of {block} of {x.shape}, mode `{mode}`", code="E0609")
    samples, channels, height, width = x.shape
    deep = channels // block**2

    def move(values: Tensor) -> Tensor:
        if mode == "DCR":
            split_ = values.reshape(samples, block, block, deep, height, width)
            turned = split_.transpose(0, 3, 4, 1, 5, 2)
        else:
            split_ = values.reshape(samples, deep, block, block, height, width)
            turned = split_.transpose(0, 1, 4, 2, 5, 3)
        return turned.reshape(samples, deep, height * block, width * block)

    return (rearranged(call, x, (samples, deep, height * block, width * block), move),)


def space_to_depth(call: NodeCall) -> tuple[Value, ...]:
    """Blocks of pixels to channels."""
    x = call.operand(0)
    block = call.integer("blocksize", 0)
    if len(x.shape) != 4 or block < 1 or x.shape[2] % block or x.shape[3] % block:
        call.refuse(f"blocks of {block} of {x.shape}", code="E0609")
    samples, channels, height, width = x.shape
    result = (samples, channels * block**2, height // block, width // block)

    def move(values: Tensor) -> Tensor:
        blocks = values.reshape(samples, channels, *result[2:3], block, result[3], block)
        return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(result)

    return (rearranged(call, x, result, move),)


# --- padding -------------------------------------------------------------------------------------

_NUMPY_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(call: NodeCall) -> tuple[Value, ...]:
    """Entries around a value: a constant, or its own repeated. Negative widths cut entries off."""
    x = call.operand(0)
    widths = _widths(call, len(x.shape))
    mode = call.text("mode", "constant")
    kept = tuple(
        slice(max(0, -begin), extent - max(0, -end))
        for (begin, end), extent in zip(widths, x.shape, strict=True)
    )
    grown = [(max(0, begin), max(0, end)) for begin, end in widths]
    inside = tuple(max(0, s.stop - s.start) for s in kept)
    result = tuple(n + sum(w) for n, w in zip(inside, grown, strict=True))
    if mode != "constant" and (mode not in _NUMPY_MODES or not prod(inside)):
        call.refuse(f"mode `{mode}` of a value of shape {x.shape}")
    call.guard_size(result)
    if inside != x.shape:
        x = rearranged(call, x, inside, lambda v: v[kept].copy())
    if result == inside:
        return (x,)
    if mode != "constant":
        _guard_reflection(call, mode, inside, grown)
        return (rearranged(call, x, result, lambda v: _padded(v, grown, mode)),)
    return (_filled(call, x, grown),)


def _padded(values: Tensor, widths: list[tuple[int, int]], mode: str) -> Tensor:
    match mode:
        case "reflect":
            return np.pad(values, widths, mode="reflect")
        case "edge":
            return np.pad(values, widths, mode="edge")
        case _:
            return np.pad(values, widths, mode="wrap")


def _guard_reflection(
    call: NodeCall, mode: str, shape: ops.Shape, widths: list[tuple[int, int]]
) -> None:
    """Runtimes differ on what stands beyond the far end of a reflection."""
    for extent, width in zip(shape, widths, strict=True):
        if mode == "reflect" and max(width) > extent - 1:
            call.refuse(f"a reflection of {max(width)} entries at an axis of {extent}")
        if mode == "wrap" and max(width) > extent:
            call.refuse(f"{max(width)} wrapped entries at an axis of {extent}")


def _widths(call: NodeCall, rank: int) -> list[tuple[int, int]]:
    """(begin, end) for every axis."""
    flat = call.integer_list("pads") if call.opset < 11 else call.integers(1, "pads")
    axes = tuple(range(rank))
    if call.opset >= 18 and call.optional(3) is not None:
        axes = tuple(call.axis(a, rank) for a in call.integers(3, "axes"))
    if flat is None or len(flat) != 2 * len(axes) or len(set(axes)) != len(axes):
        call.refuse(f"pads {flat} on axes {axes}", code="E0601")
    widths = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        widths[axis] = flat[i], flat[i + len(axes)]
    return widths


def _filled(call: NodeCall, x: Value, widths: list[tuple[int, int]]) -> Value:
    """A constant around the entries, as constants concatenated on each side."""
    if call.opset < 11:
        fill: Tensor = np.asarray(call.number("value", 0.0))
    elif call.optional(2) is None:
        fill = np.zeros((), np.float32)
    else:
        fill = call.weight(2, "value")
    if fill.size != 1:
        call.refuse(f"a value of shape {fill.shape}", code="E0601")
    number = fill.reshape(-1)[0]
    if not isinstance(x, Computed):
        number = number if x.dtype.kind in "fO" else x.dtype.type(number)
        return np.pad(x, widths, mode="constant", constant_values=number)
    for axis, (begin, end) in enumerate(widths):
        parts: list[Computed] = []
        for width in (begin, 0, end):
            extent = (*x.shape[:axis], width, *x.shape[axis + 1 :])
            call.guard_size(extent)
            parts.append(call.constant_node(np.full(extent, number)) if width else x)
        parts = [p for p, width in zip(parts, (begin, 1, end), strict=True) if width]
        x = call.add(ops.Concat(axis), *parts) if len(parts) > 1 else x
    return x

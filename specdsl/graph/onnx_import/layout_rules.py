"""Rules of the ONNX import that move entries, and the folding of small constants that feed them.

Exporters compute the target of a `Reshape` with ops on integer tensors (`Shape`, `Gather`,
`Concat`, ...). Shapes are all known here, so these run at once in numpy. Arithmetic on float
constants would have to round: it stays in the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.onnx_import.call import Computed, NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor


def rearranged(
    call: NodeCall, x: Value, result: ops.Shape, move: Callable[[Tensor], Tensor]
) -> Value:
    """`move` applied to a constant, or to the positions of a node's entries as a `Select`."""
    call.guard_size(result)
    if isinstance(x, Computed):
        return call.select(x, move(call.positions(x)))
    return move(x)


def integer_arithmetic(call: NodeCall, left: Tensor, right: Tensor) -> Tensor:
    """Add, Sub, Mul or Div of two integer constants; division truncates."""
    if left.dtype.kind != "i" or right.dtype.kind != "i":
        call.refuse("arithmetic on constants of different element types")
    call.guard_size(broadcast_shape(call, left.shape, right.shape))
    match call.node.op:
        case "Add":
            return left + right
        case "Sub":
            return left - right
        case "Mul":
            return left * right
        case _:
            if not right.all():
                call.refuse("division by 0")
            return (np.sign(left) * np.sign(right) * (np.abs(left) // np.abs(right))).astype(
                left.dtype
            )


def broadcast_shape(call: NodeCall, left: ops.Shape, right: ops.Shape) -> ops.Shape:
    """The common shape of two operands. Refuses where there is none."""
    try:
        return np.broadcast_shapes(left, right)
    except ValueError:
        call.refuse(f"shapes {left} and {right} do not broadcast", code="E0609")


# --- constants -----------------------------------------------------------------------------------


def constant(call: NodeCall) -> tuple[Value, ...]:
    """Any of the attributes that hold the value, but sparse ones and strings."""
    attributes = call.node.attributes
    if len(attributes) == 1:
        ((name, value),) = attributes.items()
        if name in {"value_float", "value_floats"}:
            number = np.asarray(value, dtype=np.float32)
            if not np.isfinite(number).all():
                call.refuse("it is not finite", code="E0606")
            return (number,)
        if name in {"value_int", "value_ints"}:
            return (np.asarray(value, dtype=np.int64),)
        if name == "value" and isinstance(value, np.ndarray):
            return (value,)
    return call.refuse(f"attributes {sorted(attributes)} are not supported")


def constant_of_shape(call: NodeCall) -> tuple[Value, ...]:
    """A tensor filled with one value, zero by default."""
    target = call.integers(0, "the shape")
    if any(n < 0 for n in target):
        call.refuse(f"the impossible shape {target}", code="E0601")
    call.guard_size(target)
    value = call.node.attributes.get("value", np.zeros(1, dtype=np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        call.refuse("its value is not one number", code="E0601")
    return (np.full(target, value.reshape(-1)[0], dtype=value.dtype),)


def shape(call: NodeCall) -> tuple[Value, ...]:
    """The shape as integers, or a slice of it."""
    found = call.operand(0).shape
    stop = call.integer("end", len(found))
    return (np.array(found[call.integer("start", 0) : stop], dtype=np.int64),)


def cast(call: NodeCall) -> tuple[Value, ...]:
    """Between integers and floats for constants; of a computed value only to float32."""
    targets = {1: np.float32, 6: np.int32, 7: np.int64}
    code = call.integer("to", 0)
    if code not in targets:
        call.refuse(f"to element type {code}")
    x = call.operand(0)
    if not isinstance(x, Computed):
        return (x.astype(targets[code]),)
    if code != 1:
        call.refuse("of a computed value to integers")
    return (x,)


# --- shapes --------------------------------------------------------------------------------------


def flatten(call: NodeCall) -> tuple[Value, ...]:
    """Two axes: those before `axis`, and the rest."""
    x = call.operand(0)
    axis = call.integer("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        call.refuse(f"axis {axis} of a value with {len(x.shape)} axes", code="E0601")
    axis = axis + len(x.shape) if axis < 0 else axis
    return (_shaped(call, x, (prod(x.shape[:axis]), prod(x.shape[axis:]))),)


def reshape(call: NodeCall) -> tuple[Value, ...]:
    """0 keeps an extent (unless `allowzero`), one -1 takes what is left."""
    x = call.operand(0)
    wanted = call.integers(1, "the target shape")
    if not call.integer("allowzero", 0):
        if any(n == 0 and i >= len(x.shape) for i, n in enumerate(wanted)):
            call.refuse(f"{x.shape} to {wanted}: 0 keeps an axis that is not there", code="E0609")
        wanted = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(wanted))
    if min(wanted, default=0) < -1 or wanted.count(-1) > 1:
        call.refuse(f"the impossible target {wanted}", code="E0609")
    rest = prod(n for n in wanted if n != -1)
    if -1 in wanted:
        if rest == 0 or prod(x.shape) % rest:
            call.refuse(f"{x.shape} cannot be reshaped to {wanted}", code="E0609")
        wanted = tuple(prod(x.shape) // rest if n == -1 else n for n in wanted)
    return (_shaped(call, x, wanted),)


def squeeze(call: NodeCall) -> tuple[Value, ...]:
    """Drop axes of extent 1: those listed, or all."""
    x = call.operand(0)
    axes = _axes(call, 1, 13)
    if axes is None:
        drop = {i for i, n in enumerate(x.shape) if n == 1}
    else:
        drop = {call.axis(a, len(x.shape)) for a in axes}
    if any(x.shape[i] != 1 for i in drop):
        call.refuse(f"axes {sorted(drop)} of {x.shape} are not all of extent 1", code="E0609")
    return (_shaped(call, x, tuple(n for i, n in enumerate(x.shape) if i not in drop)),)


def unsqueeze(call: NodeCall) -> tuple[Value, ...]:
    """Insert axes of extent 1 at the listed places of the result."""
    x = call.operand(0)
    axes = _axes(call, 1, 13)
    if axes is None:
        call.refuse("axes are missing", code="E0601")
    rank = len(x.shape) + len(axes)
    places = {call.axis(a, rank) for a in axes}
    if len(places) != len(axes):
        call.refuse(f"axes {axes} repeat", code="E0601")
    extents = iter(x.shape)
    return (_shaped(call, x, tuple(1 if i in places else next(extents) for i in range(rank))),)


def transpose(call: NodeCall) -> tuple[Value, ...]:
    """Axes in another order, reversed by default."""
    x = call.operand(0)
    rank = len(x.shape)
    axes = call.integer_list("perm") or tuple(reversed(range(rank)))
    if sorted(axes) != list(range(rank)):
        call.refuse(f"axes {axes} do not permute {x.shape}", code="E0609")
    if isinstance(x, Computed):
        return (call.add(ops.Transpose(axes), x),)
    return (x.transpose(axes),)


def expand(call: NodeCall) -> tuple[Value, ...]:
    """Broadcast to a shape."""
    x = call.operand(0)
    target = call.integers(1, "the target shape")
    if any(n < 1 for n in target):
        call.refuse(f"the target {target}", code="E0609")
    result = broadcast_shape(call, x.shape, target)
    return (rearranged(call, x, result, lambda v: np.broadcast_to(v, result).copy()),)


def _shaped(call: NodeCall, x: Value, target: ops.Shape) -> Value:
    if isinstance(x, Computed):
        return call.reshape(x, target)
    if prod(target) != x.size:
        call.refuse(f"{x.shape} cannot be reshaped to {target}", code="E0609")
    return x.reshape(target)


def _axes(call: NodeCall, index: int, since: int) -> tuple[int, ...] | None:
    """`axes`, an attribute before opset `since` and an operand from it on."""
    if call.opset < since:
        return call.integer_list("axes")
    return None if call.optional(index) is None else call.integers(index, "axes")


# --- selections ----------------------------------------------------------------------------------


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


def gather(call: NodeCall) -> tuple[Value, ...]:
    """Slices along an axis at constant places."""
    x, places = call.operand(0), call.operand(1)
    if isinstance(places, Computed) or places.dtype.kind != "i":
        call.refuse("the indices are not constant integers")
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    extent = x.shape[axis]
    if places.size and not (-extent <= places.min() and places.max() < extent):
        call.refuse(f"indices outside {extent} entries", code="E0609")
    result = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    indices = places % max(extent, 1)
    return (rearranged(call, x, result, lambda v: np.take(v, indices, axis=axis)),)


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


# --- windows -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """Geometry of a convolution or pooling, one entry for each spatial axis."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]


def window(call: NodeCall, x: Computed, kernel: tuple[int, ...]) -> Window:
    """Strides, pads (`auto_pad` resolved) and dilations of a node, checked against the rank."""
    rank = len(kernel)
    if rank < 1 or len(x.shape) != rank + 2:
        call.refuse(f"kernel {kernel} on a value of shape {x.shape}", code="E0609")
    strides = call.integer_list("strides") or (1,) * rank
    dilations = call.integer_list("dilations") or (1,) * rank
    if len(strides) != rank or len(dilations) != rank or min(*strides, *dilations) < 1:
        text = f"strides {strides} and dilations {dilations}: one positive number an axis"
        call.refuse(text, code="E0601")
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    mode = call.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        flat = call.integer_list("pads") or (0,) * (2 * rank)
        if len(flat) != 2 * rank or min(flat) < 0:
            call.refuse(f"pads {flat}: two numbers >= 0 an axis", code="E0601")
        pads = tuple((flat[i], flat[i + rank]) for i in range(rank))
    elif mode == "VALID":
        pads = ((0, 0),) * rank
    elif mode in {"SAME_UPPER", "SAME_LOWER"}:
        extents = zip(x.shape[2:], strides, spans, strict=True)
        pads = tuple(_same(n, stride, span, mode) for n, stride, span in extents)
    else:
        call.refuse(f"auto_pad `{mode}`", code="E0601")
    padded = zip(x.shape[2:], pads, strict=True)
    call.guard_size((*x.shape[:2], *(n + sum(pad) for n, pad in padded)))
    return Window(strides, pads, dilations)


def _same(extent: int, stride: int, span: int, mode: str) -> tuple[int, int]:
    """Padding that keeps `ceil(extent / stride)` entries; the odd one goes to the named side."""
    total = max(0, (-(-extent // stride) - 1) * stride + span - extent)
    half = total // 2
    return (half, total - half) if mode == "SAME_UPPER" else (total - half, half)


def pad(call: NodeCall) -> tuple[Value, ...]:
    """Zeros around the entries, as constants concatenated on each side."""
    x = call.computed(0)
    rank = len(x.shape)
    if call.text("mode", "constant") != "constant":
        call.refuse("only padding with constants is supported")
    if call.opset >= 18 and call.optional(3) is not None:
        call.refuse("axes of a padding are not supported")
    flat = call.integer_list("pads") if call.opset < 11 else call.integers(1, "pads")
    if flat is None or len(flat) != 2 * rank or min(flat) < 0:
        call.refuse(f"pads {flat} on a value of shape {x.shape}")
    fill = call.number("value", 0.0) if call.opset < 11 else _pad_fill(call)
    for axis in range(rank):
        sides = [_border(call, x, axis, flat[axis + side * rank], fill) for side in (0, 1)]
        parts = [p for p in (sides[0], x, sides[1]) if p is not None]
        if len(parts) > 1:
            x = call.add(ops.Concat(axis), *parts)
    return (x,)


def _pad_fill(call: NodeCall) -> float:
    value = call.optional_weight(2, "value")
    return 0.0 if value is None else float(value.reshape(-1)[0])


def _border(call: NodeCall, x: Computed, axis: int, width: int, fill: float) -> Computed | None:
    if not width:
        return None
    extent = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    call.guard_size(extent)
    return call.constant_node(np.full(extent, fill, dtype=np.float32))

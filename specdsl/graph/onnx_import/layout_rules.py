"""Rules of the ONNX import that change shapes: entries keep their order, or are repeated."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor


def rearranged(
    call: NodeCall, x: Value, result: ops.Shape, move: Callable[[Tensor], Tensor]
) -> Value:
    """`move` applied to a constant, or to the positions of a node's entries as a `Select`."""
    call.guard_size(result)
    if isinstance(x, Computed):
        return call.select(x, move(call.positions(x)))
    return move(x)


def identity(call: NodeCall) -> tuple[Value, ...]:
    """The same value."""
    return (call.operand(0),)


def dropout(call: NodeCall) -> tuple[Value, ...]:
    """The same value, outside training; the mask that it may also give is all true."""
    mode = call.optional(2)
    if mode is not None and (isinstance(mode, Computed) or mode.any()):
        call.refuse("training mode is not supported")
    x = call.operand(0)
    return (x, np.ones(x.shape, dtype=bool))


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
    axes = listed_axes(call, 1, 13)
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
    axes = listed_axes(call, 1, 13)
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
    try:
        result = np.broadcast_shapes(x.shape, target)
    except ValueError:
        call.refuse(f"shapes {x.shape} and {target} do not broadcast", code="E0609")
    if result == x.shape:
        return (x,)
    return (rearranged(call, x, result, lambda v: np.broadcast_to(v, result).copy()),)


def tile(call: NodeCall) -> tuple[Value, ...]:
    """Repeated along every axis."""
    x = call.operand(0)
    repeats = call.integers(1, "the repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 0:
        call.refuse(f"repeats {repeats} of {x.shape}", code="E0609")
    result = tuple(n * r for n, r in zip(x.shape, repeats, strict=True))
    return (rearranged(call, x, result, lambda v: np.tile(v, repeats)),)


def _shaped(call: NodeCall, x: Value, target: ops.Shape) -> Value:
    if isinstance(x, Computed):
        return call.reshape(x, target)
    if prod(target) != x.size:
        call.refuse(f"{x.shape} cannot be reshaped to {target}", code="E0609")
    return x.reshape(target)


def listed_axes(call: NodeCall, index: int, since: int) -> tuple[int, ...] | None:
    """`axes`, an attribute before opset `since` and an operand from it on."""
    if call.opset < since:
        return call.integer_list("axes")
    return None if call.optional(index) is None else call.integers(index, "axes")

"""Rules of the ONNX import that pick entries by a tensor of indices, or replace them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from specdsl.graph import composites, ops
from specdsl.graph.import_call import FLOAT, Computed
from specdsl.graph.onnx_import import computed_indices
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.layout_rules import rearranged
from specdsl.graph.onnx_import.read import Tensor

Indices = npt.NDArray[np.int64]

# --- picking -------------------------------------------------------------------------------------


def gather(call: NodeCall) -> tuple[Value, ...]:
    """Slices along an axis, at constant or at computed places."""
    x, places = call.operand(0), call.operand(1)
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    if isinstance(places, Computed):
        return (computed_indices.gathered(call, x, places, axis),)
    indices = _indices(call, places, x.shape[axis])
    result = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    return (rearranged(call, x, result, lambda v: np.take(v, indices, axis=axis)),)


def _indices(call: NodeCall, places: Tensor, extent: int) -> Indices:
    """Constant indices counted from the front."""
    if places.dtype.kind not in "iu":
        call.refuse("the indices are not integers", code="E0601")
    if places.size and not (-extent <= places.min() and places.max() < extent):
        call.refuse(f"indices outside {extent} entries", code="E0609")
    return places.astype(np.int64) % max(extent, 1)


def gather_elements(call: NodeCall) -> tuple[Value, ...]:
    """Each entry from its own place along an axis, constant or computed."""
    x, places = call.operand(0), call.operand(1)
    axis = _element_axis(call, x, places)
    if isinstance(places, Computed):
        return (computed_indices.gathered_elements(call, x, places, axis),)
    places = _indices(call, places, x.shape[axis])
    grid = _grid(places, axis)
    return (rearranged(call, x, places.shape, lambda v: v[grid]),)


def _element_axis(call: NodeCall, x: Value, places: Value) -> int:
    """The axis of indices of the rank of x, which are within it along all others."""
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    others = [
        n <= m for i, (n, m) in enumerate(zip(places.shape, x.shape, strict=False)) if i != axis
    ]
    if len(places.shape) != len(x.shape) or not all(others):
        call.refuse(f"indices of shape {places.shape} for {x.shape}", code="E0609")
    return axis


def _grid(places: Indices, axis: int) -> tuple[Indices, ...]:
    """Indices of each entry's own place but along the axis, where it is that of `places`."""
    extents = places.shape
    own: list[Indices] = [
        np.arange(n).reshape(-1, *(1 for _ in extents[a + 1 :])) for a, n in enumerate(extents)
    ]
    own[axis] = places
    return tuple(own)


def gather_nd(call: NodeCall) -> tuple[Value, ...]:
    """Slices at tuples of indices, constant or computed."""
    x, places = call.operand(0), call.operand(1)
    if call.integer("batch_dims", 0):
        call.refuse("`batch_dims` is not supported")
    if isinstance(places, Computed):
        return (computed_indices.gathered_tuples(call, x, places),)
    found = tuple_positions(call, x, places)
    return (rearranged(call, x, found.shape, lambda v: v.reshape(-1)[found]),)


def tuple_positions(call: NodeCall, x: Value, places: Tensor) -> Indices:
    """Row-major positions of the slices that tuples of indices name: (..., *slice)."""
    if not places.ndim or not 1 <= places.shape[-1] <= len(x.shape):
        call.refuse(f"indices of shape {places.shape} for {x.shape}", code="E0609")
    depth = places.shape[-1]
    result = (*places.shape[:-1], *x.shape[depth:])
    call.guard_size(result)
    columns = tuple(_indices(call, places[..., i], x.shape[i]) for i in range(depth))
    return composites.positions(x.shape)[columns].reshape(result)


# --- replacing -----------------------------------------------------------------------------------


def scatter_nd(call: NodeCall) -> tuple[Value, ...]:
    """Slices at tuples of indices replaced by updates, or combined with them."""
    x, places, updates = call.operand(0), call.operand(1), call.operand(2)
    if isinstance(places, Computed):
        return (computed_indices.scattered_tuples(call, x, places, updates),)
    return (_scattered(call, x, updates, tuple_positions(call, x, places)),)


def scatter_elements(call: NodeCall) -> tuple[Value, ...]:
    """Entries at constant places along an axis replaced by updates, or combined with them."""
    x, places, updates = call.operand(0), call.operand(1), call.operand(2)
    axis = _element_axis(call, x, places)
    if isinstance(places, Computed):
        call.refuse("the indices are computed, not constant")
    grid = _grid(_indices(call, places, x.shape[axis]), axis)
    return (_scattered(call, x, updates, composites.positions(x.shape)[grid]),)


def _scattered(call: NodeCall, x: Value, updates: Value, places: Indices) -> Value:
    """Entry `places[i]` of x meets `updates[i]`."""
    reduction = call.text("reduction", "none")
    if updates.shape != places.shape:
        call.refuse(f"updates of shape {updates.shape}, not {places.shape}", code="E0609")
    if np.unique(places).size != places.size:
        call.refuse("several updates of one entry are not supported")
    if reduction == "none" and not isinstance(x, Computed) and not isinstance(updates, Computed):
        result = x.copy()
        result.reshape(-1)[places.reshape(-1)] = updates.reshape(-1)
        return result
    data = call.computed(0)
    match reduction:
        case "none":
            return _replaced(call, data, places)
        case "add":
            return call.composed(composites.add, data, _replaced(call, data, places, 0.0))
        case "mul":
            return call.composed(composites.multiply, data, _replaced(call, data, places, 1.0))
        case "max":
            return call.composed(composites.maximum, data, _replaced(call, data, places))
        case "min":
            return call.composed(composites.minimum, data, _replaced(call, data, places))
        case _:
            pass
    return call.refuse(f"reduction `{reduction}`", code="E0601")


def _replaced(
    call: NodeCall, x: Computed, places: Indices, filler: float | None = None
) -> Computed:
    """The updates in their places, and elsewhere x, or one number."""
    updates = call.computed(2)
    flat_updates = call.reshape(updates, (updates.size,))
    if filler is None:
        rest, source = call.reshape(x, (x.size,)), np.arange(x.size)
    else:
        rest, source = call.constant_node(np.full(1, filler)), np.zeros(x.size, dtype=np.int64)
    source[places.reshape(-1)] = rest.size + np.arange(updates.size)
    joined = call.add(ops.Concat(0), rest, flat_updates, element=x.element)
    return call.select(joined, source.reshape(x.shape))


# --- one-hot -------------------------------------------------------------------------------------


def one_hot(call: NodeCall) -> tuple[Value, ...]:
    """`on` at the place that each index names along a new axis, `off` elsewhere."""
    places, values = call.operand(0), call.weight(2, "values")
    depths = call.weight(1, "depth")
    if depths.size != 1 or values.size != 2 or depths.reshape(-1)[0] < 1:
        call.refuse("a depth or values of the wrong shape", code="E0601")
    depth = int(depths.reshape(-1)[0])
    axis = call.axis(call.integer("axis", -1), len(places.shape) + 1)
    call.guard_size((*places.shape, depth))
    off, on = values.reshape(-1).tolist()
    element = call.operand(2)
    kind = FLOAT if isinstance(element, Computed) else element.dtype
    if isinstance(places, Computed):
        hot = call.composed(composites.one_hot, places, depth=depth, axis=axis)
        gap = Fraction(on) - Fraction(off)
        return (call.composed(composites.affine, hot, scale=gap, shift=off, element=kind),)
    wanted = np.arange(depth).reshape(depth, *(1 for _ in places.shape[axis:]))
    at = np.expand_dims(places, axis)
    return (np.where((at == wanted) | (at == wanted - depth), on, off).astype(kind),)

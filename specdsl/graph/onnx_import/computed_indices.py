"""Gathers and scatters whose indices are computed: sums over all entries that may be meant.

An entry of `x` at a computed place is `sum_i [place = i] x_i`. Indices outside an axis, which
runtimes refuse, name no entry: what is gathered there is 0, and nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.graph import composites, ops
from specdsl.graph.import_call import BOOLEAN, Computed
from specdsl.graph.onnx_import.call import NodeCall, Value

# Pairs of a place and an entry that it may name, each a product in the graph. 2**22 are 32 MiB in
# every array of values and bounds; 1024 places on an image of 64 x 64 pixels take so many.
MAX_CHOICES = 2**22


def gathered(call: NodeCall, x: Value, places: Computed, axis: int) -> Value:
    """`Gather`: slices of x along an axis, (*before, *places, *after)."""
    before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    hot = _one_hot(call, places, extent, _products(x, prod(before) * prod(after)))
    order = (axis, *(a for a in range(len(x.shape)) if a != axis))
    mixed = _mixed(call, x, order, 1, hot)
    spread = call.reshape(mixed, (*places.shape, *before, *after))
    count, lead = len(places.shape), len(before)
    turned = (*range(count, count + lead), *range(count), *range(count + lead, len(spread.shape)))
    return call.add(ops.Transpose(turned), spread) if count and lead else spread


def gathered_elements(call: NodeCall, x: Value, places: Computed, axis: int) -> Value:
    """`GatherElements`: each entry from its own place along an axis, in the shape of `places`."""
    extent = x.shape[axis]
    hot = _one_hot(call, places, extent, 1)
    moved = np.moveaxis(composites.positions(x.shape), axis, -1)
    own = moved[tuple(slice(n) for a, n in enumerate(places.shape) if a != axis)]
    candidates = np.broadcast_to(np.expand_dims(own, axis), hot.shape)
    if isinstance(x, Computed):
        chosen = call.composed(
            composites.multiply, hot, call.select(x, candidates.copy()), element=x.element
        )
    else:
        table = call.numbers(x, "table").reshape(-1)[candidates]
        chosen = call.composed(composites.affine, hot, scale=table, element=x.dtype)
    return call.composed(composites.reduce_sum, chosen, axes=(-1,), keepdims=False)


def gathered_tuples(call: NodeCall, x: Value, places: Computed) -> Value:
    """`GatherND`: slices of x at tuples of indices, (*tuples, *slice)."""
    depth = _depth(call, x, places)
    hot = _tuples(call, x, places, _products(x, prod(x.shape[depth:])))
    mixed = _mixed(call, x, tuple(range(len(x.shape))), depth, hot)
    return call.reshape(mixed, (*places.shape[:-1], *x.shape[depth:]))


def scattered_tuples(call: NodeCall, x: Value, places: Computed, updates: Value) -> Value:
    """`ScatterND`: slices of x at tuples of indices replaced, one after another."""
    depth = _depth(call, x, places)
    count, rest = prod(places.shape[:-1]), x.shape[depth:]
    if updates.shape != (*places.shape[:-1], *rest):
        call.refuse(f"updates of shape {updates.shape}", code="E0609")
    if call.text("reduction", "none") != "none":
        call.refuse("at computed indices with a reduction")
    hot = _tuples(call, x, places, prod(rest))
    found, given = call.computed(0), call.computed(2)
    inner = (*x.shape[:depth], *(1 for _ in rest))
    for i in range(count):
        own = np.arange(prod(inner), dtype=np.int64).reshape(inner) + i * prod(inner)
        entries = np.arange(prod(rest), dtype=np.int64).reshape(rest) + i * prod(rest)
        chosen, update = call.select(hot, own), call.select(given, entries)
        found = call.composed(composites.where, chosen, update, found, element=found.element)
    return found


# --- which entries are meant ---------------------------------------------------------------------


def _products(x: Value, width: int) -> int:
    """How many products a choice of a row takes: of constants none, that is one linear map."""
    return width if isinstance(x, Computed) else 1


def _one_hot(call: NodeCall, places: Computed, extent: int, copies: int) -> Computed:
    """Truth values (*places, extent); each is read `copies` times."""
    if places.element.kind not in "iu":
        call.refuse("the indices are not integers", code="E0601")
    _guard(call, prod(places.shape), extent * copies)
    return call.composed(composites.one_hot, places, depth=extent, axis=-1, element=BOOLEAN)


def _tuples(call: NodeCall, x: Value, places: Computed, copies: int) -> Computed:
    """Which row-major position of the leading axes of x each tuple names: (tuples, positions)."""
    depth = _depth(call, x, places)
    extents, count = x.shape[:depth], prod(places.shape[:-1])
    _guard(call, count, prod(extents) * copies)
    rows = np.arange(count, dtype=np.int64) * depth
    found: Computed | None = None
    for axis, extent in enumerate(extents):
        hot = _one_hot(call, call.select(places, rows + axis), extent, 1)
        along = tuple(extent if a == axis else 1 for a in range(depth))
        hot = call.reshape(hot, (count, *along))
        found = hot if found is None else call.composed(composites.both, found, hot)
    assert found is not None, "an empty tuple of indices"
    return call.reshape(found, (count, prod(extents)))


def _depth(call: NodeCall, x: Value, places: Computed) -> int:
    """How many axes a tuple of indices names."""
    if not places.shape or not 1 <= places.shape[-1] <= len(x.shape):
        call.refuse(f"indices of shape {places.shape} for {x.shape}", code="E0609")
    return places.shape[-1]


def _guard(call: NodeCall, places: int, entries: int) -> None:
    if places * entries > MAX_CHOICES:
        text = f"{places} computed places among {entries} entries, more than {MAX_CHOICES} choices"
        call.refuse(text, code="E0602")


def _mixed(call: NodeCall, x: Value, order: Sequence[int], leading: int, hot: Computed) -> Computed:
    """Rows of x, its axes in another order and the `leading` ones one axis, by truth values.

    Shapes: hot (*places, rows) to (places, entries of a row).
    """
    shape = tuple(x.shape[a] for a in order)
    rows, width = prod(shape[:leading]), prod(shape[leading:])
    flat = call.reshape(hot, (hot.size // rows, rows))
    if isinstance(x, Computed):
        turned = x if list(order) == sorted(order) else call.add(ops.Transpose(tuple(order)), x)
        table = call.reshape(turned, (rows, width))
        return call.composed(composites.matmul, flat, table, element=x.element)
    known: npt.NDArray[np.generic] = call.numbers(x, "table").transpose(order).reshape(rows, width)
    return call.add(ops.Dense(known.T, np.zeros(width, np.float32)), flat, element=x.dtype)

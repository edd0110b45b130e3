"""Rules of the ONNX import that cut values at computed places, and for shapes of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from specdsl.graph import composites
from specdsl.graph.import_call import Computed, GuardedBuilder
from specdsl.graph.onnx_import import rules
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.layout_rules import listed_axes
from specdsl.graph.onnx_import.partial_values import (
    AnyValue,
    Extent,
    Extents,
    Partial,
    PartialCall,
    Place,
    Presence,
    made,
    place,
    size,
)
from specdsl.graph.onnx_import.read import Tensor

HELP = "extents that depend on the input are supported where a patch is put at a computed place"

# --- cutting -------------------------------------------------------------------------------------


def slice_(call: PartialCall) -> tuple[AnyValue, ...]:
    """A slice with steps of 1; its places may be computed, its axes are known."""
    x = call.operands[0]
    if isinstance(x, Extents):
        return (_slice_of_extents(call, x),)
    plain, extents, whole = call.plain, list(call.extents(0)), call.plain.operand(0)
    starts, ends = plain.operand(1), plain.operand(2)
    count = prod(starts.shape)
    axes = range(count) if plain.optional(3) is None else plain.integers(3, "axes")
    steps = (1,) * count if plain.optional(4) is None else plain.integers(4, "steps")
    if not count == prod(ends.shape) == len(axes) == len(steps):
        plain.refuse("starts, ends, axes and steps do not fit together", code="E0601")
    for entry, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        where = plain.axis(axis, len(extents))
        extent = extents[where]
        if isinstance(extent, Presence):
            plain.refuse(f"axis {where} is cut twice at computed places")
        start, end = _place(plain, starts, entry), _place(plain, ends, entry)
        if isinstance(start, Place) and isinstance(end, Place):
            numbers = [int(start.offset), int(end.offset), where, step]
            cut = call.plain_with(whole, *(np.array([n]) for n in numbers))
            (whole,) = rules.RULES["Slice"](cut)
            extents[where] = whole.shape[where]
            continue
        if step != 1:
            plain.refuse(f"a slice at computed places with a step of {step}")
        extents[where] = _presence(plain, start, end, extent)
    return (made(whole, extents),)


def _slice_of_extents(call: PartialCall, x: Extents) -> AnyValue:
    """A part of a shape, between known places."""
    positions = call.plain_with(np.arange(len(x.entries)), *call.plain.operands[1:])
    (kept,) = rules.RULES["Slice"](positions)
    return _picked(call, x, kept)


def _picked(call: PartialCall, x: Extents, kept: Value) -> AnyValue:
    """Entries of a shape at constant places."""
    if isinstance(kept, Computed):
        call.plain.refuse("an extent at a computed place")
    chosen = [x.entries[int(i)] for i in kept.reshape(-1)]
    if kept.ndim == 1:
        return integers_of(chosen)
    if kept.ndim > 1:
        call.plain.refuse("of a table of extents that depend on the input", help=HELP)
    (extent,) = chosen
    if isinstance(extent, int):
        return np.array(extent, dtype=np.int64)
    return call.plain.refuse("of a single extent that depends on the input", help=HELP)


def _place(call: NodeCall, places: Value, entry: int) -> Place | tuple[Place, Computed]:
    """An entry of a list of places: its name, and where it is computed a node of one entry."""
    if not isinstance(places, Computed):
        if places.dtype.kind not in "iu":
            call.refuse("starts and ends are not integers", code="E0601")
        return Place.known(int(places.reshape(-1)[entry]))
    if places.element.kind not in "iu":
        call.refuse("starts and ends are not integers", code="E0601")
    origin = place(call.builder, places.node, entry)
    if origin.node is None:
        return origin
    one = call.select(places, np.full(1, entry, dtype=np.int64))
    return origin, one


def _presence(
    call: NodeCall,
    start: Place | tuple[Place, Computed],
    end: Place | tuple[Place, Computed],
    extent: int,
) -> Presence:
    (first, begin), (last, stop) = _named(start), _named(end)
    call.guard_size((extent,))
    node = composites.inside(GuardedBuilder(call), begin, stop, extent)
    return Presence(first, last, extent, node)


def _named(found: Place | tuple[Place, Computed]) -> tuple[Place, composites.Place]:
    """A place, and what the graph has for it."""
    if isinstance(found, Place):
        return found, int(found.offset)
    return found[0], found[1].node


# --- shapes --------------------------------------------------------------------------------------


def integers_of(entries: Sequence[Extent]) -> AnyValue:
    """A list of integers: a constant where it is one."""
    known = [e for e in entries if isinstance(e, int)]
    if len(known) == len(entries):
        return np.array(known, dtype=np.int64)
    return Extents(tuple(entries))


def listed(call: PartialCall, index: int) -> tuple[Extent, ...]:
    """An operand that is a list of integers or extents."""
    value = call.operands[index]
    if isinstance(value, Partial):
        call.plain.refuse("a list of integers whose extent depends on the input", help=HELP)
    return value.entries if isinstance(value, Extents) else call.plain.integers(index, "extents")


def shape(call: PartialCall) -> tuple[AnyValue, ...]:
    """The extents, or a slice of them."""
    found = call.extents(0)
    stop = call.plain.integer("end", len(found))
    return (integers_of(found[call.plain.integer("start", 0) : stop]),)


def gather(call: PartialCall) -> tuple[AnyValue, ...]:
    """Of a shape: entries at known places."""
    x = call.operands[0]
    assert isinstance(x, Extents), "nothing else is taken"
    positions = call.plain_with(np.arange(len(x.entries)), *call.plain.operands[1:])
    (kept,) = rules.RULES["Gather"](positions)
    return (_picked(call, x, kept),)


def constant_of_shape(call: PartialCall) -> tuple[AnyValue, ...]:
    """A constant of the extents."""
    extents = listed(call, 0)
    (whole,) = rules.RULES["ConstantOfShape"](call.plain_with(sizes(extents)))
    return (made(whole, extents),)


def sizes(extents: Sequence[Extent]) -> Tensor:
    """The extents of the whole, as a list of integers."""
    return np.array([size(e) for e in extents], dtype=np.int64)


def common(call: PartialCall, shapes: Sequence[tuple[Extent, ...]]) -> tuple[Extent, ...]:
    """The extents that all broadcast to.

    A number of entries that depends on the input broadcasts with itself and with 1 only.
    """
    rank = max(len(s) for s in shapes)
    padded = [(*(1,) * (rank - len(s)), *s) for s in shapes]
    result: list[Extent] = []
    for column in zip(*padded, strict=True):
        found = {e for e in column if e != 1}
        if len(found) > 1:
            call.plain.refuse("extents that depend on the input do not broadcast", help=HELP)
        result.append(found.pop() if found else 1)
    return tuple(result)


def expand(call: PartialCall) -> tuple[AnyValue, ...]:
    """Broadcast to a shape."""
    target = listed(call, 1)
    extents = common(call, [call.extents(0), target])
    (whole,) = rules.RULES["Expand"](call.plain_with(call.plain.operand(0), sizes(target)))
    return (made(whole, extents),)


def reshape(call: PartialCall) -> tuple[AnyValue, ...]:
    """To its own shape, or axes of extent 1 put in and taken out; -1 stands for any one axis."""
    plain, extents = call.plain, call.extents(0)
    target = listed(call, 1)
    if target == extents:
        return (call.operands[0],)  # pyright: ignore[reportReturnType]
    known = [e for e in target if isinstance(e, int)]
    if len(known) != len(target) or 0 in known:
        plain.refuse("to another shape that depends on the input", help=HELP)
    long, wanted = [e for e in extents if e != 1], [e for e in target if e != 1]
    partial = sum(isinstance(e, Presence) for e in long)
    matched = len(long) == len(wanted) and all(
        w in (e, -1) for e, w in zip(long, wanted, strict=True)
    )
    if not matched or partial > 1:
        plain.refuse(f"of extents that depend on the input to {target}", help=HELP)
    rest = iter(long)
    result = tuple(1 if w == 1 else next(rest) for w in target)
    (whole,) = rules.RULES["Reshape"](call.plain_with(plain.operand(0), sizes(result)))
    return (made(whole, result),)


def unsqueeze(call: PartialCall) -> tuple[AnyValue, ...]:
    """Axes of extent 1 put in."""
    plain, extents = call.plain, list(call.extents(0))
    axes = listed_axes(plain, 1, 13)
    (whole,) = rules.RULES["Unsqueeze"](plain)
    for axis in sorted(plain.axis(a, len(whole.shape)) for a in axes or ()):
        extents.insert(axis, 1)
    return (made(whole, extents),)


def transpose(call: PartialCall) -> tuple[AnyValue, ...]:
    """Axes in another order."""
    extents = call.extents(0)
    (whole,) = rules.RULES["Transpose"](call.plain)
    order = call.plain.integer_list("perm") or tuple(reversed(range(len(extents))))
    return (made(whole, [extents[a] for a in order]),)


def concat(call: PartialCall) -> tuple[AnyValue, ...]:
    """Shapes one after another, or values along an axis that is all there."""
    if any(isinstance(o, Extents) for o in call.operands):
        return (integers_of([e for i in range(len(call.operands)) for e in listed(call, i)]),)
    rows = [call.extents(i) for i in range(len(call.operands))]
    axis = call.plain.axis(call.plain.integer("axis", 0), len(rows[0]))
    others = {(*row[:axis], *row[axis + 1 :]) for row in rows}
    if len(others) != 1 or any(isinstance(row[axis], Presence) for row in rows):
        call.plain.refuse("along extents that depend on the input", help=HELP)
    (whole,) = rules.RULES["Concat"](call.plain)
    extents = list(rows[0])
    extents[axis] = whole.shape[axis]
    return (made(whole, extents),)

"""Rules of the ONNX import for slices at computed places, and for values that such slices give.

What exporters write to put a patch at a computed place (`mask[p : p + n] = 0`) is a chain of these:
slices of ranges of indices, shapes of slices, and a `ScatterND`. Everywhere else a value has to
have a known shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from specdsl.graph import composites, ops
from specdsl.graph.onnx_import import rules
from specdsl.graph.onnx_import.call import BOOLEAN, Computed, NamedBuilder, NodeCall, Value
from specdsl.graph.onnx_import.gather_rules import tuple_positions
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


@dataclass(frozen=True, slots=True)
class PartialRule:
    """A rule, and which operands may be partial values or their shapes; the others are known."""

    build: Callable[[PartialCall], tuple[AnyValue, ...]]
    partial: Sequence[int] = ()
    extents: Sequence[int] = ()

    def takes(self, operands: Sequence[AnyValue | None]) -> bool:
        """Whether the operands are of these kinds."""
        for i, operand in enumerate(operands):
            if isinstance(operand, Partial) and i not in self.partial:
                return False
            if isinstance(operand, Extents) and i not in self.extents:
                return False
        return True


# What takes any number of operands has no more than a node may reasonably have.
_ALL = range(2**16)

HELP = "extents that depend on the input are supported where a patch is put at a computed place"


def is_partial(op: str, operands: Sequence[AnyValue | None]) -> bool:
    """Whether the rules of this file are meant: an extent depends on the input, or will."""
    if any(isinstance(o, Partial | Extents) for o in operands):
        return True
    return op == "Slice" and any(isinstance(o, Computed) for o in operands[1:3])


def apply(call: PartialCall) -> tuple[AnyValue, ...]:
    """The results of a node for which `is_partial` holds. Raises SpecError, ShapeMismatch."""
    rule = PARTIAL_RULES.get(call.node.op)
    if rule is not None and rule.takes(call.operands):
        return rule.build(call)
    listed = ", ".join(_shown(o) for o in call.operands if isinstance(o, Partial | Extents))
    return call.plain.refuse(f"of a value whose extents depend on the input ({listed})", help=HELP)


def _shown(value: Partial | Extents) -> str:
    """The extents as messages show them: at most so many entries."""
    extents = value.extents if isinstance(value, Partial) else value.entries
    shown = [f"up to {e.extent}" if isinstance(e, Presence) else str(e) for e in extents]
    return f"{'shape' if isinstance(value, Partial) else 'entries'} {', '.join(shown)}"


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
        return _integers(chosen)
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
    node = composites.inside(NamedBuilder(call), begin, stop, extent)
    return Presence(first, last, extent, node)


def _named(found: Place | tuple[Place, Computed]) -> tuple[Place, composites.Place]:
    """A place, and what the graph has for it."""
    if isinstance(found, Place):
        return found, int(found.offset)
    return found[0], found[1].node


# --- shapes --------------------------------------------------------------------------------------


def _integers(entries: Sequence[Extent]) -> AnyValue:
    """A list of integers: a constant where it is one."""
    known = [e for e in entries if isinstance(e, int)]
    if len(known) == len(entries):
        return np.array(known, dtype=np.int64)
    return Extents(tuple(entries))


def _listed(call: PartialCall, index: int) -> tuple[Extent, ...]:
    """An operand that is a list of integers or extents."""
    value = call.operands[index]
    if isinstance(value, Partial):
        call.plain.refuse("a list of integers whose extent depends on the input", help=HELP)
    return value.entries if isinstance(value, Extents) else call.plain.integers(index, "extents")


def shape(call: PartialCall) -> tuple[AnyValue, ...]:
    """The extents, or a slice of them."""
    found = call.extents(0)
    stop = call.plain.integer("end", len(found))
    return (_integers(found[call.plain.integer("start", 0) : stop]),)


def gather(call: PartialCall) -> tuple[AnyValue, ...]:
    """Of a shape: entries at known places."""
    x = call.operands[0]
    assert isinstance(x, Extents), "nothing else is taken"
    positions = call.plain_with(np.arange(len(x.entries)), *call.plain.operands[1:])
    (kept,) = rules.RULES["Gather"](positions)
    return (_picked(call, x, kept),)


def constant_of_shape(call: PartialCall) -> tuple[AnyValue, ...]:
    """A constant of the extents."""
    extents = _listed(call, 0)
    (whole,) = rules.RULES["ConstantOfShape"](call.plain_with(_sizes(extents)))
    return (made(whole, extents),)


def _sizes(extents: Sequence[Extent]) -> Tensor:
    """The extents of the whole, as a list of integers."""
    return np.array([size(e) for e in extents], dtype=np.int64)


def expand(call: PartialCall) -> tuple[AnyValue, ...]:
    """Broadcast to a shape."""
    target = _listed(call, 1)
    extents = _common(call, [call.extents(0), target])
    (whole,) = rules.RULES["Expand"](call.plain_with(call.plain.operand(0), _sizes(target)))
    return (made(whole, extents),)


def reshape(call: PartialCall) -> tuple[AnyValue, ...]:
    """To its own shape, or axes of extent 1 put in and taken out; -1 stands for any one axis."""
    plain, extents = call.plain, call.extents(0)
    target = _listed(call, 1)
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
    (whole,) = rules.RULES["Reshape"](call.plain_with(plain.operand(0), _sizes(result)))
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
        return (_integers([e for i in range(len(call.operands)) for e in _listed(call, i)]),)
    rows = [call.extents(i) for i in range(len(call.operands))]
    axis = call.plain.axis(call.plain.integer("axis", 0), len(rows[0]))
    others = {(*row[:axis], *row[axis + 1 :]) for row in rows}
    if len(others) != 1 or any(isinstance(row[axis], Presence) for row in rows):
        call.plain.refuse("along extents that depend on the input", help=HELP)
    (whole,) = rules.RULES["Concat"](call.plain)
    extents = list(rows[0])
    extents[axis] = whole.shape[axis]
    return (made(whole, extents),)


# --- entry by entry ------------------------------------------------------------------------------


def _common(call: PartialCall, shapes: Sequence[tuple[Extent, ...]]) -> tuple[Extent, ...]:
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


def entrywise(call: PartialCall) -> tuple[AnyValue, ...]:
    """A function of the entries, which all numbers have a value of."""
    given = [i for i, o in enumerate(call.operands) if o is not None]
    extents = _common(call, [call.extents(i) for i in given])
    (whole,) = rules.RULES[call.node.op](call.plain)
    return (made(whole, extents),)


def equal(call: PartialCall) -> tuple[AnyValue, ...]:
    """Whether extents are what they cannot be, as exporters ask: -1; or of values."""
    if not any(isinstance(o, Extents) for o in call.operands):
        return entrywise(call)
    left, right = _listed(call, 0), _listed(call, 1)
    if len(left) != len(right):
        call.plain.refuse("extents that depend on the input do not broadcast", help=HELP)
    answers = [_same(call, a, b) for a, b in zip(left, right, strict=True)]
    return (np.array(answers, dtype=bool),)


def _same(call: PartialCall, left: Extent, right: Extent) -> bool:
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    for one, other in ((left, right), (right, left)):
        if isinstance(one, int) and not 0 <= one <= size(other):
            return False
    return call.plain.refuse("whether an extent that depends on the input is so large", help=HELP)


def where(call: PartialCall) -> tuple[AnyValue, ...]:
    """Shapes by a constant condition; or values."""
    if not any(isinstance(o, Extents) for o in call.operands):
        return entrywise(call)
    if isinstance(call.operands[0], Partial):
        call.plain.refuse("a condition whose extent depends on the input", help=HELP)
    condition = call.plain.weight(0, "condition").reshape(-1)
    left, right = _listed(call, 1), _listed(call, 2)
    if not len(condition) == len(left) == len(right):
        call.plain.refuse("extents that depend on the input do not broadcast", help=HELP)
    pairs = zip(condition, left, right, strict=True)
    return (_integers([a if holds else b for holds, a, b in pairs]),)


# --- putting back --------------------------------------------------------------------------------


def scatter_nd(call: PartialCall) -> tuple[AnyValue, ...]:
    """Updates at constant tuples of indices of which only some are there.

    Where all of them would be, and elsewhere the value as it was.
    """
    plain, extents = call.plain, call.extents(1)
    x, places = plain.operand(0), plain.operand(1)
    if not extents or isinstance(extents[-1], Presence):
        plain.refuse("of a value whose extents depend on the input", help=HELP)
    if isinstance(places, Computed):
        plain.refuse("the indices are computed, not constant")
    if call.extents(2) != (*extents[:-1], *x.shape[places.shape[-1] :]):
        plain.refuse("updates and indices have different extents", code="E0609")
    (replaced,) = rules.RULES["ScatterND"](plain)
    present = _all_present(plain, extents[:-1])
    reached = _spread(plain, present, tuple_positions(plain, x, places), x.shape)
    return rules.RULES["Where"](call.plain_with(reached, replaced, x, op="Where"))


def _all_present(call: NodeCall, extents: Sequence[Extent]) -> Computed:
    """Whether an entry is there along all axes: truth values, of extent 1 along axes that are."""
    found: Computed | None = None
    for axis, extent in enumerate(extents):
        if isinstance(extent, Presence):
            along = tuple(extent.extent if a == axis else 1 for a in range(len(extents)))
            flags = call.reshape(Computed(extent.node, (extent.extent,), BOOLEAN), along)
            found = flags if found is None else call.composed(composites.both, found, flags)
    assert found is not None, "a partial value without a partial axis"
    return found


def _spread(
    call: NodeCall, present: Computed, places: npt.NDArray[np.int64], target: ops.Shape
) -> Computed:
    """The truth values at the entries they are about, 0 elsewhere.

    Shapes: present (*indices) with extents of 1, places (*indices, *slice); the result as `target`.
    """
    own = call.positions(present)
    own = own.reshape(*own.shape, *(1 for _ in range(places.ndim - own.ndim)))
    source = np.full(prod(target), present.size, dtype=np.int64)
    source[places.reshape(-1)] = np.broadcast_to(own, places.shape).reshape(-1)
    flat = call.reshape(present, (present.size,))
    if (source == present.size).any():
        nothing = call.constant_node(np.zeros(1, np.float32))
        flat = call.add(ops.Concat(0), flat, nothing, element=BOOLEAN)
    return call.select(flat, source.reshape(target))


# Functions that have a value everywhere: entries that are not there may be any number.
_ENTRYWISE = (
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sub",
    "Sum",
    "Tanh",
    "Xor",
)

PARTIAL_RULES: Mapping[str, PartialRule] = MappingProxyType(
    {
        **{name: PartialRule(entrywise, _ALL) for name in _ENTRYWISE},
        # Its bounds are single numbers.
        "Clip": PartialRule(entrywise, (0,)),
        "Concat": PartialRule(concat, _ALL, _ALL),
        "ConstantOfShape": PartialRule(constant_of_shape, (), (0,)),
        "Equal": PartialRule(equal, _ALL, _ALL),
        "Expand": PartialRule(expand, (0,), (1,)),
        "Gather": PartialRule(gather, (), (0,)),
        "Reshape": PartialRule(reshape, (0,), (1,)),
        "ScatterND": PartialRule(scatter_nd, (1, 2)),
        "Shape": PartialRule(shape, (0,), (0,)),
        "Slice": PartialRule(slice_, (0,), (0,)),
        "Transpose": PartialRule(transpose, (0,)),
        "Unsqueeze": PartialRule(unsqueeze, (0,)),
        "Where": PartialRule(where, _ALL, (1, 2)),
    }
)
"""Rules where an extent depends on the input."""

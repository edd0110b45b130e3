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
from specdsl.graph.import_call import BOOLEAN, Computed
from specdsl.graph.onnx_import import partial_shapes as shapes
from specdsl.graph.onnx_import import rules
from specdsl.graph.onnx_import.call import NodeCall
from specdsl.graph.onnx_import.gather_rules import tuple_positions
from specdsl.graph.onnx_import.partial_shapes import HELP, common, integers_of, listed
from specdsl.graph.onnx_import.partial_values import (
    AnyValue,
    Extent,
    Extents,
    Partial,
    PartialCall,
    Presence,
    made,
    size,
)


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
    found = ", ".join(_shown(o) for o in call.operands if isinstance(o, Partial | Extents))
    return call.plain.refuse(f"of a value whose extents depend on the input ({found})", help=HELP)


def _shown(value: Partial | Extents) -> str:
    """The extents as messages show them: at most so many entries."""
    extents = value.extents if isinstance(value, Partial) else value.entries
    shown = [f"up to {e.extent}" if isinstance(e, Presence) else str(e) for e in extents]
    return f"{'shape' if isinstance(value, Partial) else 'entries'} {', '.join(shown)}"


# --- entry by entry ------------------------------------------------------------------------------


def entrywise(call: PartialCall) -> tuple[AnyValue, ...]:
    """A function of the entries, which all numbers have a value of."""
    given = [i for i, o in enumerate(call.operands) if o is not None]
    extents = common(call, [call.extents(i) for i in given])
    (whole,) = rules.RULES[call.node.op](call.plain)
    return (made(whole, extents),)


def equal(call: PartialCall) -> tuple[AnyValue, ...]:
    """Whether extents are what they cannot be, as exporters ask: -1; or of values."""
    if not any(isinstance(o, Extents) for o in call.operands):
        return entrywise(call)
    left, right = listed(call, 0), listed(call, 1)
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
    left, right = listed(call, 1), listed(call, 2)
    if not len(condition) == len(left) == len(right):
        call.plain.refuse("extents that depend on the input do not broadcast", help=HELP)
    pairs = zip(condition, left, right, strict=True)
    return (integers_of([a if holds else b for holds, a, b in pairs]),)


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
        "Concat": PartialRule(shapes.concat, _ALL, _ALL),
        "ConstantOfShape": PartialRule(shapes.constant_of_shape, (), (0,)),
        "Equal": PartialRule(equal, _ALL, _ALL),
        "Expand": PartialRule(shapes.expand, (0,), (1,)),
        "Gather": PartialRule(shapes.gather, (), (0,)),
        "Reshape": PartialRule(shapes.reshape, (0,), (1,)),
        "ScatterND": PartialRule(scatter_nd, (1, 2)),
        "Shape": PartialRule(shapes.shape, (0,), (0,)),
        "Slice": PartialRule(shapes.slice_, (0,), (0,)),
        "Transpose": PartialRule(shapes.transpose, (0,)),
        "Unsqueeze": PartialRule(shapes.unsqueeze, (0,)),
        "Where": PartialRule(where, _ALL, (1, 2)),
    }
)
"""Rules where an extent depends on the input."""

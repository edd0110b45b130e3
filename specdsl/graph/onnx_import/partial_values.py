"""Values whose extents depend on the input: slices whose places are computed.

A graph has fixed shapes. Such a slice is kept as the whole value it was cut from, and for each axis
that was cut, which of its entries are there (`Presence`). So positions along the axis stay what
they were before the cut. The shape of such a value is no constant either (`Extents`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import OnnxNode


@dataclass(frozen=True, slots=True)
class Place:
    """A whole number that is an entry of a node plus an offset; without a node the offset alone."""

    node: NodeId | None
    entry: int
    offset: Fraction

    @classmethod
    def known(cls, number: int) -> Place:
        """A constant."""
        return cls(None, 0, Fraction(number))


@dataclass(frozen=True, slots=True)
class Presence:
    """Which of the `extent` entries of an axis are there: those of the slice `start:end`.

    Equal ones say the same, whichever node computes it. node: truth values, (extent,).
    """

    start: Place
    end: Place
    extent: int
    node: NodeId = field(compare=False)


Extent = int | Presence
"""How many entries an axis has: a number, or as many as are there."""


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """A value of which only some entries are there.

    whole: all entries; those that are not there mean nothing. extents: one for each axis, at least
    one of them a `Presence`.
    """

    whole: Value
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """The shape of a partial value, or a list of integers made from it: (entries,)."""

    entries: tuple[Extent, ...]


AnyValue = Value | Partial | Extents
"""What an ONNX name stands for where extents may depend on the input."""


def size(extent: Extent) -> int:
    """The extent of the whole."""
    return extent.extent if isinstance(extent, Presence) else extent


def made(whole: Value, extents: Sequence[Extent]) -> Value | Partial:
    """A value of which all entries are there where no axis says otherwise."""
    fixed = all(isinstance(e, int) for e in extents)
    return whole if fixed else Partial(whole, tuple(extents))


@dataclass(frozen=True, slots=True, eq=False)
class PartialCall:
    """One ONNX node of which some operand or result is partial."""

    network: str
    opset: int
    node: OnnxNode
    operands: tuple[AnyValue | None, ...]
    builder: GraphBuilder

    @property
    def plain(self) -> NodeCall:
        """The same node with operands of which all is there: partial ones whole, no `Extents`."""
        whole = (o.whole if isinstance(o, Partial) else o for o in self.operands)
        operands = tuple(None if isinstance(o, Extents) else o for o in whole)
        return NodeCall(self.network, self.opset, self.node, operands, self.builder)

    def plain_with(self, *operands: Value | None, op: str | None = None) -> NodeCall:
        """A node with other operands, and of another kind where `op` names one."""
        node = self.node if op is None else replace(self.node, op=op, attributes={})
        return NodeCall(self.network, self.opset, node, operands, self.builder)

    def extents(self, index: int) -> tuple[Extent, ...]:
        """The shape of an operand."""
        value = self.operands[index] if index < len(self.operands) else None
        if isinstance(value, Partial):
            return value.extents
        if isinstance(value, Extents):
            return (len(value.entries),)
        return self.plain.operand(index).shape


# --- places --------------------------------------------------------------------------------------


def place(builder: GraphBuilder, node: NodeId, entry: int) -> Place:
    """Where an entry of a node comes from: past moves and constants that are added."""
    offset = Fraction(0)
    while True:
        op = builder.op(node)
        match op:
            case ops.Reshape():
                (node,) = builder.operands(node)
            case ops.Select():
                (node,) = builder.operands(node)
                entry = int(op.indices.reshape(-1)[entry])
            case ops.Scale() if (op.scale == 1).all() and op.shift.size == 1:
                (node,) = builder.operands(node)
                offset += Fraction(op.shift.reshape(-1).tolist()[0])
            case ops.Concat() if op.axis == 0:
                node, entry = _part(builder, builder.operands(node), entry)
            case ops.Constant():
                return Place(None, 0, offset + Fraction(op.value.reshape(-1).tolist()[entry]))
            case _:
                return Place(node, entry, offset)


def _part(builder: GraphBuilder, parts: Sequence[NodeId], entry: int) -> tuple[NodeId, int]:
    """The operand of a concatenation along the first axis that an entry comes from."""
    for part in parts:
        count = prod(builder.shape(part))
        if entry < count:
            return part, entry
        entry -= count
    raise AssertionError("an entry beyond its node")

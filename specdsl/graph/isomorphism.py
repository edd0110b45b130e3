"""Are two graphs the same but for the names of their nodes?

Nodes are numbered by what they compute: two get one number if they have the same op, with the same
exact parameters, on operands of the same numbers. So it does not matter either whether a value that
is needed twice is computed once or twice. Equal numbers mean equal functions; the reverse does not
hold: `simplify` both graphs first, so that the same function is more often written in one way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from hashlib import sha256

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId

# Their operands may stand in any order.
COMMUTATIVE = (ops.Multiply, ops.Sum)


def isomorphic(first: Graph, second: Graph) -> bool:
    """Whether both compute the same outputs by the same ops from inputs in the same order."""
    return difference(first, second) is None


def difference(first: Graph, second: Graph) -> str | None:
    """Where two graphs differ, in words: at nodes whose operands are still the same in both.

    None where they do not.
    """
    numbering = _Numbering()
    one, other = numbering.number(first), numbering.number(second)
    for sort, ends in (("inputs", "inputs"), ("outputs", "outputs")):
        counts = len(getattr(first, ends)), len(getattr(second, ends))
        if counts[0] != counts[1]:
            return f"{counts[0]} {sort} and {counts[1]}"
    for a, b in zip(first.inputs, second.inputs, strict=True):
        if one[a] != other[b]:
            return f"{_described(first, a)} and {_described(second, b)}"
    for a, b in zip(first.outputs, second.outputs, strict=True):
        if one[a] != other[b]:
            return _explained(first, second, one, other, (a, b))
    return None


@dataclass(slots=True)
class _Numbering:
    """One number for each way of computing a value, shared by the graphs that are compared."""

    numbers: dict[Hashable, int] = field(default_factory=dict[Hashable, int])

    def number(self, graph: Graph) -> dict[NodeId, int]:
        """The number of every node."""
        found: dict[NodeId, int] = {}
        for node, op, operands in graph:
            if isinstance(op, ops.Input):
                key: Hashable = ("Input", graph.inputs.index(node), op.extent)
            else:
                key = _key(op, tuple(found[o] for o in operands))
            found[node] = self.numbers.setdefault(key, len(self.numbers))
        return found


def _key(op: ops.Op, operands: tuple[int, ...]) -> Hashable:
    """What a node computes, given the numbers of its operands."""
    if isinstance(op, ops.Sum):
        return "Sum", tuple(sorted(zip(operands, op.coefficients, strict=True)))
    taken = tuple(sorted(operands)) if isinstance(op, COMMUTATIVE) else operands
    return type(op).__name__, _parameters(op), taken


def _parameters(op: ops.Op) -> Hashable:
    names = [f.name for f in fields(op)]  # type: ignore[arg-type]
    return tuple(_exactly(getattr(op, name)) for name in names)


def _exactly(value: object) -> Hashable:
    """A parameter by its exact numbers, whatever type holds them."""
    if not isinstance(value, np.ndarray):
        return value if isinstance(value, Hashable) else repr(value)
    if value.dtype == object:
        held = ",".join(str(Fraction(v)) for v in value.reshape(-1)).encode()
        return "fractions", value.shape, sha256(held).hexdigest()
    if value.dtype.kind in "iub":
        numbers = np.ascontiguousarray(value, dtype=np.int64)
    else:
        # Adding 0 turns the negative zero into the positive one.
        numbers = np.ascontiguousarray(value, dtype=np.float64) + 0.0
    return numbers.dtype.kind, value.shape, sha256(numbers.tobytes()).hexdigest()


# --- explaining ----------------------------------------------------------------------------------


def _explained(
    first: Graph,
    second: Graph,
    one: dict[NodeId, int],
    other: dict[NodeId, int],
    pair: tuple[NodeId, NodeId],
) -> str:
    """Follows operands that differ up to where the ops or their parameters do."""
    while True:
        a, b = pair
        left, right = first.operands(a), second.operands(b)
        kinds = type(first.op(a)), type(second.op(b))
        if kinds[0] is not kinds[1] or len(left) != len(right):
            return f"{_described(first, a)} and {_described(second, b)}"
        deeper = [(x, y) for x, y in zip(left, right, strict=True) if one[x] != other[y]]
        if not deeper:
            return f"{_described(first, a)} and {_described(second, b)}: other parameters"
        pair = deeper[0]


def _described(graph: Graph, node: NodeId) -> str:
    return f"`{node}` ({type(graph.op(node)).__name__} of shape {graph.shapes[node]})"

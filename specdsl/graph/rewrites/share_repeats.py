"""Common subexpressions: of nodes with equal ops and operands, one is kept."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId

# Equal arrays agree in these, and most others do not: whole weights are compared only then.
_FIRST_ENTRIES = 8


def share_repeats(graph: Graph) -> tuple[Graph, bool]:
    """The same graph in which no two nodes compute the same from the same; whether that is less.

    Values stay what they were, to the last bit.
    """
    builder = GraphBuilder()
    image: dict[NodeId, NodeId] = {}
    alike: dict[Hashable, list[tuple[ops.Op, NodeId]]] = {}
    changed = False
    for node, op, operands in graph:
        found = tuple(image[o] for o in operands)
        if isinstance(op, ops.Input):
            image[node] = builder.add(op, name=node)
            continue
        known = alike.setdefault((_outline(op), found), [])
        twin = next((kept for other, kept in known if same(op, other)), None)
        if twin is None:
            twin = builder.add(op, *found, name=node)
            known.append((op, twin))
        else:
            changed = True
        image[node] = twin
    return builder.build(*(image[o] for o in graph.outputs)), changed


def same(op: ops.Op, other: ops.Op) -> bool:
    """Whether two ops are of one class and have equal parameters."""
    if op is other:
        return True
    return type(op) is type(other) and all(
        _equal(a, b) for a, b in zip(_parameters(op), _parameters(other), strict=True)
    )


def _parameters(op: ops.Op) -> Iterator[object]:
    assert is_dataclass(op)
    return (getattr(op, f.name) for f in fields(op))


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or bool(np.array_equal(a, b))
    return a == b


def _outline(op: ops.Op) -> Hashable:
    """What equal ops have in common, without reading large arrays."""
    return (type(op), *map(_sketch, _parameters(op)))


def _sketch(value: object) -> Hashable:
    if not isinstance(value, np.ndarray):
        assert isinstance(value, Hashable)
        return value
    return (value.shape, tuple(value.reshape(-1)[:_FIRST_ENTRIES].tolist()))

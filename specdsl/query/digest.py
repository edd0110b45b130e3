"""What a query asks, as one SHA-256: the same in every process and on every machine.

Two queries get one digest only if they ask the same: the same computation with the same numbers,
over the same sets, with the same atoms. Names do not count, be they of nodes, variables or files,
nor do node order, places in the spec and the original networks, which replay a witness and say
nothing about what is asked. The reverse does not hold: what is computed in another way, or held in
another number type, gets another digest, and that costs only an answer that could have been reused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.query import Query
from specdsl.query.sets import InputSet

FORMAT = "specdsl query 1"
"""In front of everything that is hashed; the number rises when the encoding changes."""

LARGE = 4096
"""Bytes from which the digest of an array is kept for the next query, which often has it too."""


def digest(query: Query) -> str:
    """The digest of one query, in hexadecimal. Raises TypeError for an op with a parameter of a
    kind that has no encoding.
    """
    return Digests().of(query)


@dataclass(slots=True)
class Digests:
    """Digests of queries that have networks in common: a large array is read once, not once a
    query. What the query before the last held is let go.
    """

    _arrays: dict[int, tuple[Any, bytes]] = field(default_factory=dict[int, "tuple[Any, bytes]"])

    def of(self, query: Query) -> str:
        """As `digest`."""
        encoder = _Encoder(self._arrays)
        graph = query.graph
        asked: tuple[object, ...] = (
            query.kind,
            graph.shapes[graph.input],
            encoder.computed(graph),
            query.integers,
            tuple(encoder.cases(query)),
        )
        if query.smoothing is not None:
            asked = (*asked, ("smoothed", query.smoothing.sigma))
        found = sha256(encoder.encoded((FORMAT, asked)))
        self._arrays = encoder.met
        return found.hexdigest()


class _Encoder:
    """Values as bytes that differ for different values, whatever stands beside them."""

    def __init__(self, known: dict[int, tuple[Any, bytes]]) -> None:
        self._known = known
        # Arrays by identity, which holds while they are kept here.
        self.met: dict[int, tuple[Any, bytes]] = {}

    def computed(self, graph: Graph) -> bytes:
        """How the output comes out of the inputs: a digest of ops, parameters and operands.

        Digests of nodes are made of those of their operands, so neither names nor order matter, and
        what the output does not read does not either.
        """
        found: dict[NodeId, bytes] = {}
        for node, op, operands in graph:
            what: tuple[object, ...]
            if isinstance(op, ops.Input):
                what = ("Input", graph.inputs.index(node), op.extent)
            else:
                what = (type(op).__name__, tuple(_parameters(op)))
            takes = tuple(found[o] for o in operands)
            found[node] = sha256(self.encoded((what, takes))).digest()
        return found[graph.output]

    def cases(self, query: Query) -> Iterable[tuple[object, ...]]:
        """The set and the atoms of each case; a set that many share is read once."""
        sets: dict[int, bytes] = {}
        for case in query.cases:
            key = id(case.inputs)
            if key not in sets:
                sets[key] = sha256(self.encoded(_set(case.inputs))).digest()
            yield sets[key], tuple((atom.index, atom.strict) for atom in case.atoms)

    def encoded(self, value: object) -> bytes:
        """Every part is tagged, and ends in a known place. Raises TypeError for other types."""
        match value:
            case bool() | np.bool_():
                return b"t" if value else b"f"
            case int() | np.integer():
                return b"i%d;" % int(value)
            case Fraction():
                return b"q%d/%d;" % (value.numerator, value.denominator)
            case float() | np.floating():
                return b"d" + struct.pack("<d", float(value))
            case str():
                text = value.encode()
                return b"s%d:%b" % (len(text), text)
            case bytes():
                return b"y%d:%b" % (len(value), value)
            case tuple():
                return b"(%b)" % b"".join(map(self.encoded, value))
            case np.ndarray():
                return b"a" + self._array(value)
            case None:
                return b"n"
            case _:
                raise TypeError(f"a {type(value).__name__} is no part of a query")

    def _array(self, array: np.ndarray[Any, Any]) -> bytes:
        key = id(array)
        kept = self.met.get(key) or self._known.get(key)
        found = self._hashed(array) if kept is None else kept[1]
        if array.nbytes >= LARGE:
            self.met[key] = array, found
        return found

    def _hashed(self, array: np.ndarray[Any, Any]) -> bytes:
        """By element type, shape and entries in row-major order; exact numbers as such."""
        if array.dtype == object:
            entries = b"".join(map(self.encoded, array.reshape(-1)))
            return sha256(self.encoded(("object", array.shape)) + entries).digest()
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        head = self.encoded((plain.dtype.str, array.shape))
        return sha256(head + plain.tobytes()).digest()


def _parameters(op: ops.Op) -> Iterable[tuple[str, object]]:
    return ((f.name, getattr(op, f.name)) for f in fields(op))  # type: ignore[arg-type]


def _set(inputs: InputSet) -> tuple[object, ...]:
    balls = tuple((b.norm, b.positions, b.center, b.scale, b.radius) for b in inputs.balls)
    return inputs.box.lower, inputs.box.upper, balls

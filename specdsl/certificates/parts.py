"""Proofs by parts: what a search over inner values knows, in the words of a certificate.

Nodes are those of the certificate. `specdsl.proof.parts` says what each thing proves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from specdsl.certificates.part_records import Bytes, FloatArray, IntArray, SingleArray
from specdsl.proof.parts import CASES, EMPTY, LEAF, SPLIT, STEP


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Entries of a nonlinear node that rows choose slopes of: below, or below and above. They are
    `least + step * byte`, or float32 themselves where `step` is 0.
    """

    columns: IntArray
    sides: int
    least: float
    step: float


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """How rows go back. `slopes`: (sides, operands, rows, columns) by node; `multipliers`:
    positions among the entries of a node, and (rows, positions).
    """

    slopes: Mapping[int, Bytes | SingleArray]
    multipliers: Mapping[int, tuple[IntArray, FloatArray]]


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One row of margins for each case. `weights`: of the margins of each case that has several
    atoms, (1, atoms).
    """

    weights: SingleArray
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Empty:
    """Bounds of a value exclude each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Where entry `position` of a node's is at most `point`, and where it is at least that."""

    node: int
    position: int
    point: float
    lower: PartNode
    upper: PartNode


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Bounds of the `columns` of a node for all of `then`, by rows of them and of their negatives.
    `weights`: of the margins that some atom reads, (2 columns, margins).
    """

    node: int
    columns: IntArray
    weights: FloatArray
    rows: Rows
    then: PartNode


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """A part for each case."""

    parts: tuple[PartNode, ...]


PartNode = Leaf | Empty | Split | Step | Fork


@dataclass(frozen=True, slots=True, eq=False)
class PartsProof:
    """That none of some cases, by their positions, has a point. `choices`, `entries`: by node."""

    cases: tuple[int, ...]
    choices: Mapping[int, Choice]
    entries: Mapping[int, IntArray]
    root: PartNode

    def record(self, section: str, *, exact: bool = False) -> dict[str, object]:
        """As a header says it, the rest being in a section of this name. `exact`: whether the
        checker has to use rationals.
        """
        choices = [
            {
                "node": node,
                "count": len(c.columns),
                "sides": c.sides,
                "least": float(c.least),
                "step": float(c.step),
            }
            for node, c in self.choices.items()
        ]
        entries = [{"node": n, "count": len(own)} for n, own in self.entries.items()]
        own: dict[str, object] = {"kind": "parts", "cases": list(self.cases), "tree": section}
        return own | {"exact": exact, "choices": choices, "entries": entries}

    @property
    def content(self) -> bytes:
        """The section."""
        return b"".join(self._written())

    def _written(self) -> Iterator[bytes]:
        for choice in self.choices.values():
            yield choice.columns.astype("<u4").tobytes()
        for entries in self.entries.values():
            yield entries.astype("<u4").tobytes()
        waiting: list[PartNode] = [self.root]
        groups = list(self.entries)
        while waiting:
            match waiting.pop():
                case Leaf(weights, rows):
                    yield bytes([LEAF]) + weights.astype("<f4").tobytes()
                    yield from self._rows(rows)
                case Empty():
                    yield bytes([EMPTY])
                case Split(node, position, point, lower, upper):
                    at = np.array([groups.index(node), position], "<u4")
                    yield bytes([SPLIT]) + at.tobytes() + np.array([point], "<f8").tobytes()
                    waiting += [upper, lower]
                case Step(node, columns, weights, rows, then):
                    at = np.array([node, len(columns), *columns], "<u4")
                    yield bytes([STEP]) + at.tobytes() + weights.astype("<f4").tobytes()
                    yield from self._rows(rows)
                    waiting.append(then)
                case Fork(parts):
                    yield bytes([CASES])
                    waiting += reversed(parts)

    def _rows(self, rows: Rows) -> Iterator[bytes]:
        for node, choice in self.choices.items():
            named = rows.slopes.get(node)
            yield bytes([named is not None])
            if named is not None:
                yield named.astype("u1" if choice.step else "<f4").tobytes()
        for node in self.entries:
            none = np.zeros(0, np.int64), np.zeros((0, 0))
            positions, values = rows.multipliers.get(node, none)
            yield np.array([len(positions), *positions], "<u4").tobytes()
            yield values.astype("<f4").tobytes()

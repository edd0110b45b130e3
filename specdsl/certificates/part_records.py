"""How a search over inner values went, for a proof of it: which part was split where, what bounds
inside were sharpened for it, and the places and multipliers of the rows that refuted it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from specdsl.graph.graph import Graph, NodeId
from specdsl.verdict import CaseProof

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
SingleArray = npt.NDArray[np.float32]


# Places between two slopes are recorded as so many parts of the way.
SHARES = 255


@dataclass(frozen=True, slots=True, eq=False)
class SlopeRecord:
    """Slopes of entries at `columns`: parts of the way from the first slope of an op to its last,
    of SHARES, (rows, columns); or slopes below and above themselves, float32 (2, rows, columns).
    None where rows chose something else.
    """

    values: Bytes | SingleArray | None
    columns: IntArray

    def only(self, row: int) -> SlopeRecord:
        """Of one row."""
        values = None if self.values is None else self.values[..., row : row + 1, :]
        return SlopeRecord(values, self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class RowRecord:
    """How rows went back. `slopes`: by nonlinear node. `multipliers`: (rows, splits) of the entries
    `numbers`.
    """

    slopes: Mapping[NodeId, SlopeRecord]
    numbers: IntArray
    multipliers: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """Bounds of some entries of a node, by rows of them and of their negatives. `weights`: of the
    margins, (rows, atoms).
    """

    node: NodeId
    entries: IntArray
    weights: FloatArray
    rows: RowRecord


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Entry `number` split at a point: what lies below and above."""

    number: int
    point: float
    lower: PartRecord
    upper: PartRecord


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Refuted in a way that proofs by parts have no words for."""

    how: str


@dataclass(frozen=True, slots=True, eq=False)
class Refuted:
    """By one row of the margin of atom `atom` of its case."""

    atom: int
    row: RowRecord


class Emptied:
    """Nothing is left of it by its steps."""


@dataclass(slots=True, eq=False)
class PartRecord:
    """`below`: what became of it; None while it is open."""

    steps: list[StepRecord] = field(default_factory=list[StepRecord])
    below: Cut | Refuted | Otherwise | Emptied | None = None

    def cut(self, number: int, point: float) -> list[PartRecord]:
        """Cut it in two, whatever became of it before; both parts."""
        cut = Cut(number, point, PartRecord(), PartRecord())
        self.below = cut
        return [cut.lower, cut.upper]


@dataclass(frozen=True, slots=True, eq=False)
class NeuronProof(CaseProof):
    """By a part for each case. `entries`: the columns of each node that
    may be split; numbers count through them. `steps`: that hold for all cases, without weights.
    `margins`: of the atoms of each case; a row for each, and more of the last up to the longest.
    """

    graph: Graph
    entries: Mapping[NodeId, IntArray]
    steps: tuple[StepRecord, ...]
    margins: tuple[tuple[int, ...], ...]
    parts: tuple[PartRecord, ...]

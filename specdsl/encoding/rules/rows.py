"""Rows over entries: what several encoding rules say one neuron at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.encoding.model.entries import Entries
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms
from specdsl.encoding.rules.encoder import Encoder
from specdsl.graph.graph import NodeId

Term = tuple[Entries, FloatArray | float]
"""Entries, one a neuron, and what each is multiplied by."""


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """Entries `indices` of a node, whose columns and rows are named after it."""

    node: NodeId
    indices: IndexArray
    encoder: Encoder

    def columns(
        self,
        lower: FloatArray | float,
        upper: FloatArray | float,
        suffix: str = "",
        whole: bool = False,
    ) -> Entries:
        """New columns, one a neuron."""
        count = self.indices.size
        low, high = (np.broadcast_to(np.asarray(e, np.float64), count) for e in (lower, upper))
        name, builder = self._named(suffix), self.encoder.builder
        return Entries.of_columns(builder.add_columns(name, self.indices, low, high, whole))

    def units(self, suffix: str, whole: bool = True) -> Entries:
        """New columns between 0 and 1."""
        return self.columns(0.0, 1.0, suffix, whole)

    def rows(
        self,
        suffix: str,
        terms: Sequence[Term],
        lower: FloatArray | float = -np.inf,
        upper: FloatArray | float = np.inf,
    ) -> None:
        """One row a neuron: `lower <= sum of coefficient times entry <= upper`."""
        count = self.indices.size
        values = Entries.joined([entries for entries, _ in terms])
        factors = np.concatenate([np.broadcast_to(c, count) for _, c in terms])
        constant = (factors * values.offsets).reshape(len(terms), count).sum(axis=0)
        linked = values.columns >= 0
        sparse = SparseTerms.of(
            np.tile(np.arange(count), len(terms))[linked],
            values.columns[linked],
            (factors * values.slopes)[linked],
        )
        self.encoder.builder.add_rows(
            self._named(suffix), self.indices, sparse, lower - constant, upper - constant
        )

    def _named(self, suffix: str) -> str:
        return f"{self.node}_{suffix}" if suffix else self.node

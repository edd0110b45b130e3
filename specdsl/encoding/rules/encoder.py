"""What the rules of an encoding share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, ModelBuilder
from specdsl.encoding.model.quadratics import Quadratics
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What the encoding rules share: the growing model, and sound bounds of some nodes.

    `sizes`: what the entries of nodes before steps are computed from (see `magnitudes`).
    `quadratics`: what rows do not say of the columns.
    """

    builder: ModelBuilder
    bounds: dict[NodeId, Range]
    sizes: dict[NodeId, FloatArray] = field(default_factory=dict)
    quadratics: Quadratics = field(default_factory=Quadratics)

    def range_of(self, node: NodeId, entries: Entries) -> Range:
        """The node's known bounds, else what the bounds of the columns imply."""
        return self.bounds[node] if node in self.bounds else self.implied(entries)

    def implied(self, entries: Entries) -> Range:
        """Bounds of the entries by the bounds of their columns."""
        lower, upper = self.builder.bounds()
        constant = entries.columns < 0
        at_lower = np.where(constant, 0.0, lower[entries.columns]) * entries.slopes
        at_upper = np.where(constant, 0.0, upper[entries.columns]) * entries.slopes
        return Range(
            np.minimum(at_lower, at_upper) + entries.offsets,
            np.maximum(at_lower, at_upper) + entries.offsets,
        )

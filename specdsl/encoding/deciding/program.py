"""A model of cases over one input set with its solver, and the rows that its points ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specdsl.encoding.encode import EncodedGraph
from specdsl.encoding.model.enclosed import EnclosedNode
from specdsl.encoding.model.linear_model import FloatArray, LinearModel
from specdsl.encoding.rules.balls import OuterBall, tangents_at
from specdsl.encoding.solvers.session import Session
from specdsl.encoding.tightening.multi_neuron import Pool, add_broken


class Program:
    """`session` minimises `model`; `relax`: without columns that must be whole."""

    def __init__(
        self,
        encoded: EncodedGraph,
        pool: Pool,
        model: LinearModel,
        start: Callable[[LinearModel], Session],
        *,
        relax: bool,
    ) -> None:
        self.encoded = encoded
        self._pool = pool
        self._integer = np.zeros_like(model.integer) if relax else model.integer
        self.session = start(model.relaxed() if relax else model)

    @property
    def model(self) -> LinearModel:
        """As it is solved now."""
        return self.session.model

    @property
    def balls(self) -> tuple[OuterBall, ...]:
        """The l2 balls that the model holds from outside."""
        return self.encoded.balls

    @property
    def enclosed(self) -> tuple[EnclosedNode, ...]:
        """The nodes that the model does not state exactly."""
        return self.encoded.enclosed

    def branch(self, *, whole: bool) -> None:
        """Whether columns that must be whole may be fractional for now."""
        integer = self._integer if whole else np.zeros_like(self._integer)
        self.session.whole(integer)

    def cut_off(self, point: FloatArray) -> bool:
        """Add tangents and rows of several neurons that exclude a point; False without any."""
        found = tangents_at(self.balls, point)
        for rows in found:
            self.session.add_rows("tangent", rows.indices, rows.terms, -np.inf, rows.upper)
        broken = self._pool.broken(point)
        if broken is not None:
            add_broken(self.session, broken)
        return bool(found) or broken is not None

"""All cases over one input set as one model, which the solver keeps from case to case.

The model has the rows of every case; those of other cases are without sides while one is solved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from specdsl.encoding.balls import OuterBall, tangents_at
from specdsl.encoding.enclosed import EnclosedNode
from specdsl.encoding.encode import EncodedGraph, encode_case, worst_range
from specdsl.encoding.linear_model import FloatArray, LinearModel
from specdsl.encoding.session import Session
from specdsl.query.query import Atom


class GroupProgram:
    """`session` minimises the worst margin of the case that `turn_to` was called with last.

    Tangents of l2 balls that one case asked for stay: they hold for all.
    """

    def __init__(
        self,
        encoded: EncodedGraph,
        cases: Sequence[Sequence[Atom]],
        name: str,
        start: Callable[[LinearModel], Session],
        *,
        relax: bool,
    ) -> None:
        self._encoded = encoded
        atoms = [atom for case in cases for atom in case]
        model = encode_case(encoded, atoms, name)
        self._integer = np.zeros_like(model.integer) if relax else model.integer
        self.session = start(model.relaxed() if relax else model)
        self._indices = np.unique([atom.index for atom in atoms])
        self._rows = model.rows - self._indices.size + np.arange(self._indices.size)
        self._sides = model.row_lower[self._rows]
        self._worst = np.array([model.columns - 1])

    @property
    def model(self) -> LinearModel:
        """As it is solved now."""
        return self.session.model

    @property
    def balls(self) -> tuple[OuterBall, ...]:
        """The l2 balls that the model holds from outside."""
        return self._encoded.balls

    @property
    def enclosed(self) -> tuple[EnclosedNode, ...]:
        """The nodes that the model does not state exactly."""
        return self._encoded.enclosed

    def turn_to(self, atoms: Sequence[Atom]) -> None:
        """Minimise the largest margin of these atoms, which some case of the group has."""
        own = np.isin(self._indices, [atom.index for atom in atoms])
        free = np.full(own.shape, np.inf)
        self.session.bound_rows(self._rows, np.where(own, self._sides, -free), free)
        lower, upper = worst_range(self._encoded, atoms)
        self.session.bound_columns(self._worst, np.array([lower]), np.array([upper]))

    def branch(self, *, whole: bool) -> None:
        """Whether columns that must be whole may be fractional for now."""
        integer = self._integer if whole else np.zeros_like(self._integer)
        self.session.whole(integer)

    def cut_off(self, point: FloatArray) -> bool:
        """Add tangents that exclude a point outside of the balls; False where there are none."""
        found = tangents_at(self.balls, point)
        for rows in found:
            self.session.add_rows("tangent", rows.indices, rows.terms, -np.inf, rows.upper)
        return bool(found)

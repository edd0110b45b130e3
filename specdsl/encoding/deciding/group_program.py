"""All cases over one input set as one model, which the solver keeps from case to case.

The model has the rows of every case; those of other cases are without sides while one is solved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from specdsl.encoding.deciding.program import Program
from specdsl.encoding.encode import EncodedGraph, encode_case, worst_range
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.solvers.session import Session
from specdsl.encoding.tightening.multi_neuron import Pool
from specdsl.query.query import Atom


class GroupProgram(Program):
    """`session` minimises the worst margin of the case that `turn_to` was called with last.

    Tangents of l2 balls that one case asked for stay: they hold for all.
    """

    def __init__(
        self,
        encoded: EncodedGraph,
        pool: Pool,
        cases: Sequence[Sequence[Atom]],
        name: str,
        start: Callable[[LinearModel], Session],
        *,
        relax: bool,
    ) -> None:
        atoms = [atom for case in cases for atom in case]
        model = encode_case(encoded, atoms, name)
        super().__init__(encoded, pool, model, start, relax=relax)
        self._indices = np.unique([atom.index for atom in atoms])
        self._rows = model.rows - self._indices.size + np.arange(self._indices.size)
        self._sides = model.row_lower[self._rows]
        self._worst = np.array([model.columns - 1])

    def turn_to(self, atoms: Sequence[Atom]) -> None:
        """Minimise the largest margin of these atoms, which some case of the group has."""
        own = np.isin(self._indices, [atom.index for atom in atoms])
        free = np.full(own.shape, np.inf)
        self.session.bound_rows(self._rows, np.where(own, self._sides, -free), free)
        lower, upper = worst_range(self.encoded, atoms)
        self.session.bound_columns(self._worst, np.array([lower]), np.array([upper]))

"""Which of many points violate a query, in float64: those where some case has all its atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.forward import evaluate
from specdsl.query.query import Case


@dataclass(frozen=True, slots=True, eq=False)
class Voting:
    """Some cases of a query over a compiled graph. `members`: their positions in the query."""

    compiled: CompiledGraph
    members: Sequence[int]
    cases: Sequence[Case]

    def violations(self, points: Tensor) -> Tensor:
        """The position in the query of a case that each point meets, -1 where it meets none.

        What is no number counts as met, and so does a margin of 0 that an atom excludes: errors
        are to the side that says less. Shapes: (points, inputs) to (points,).
        """
        with torch.no_grad():
            margins = evaluate(self.compiled, points.to(self.compiled.like))
        met = torch.full((len(points),), -1, dtype=torch.int64, device=margins.device)
        clear = margins > 0
        for member, case in zip(self.members, self.cases, strict=True):
            rows = [atom.index for atom in case.atoms]
            holds = ~clear[:, rows].any(1)
            met = met.where(~holds | (met >= 0), torch.full_like(met, member))
        return met.cpu()

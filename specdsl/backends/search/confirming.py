"""What a search asks about points: is this a witness, and if it is all that is left, is it one?"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.passes.forward import evaluate
from specdsl.evidence import Placement, Replayer, Suspected
from specdsl.evidence.atoms import atoms_hold
from specdsl.query.groups import CaseGroup
from specdsl.query.sets import ExactArray, InputSet
from specdsl.verdict import Witness

# Points on the decision boundary are met again in every batch; after so many refusals they cost
# more than they can find.
MAX_REFUSED = 200


@dataclass(slots=True)
class Confirmer:
    """Confirms points and remembers what came of it."""

    replayer: Replayer
    witness: Witness | None = None
    suspected: Suspected | None = None
    refused: int = 0

    def confirm(self, point: Tensor, case: int) -> bool:
        """Whether a flat point leads to a confirmed witness of the case."""
        if self.refused >= MAX_REFUSED:
            return False
        outcome = self.replayer.confirm(point.detach().cpu().numpy(), [case])
        if isinstance(outcome, Suspected):
            self.suspected = outcome
        elif outcome is not None:
            self.witness = outcome
            return True
        self.refused += 1
        return False

    def confirm_best(self, compiled: CompiledGraph, group: CaseGroup, points: Tensor) -> bool:
        """Whether the best of some points for any case of a group is a witness of it.

        `compiled`: the query's margins; points (points, inputs).
        """
        with torch.no_grad():
            rows = torch.as_tensor(group.rows, device=points.device)
            margins = evaluate(compiled, points)[:, rows]
        # Where a function has no value there is no witness.
        best = deciding_margins(group, margins.where(margins.isfinite(), torch.inf)).min(0)
        for member, value, position in zip(
            group.members, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            if value <= 0 and self.confirm(points[position], member):
                return True
        return False

    def decide(self, point: ExactArray, case: int) -> Literal["refuted", "witness", "open"]:
        """Whether the one exact point is a witness, in rationals; open where the replay differs,
        where the error of elementary functions decides, and where a margin has no value.
        """
        query = self.replayer.query
        if point not in query.cases[case].inputs:
            return "refuted"
        judgement = self.replayer.judgement(Placement(point))
        if judgement is None:
            return "open"
        if not atoms_hold(query.cases[case], judgement.margins).perhaps:
            return "refuted"
        outcome = judgement.verdict(query.cases[case], case)
        if isinstance(outcome, Witness):
            self.witness = outcome
            return "witness"
        self.suspected = outcome or self.suspected
        return "open"


def only_point(lower: Tensor, upper: Tensor, inputs: InputSet) -> ExactArray | None:
    """The one exact point that a box (inputs,) can hold of an input set, or None if it is not one.

    An entry is known where the set fixes it exactly, or where both float ends are one number.
    """
    box = inputs.box
    fixed = box.lower == box.upper
    if not bool((fixed | (lower == upper).cpu().numpy()).all()):
        return None
    ends = lower.tolist()
    point = [box.lower[i] if fixed[i] else Fraction(ends[i]) for i in range(box.size)]
    return np.array(point, dtype=object)

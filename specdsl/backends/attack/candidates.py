"""Points that an attack takes for witnesses, before anything is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from specdsl.backends.attack.objective import Objective


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A point that violates a case in floats. point: (inputs,); `case`: position in the query."""

    point: Tensor
    case: int


def best_of_each(
    objective: Objective, points: Tensor, cases: Tensor, distance: Tensor
) -> Iterator[Candidate]:
    """The point deepest inside each case that is met, which need not be the one it went for.

    Shapes: points (points, inputs), cases (points,); distance (points, width), not NaN, and not
    positive in a case.
    """
    met = (distance <= 0).nonzero()
    if not len(met):
        return
    order = distance[met[:, 0], met[:, 1]].argsort(stable=True)
    seen: set[int] = set()
    for at, slot in met[order].tolist():
        case = int(objective.members[objective.home[cases[at]], slot])
        if case not in seen:
            seen.add(case)
            yield Candidate(points[at].clone(), case)

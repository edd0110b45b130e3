"""Points that an attack takes for witnesses, before anything is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from specdsl.query.groups import CaseGroup


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A point that violates a case in float64. point: (inputs,); `case`: position in the query."""

    point: Tensor
    case: int


def best_of_each(group: CaseGroup, points: Tensor, distance: Tensor) -> Iterator[Candidate]:
    """The point deepest inside each case that is met.

    Shapes: points (points, inputs), distance (points, cases), not NaN, and not positive in a case.
    """
    best = distance.min(0)
    for member, value, row in zip(
        group.members, best.values.tolist(), best.indices.tolist(), strict=True
    ):
        if value <= 0:
            yield Candidate(points[row].clone(), member)

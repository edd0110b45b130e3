"""What margins say about the atoms of a case, where elementary functions leave something open."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isinf

from specdsl.graph.enclosure import Enclosed
from specdsl.query.query import Case

ELEMENTARY = "elementary functions in float64"
"""What a witness rests on besides exact arithmetic where its graph has curves."""


@dataclass(frozen=True, slots=True)
class Atoms:
    """Whether every atom of a case holds: `surely` for every margin within its error, `perhaps`
    for some. `margin`: the largest (0 without atoms); `error`: the largest of any.
    """

    surely: bool
    perhaps: bool
    margin: Fraction
    error: float


def atoms_hold(case: Case, margins: Enclosed) -> Atoms:
    """What margins, known to within their errors, say about a case."""
    values, errors = margins.value.reshape(-1), margins.error.reshape(-1)
    surely = perhaps = True
    for atom in case.atoms:
        margin, error = Fraction(values[atom.index]), float(errors[atom.index])
        if isinf(error):
            surely = False
            continue
        surely = surely and _holds(margin + Fraction(error), atom.strict)
        perhaps = perhaps and _holds(margin - Fraction(error), atom.strict)
    return Atoms(
        surely,
        perhaps,
        max((Fraction(values[a.index]) for a in case.atoms), default=Fraction(0)),
        max((float(errors[a.index]) for a in case.atoms), default=0.0),
    )


def disagreement(exact: Atoms, replayed: Atoms, title: str) -> str:
    """Why a point is only suspected. `title`: what ran the networks."""
    error = max(exact.error, replayed.error)
    suspected = f"suspected counterexample: the margin is {float(exact.margin):.3g}"
    if not (exact.surely or replayed.surely):
        return f"{suspected}, known to within {error:.1g} only ({ELEMENTARY})"
    computed = f"{ELEMENTARY}, to within {error:.1g}," if error else "exact arithmetic"
    return f"{suspected} in {computed} but {float(replayed.margin):.3g} in {title}'s float32"


def _holds(margin: Fraction, strict: bool) -> bool:
    return margin < 0 if strict else margin <= 0

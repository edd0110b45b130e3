"""Formulas that multiply out: alternatives become `min` nodes of the graph instead of cases.

`a <= 0 or b <= 0` says `min(a, b) <= 0`, and `a <= 0 and b <= 0` says `max(a, b) <= 0`. Cases are
what every backend does best with, so a formula is folded only where it has too many of them.
"""

from __future__ import annotations

from math import prod

from specdsl.query.elaboration.values.formula import (
    And,
    Below,
    Formula,
    Or,
    Stated,
    below,
    conjunction,
    count_clauses,
    disjunction,
)
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Extreme

MOST_CASES = 10_000
"""A claim that is written with more alternatives than this is folded."""

MOST_PRODUCTS = 512
"""So is one that multiplies out to more: nobody wrote those cases, and that many subproblems cost
more than the looser bounds of a node do.
"""


def fold(formula: Formula, scene: Scene, limit: int = MOST_CASES) -> Formula:
    """The same points in at most `limit` cases, as far as nodes can say it."""
    match formula:
        case Below():
            return formula
        case Stated(claim, _):
            return fold(claim, scene, limit)
        case And(parts):
            written = max((count_clauses(part) for part in parts), default=1)
            return _fold_parts(parts, scene, min(limit, max(written, MOST_PRODUCTS)))
        case Or(parts):
            folded = Or(tuple(fold(part, scene, limit) for part in parts))
            if count_clauses(folded) > limit:
                share = max(limit // len(parts), 1)
                folded = Or(tuple(fold(part, scene, share) for part in parts))
            return _merged_or(folded, scene, limit)


def _fold_parts(parts: tuple[Formula, ...], scene: Scene, limit: int) -> Formula:
    """The parts with the most cases first, until their product is small enough."""
    if prod(map(count_clauses, parts)) <= limit:
        return And(parts)
    kept = [fold(part, scene, limit) for part in parts]
    counts = [count_clauses(part) for part in kept]
    for index in sorted(range(len(kept)), key=lambda i: -counts[i]):
        if prod(counts) <= limit or counts[index] == 1:
            break
        kept[index] = _one_atom(kept[index], scene)
        counts[index] = count_clauses(kept[index])
    return conjunction(kept)


def _one_atom(formula: Formula, scene: Scene) -> Formula:
    """The formula with as few cases as nodes can make it: one, where all atoms are alike."""
    match formula:
        case Below():
            return formula
        case Stated(claim, _):
            return _one_atom(claim, scene)
        case And(parts):
            return _merged_and(And(tuple(_one_atom(part, scene) for part in parts)), scene)
        case Or(parts):
            return _merged_or(Or(tuple(_one_atom(part, scene) for part in parts)), scene, 1)


def _merged_or(formula: Or, scene: Scene, limit: int) -> Formula:
    """Atoms of a disjunction that are alike as one `min`.

    Bounds on input entries alone stay what they are: they may be all that says what the input set
    is. Beside an alternative without bounds they are not.
    """
    if count_clauses(formula) <= limit or all(map(_is_bound, formula.parts)):
        return formula
    others: list[Formula] = [part for part in formula.parts if not isinstance(part, Below)]
    for strict in (False, True):
        alike = [p for p in formula.parts if isinstance(p, Below) and p.strict == strict]
        if alike:
            least = scene.value_of(Extreme("min", tuple(part.expression for part in alike)))
            others.append(below(least, strict=strict))
    return disjunction(others)


def _merged_and(formula: And, scene: Scene) -> Formula:
    """Atoms of a conjunction inside a disjunction as one `max`, where they are all alike and none
    is a bound on an input entry.
    """
    alike = [p for p in formula.parts if isinstance(p, Below) and not _is_bound(p)]
    if len(alike) < len(formula.parts) or len({part.strict for part in alike}) != 1:
        return formula
    greatest = scene.value_of(Extreme("max", tuple(part.expression for part in alike)))
    return below(greatest, strict=alike[0].strict)


def _is_bound(part: Formula) -> bool:
    """Whether the part bounds one entry of the input."""
    if not isinstance(part, Below) or len(part.expression.terms) != 1:
        return False
    (source, _), _ = part.expression.terms[0]
    return source == INPUT

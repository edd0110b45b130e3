"""Boolean combinations of linear inequalities: exact negation, and disjunctive normal form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import prod

from specdsl.query.elaboration.values.symbolic import Entry, Extreme, Linear, Prediction


@dataclass(frozen=True, slots=True)
class Below:
    """`expression <= 0`, or `< 0` where strict."""

    expression: Linear
    strict: bool


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; without parts, true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds; without parts, false."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Stated:
    """A claim with its negation written out, where that is shorter than negating it blindly."""

    claim: Formula
    negation: Formula


Formula = Below | And | Or | Stated

TRUE = And(())
FALSE = Or(())

Clause = tuple[Below, ...]
"""A conjunction of atoms, each once."""


class TooManyClauses(ValueError):
    """The disjunctive normal form has `count` clauses."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} clauses")


# --- building ------------------------------------------------------------------------------------


def below(expression: Fraction | Linear, *, strict: bool) -> Formula:
    """`expression <= 0` (`< 0` where strict); decided at once where nothing varies."""
    if isinstance(expression, Linear):
        return Below(expression, strict)
    return truth(expression < 0 if strict else expression <= 0)


def truth(value: bool) -> Formula:
    """True or false as a formula."""
    return TRUE if value else FALSE


def conjunction(parts: Iterable[Formula]) -> Formula:
    """All of them; nested conjunctions are flattened, and one false part decides."""
    flat: list[Formula] = []
    for part in parts:
        if part == FALSE:
            return FALSE
        flat.extend(part.parts if isinstance(part, And) else [part])
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def disjunction(parts: Iterable[Formula]) -> Formula:
    """Any of them; nested disjunctions are flattened, and one true part decides."""
    flat: list[Formula] = []
    for part in parts:
        if part == TRUE:
            return TRUE
        flat.extend(part.parts if isinstance(part, Or) else [part])
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def negate(formula: Formula) -> Formula:
    """The exact negation: `not (e <= 0)` is `-e < 0`."""
    match formula:
        case Below(expression, strict):
            return Below(-expression, not strict)
        case And(parts):
            return disjunction(negate(part) for part in parts)
        case Or(parts):
            return conjunction(negate(part) for part in parts)
        case Stated(claim, negation):
            return Stated(negation, claim)


def compare(operator: str, left: Fraction | Linear, right: Fraction | Linear) -> Formula:
    """`left operator right` for `<= < >= > == !=`."""
    match operator:
        case "<=" | "<":
            return below(left - right, strict=operator == "<")
        case ">=" | ">":
            return below(right - left, strict=operator == ">")
        case "==":
            return conjunction(below(e, strict=False) for e in (left - right, right - left))
        case _:
            return disjunction(below(e, strict=True) for e in (left - right, right - left))


def compare_extremes(operator: str, left: Extreme, right: Extreme) -> Formula:
    """`left operator right`, by cases: a maximum is <= something where every option is."""
    if operator in {"==", "!="}:
        equal = conjunction(compare_extremes(o, left, right) for o in ("<=", ">="))
        return equal if operator == "==" else negate(equal)
    if operator in {">=", ">"}:
        return compare_extremes("<=" if operator == ">=" else "<", right, left)
    all_left, all_right = left.kind == "max", right.kind == "min"
    if all_right and not all_left:
        # Some option of the left below every one of the right.
        rows = (conjunction(compare(operator, a, b) for b in right.options) for a in left.options)
        return disjunction(rows)
    join = conjunction if all_right else disjunction
    parts = (join(compare(operator, a, b) for b in right.options) for a in left.options)
    return conjunction(parts) if all_left else disjunction(parts)


def predicts(prediction: Prediction, label: int) -> Formula:
    """`argmax(scores) == label`: strictly larger than every other score (smaller for argmin)."""
    scores = prediction.rising
    if not 0 <= label < len(scores):
        return FALSE
    return conjunction(
        below(scores[other] - scores[label], strict=True)
        for other in range(len(scores))
        if other != label
    )


def same_prediction(first: Prediction, second: Prediction) -> Formula:
    """Both have a strict winner and it is the same one.

    Negating the disjunction over classes would multiply out. The negation is stated instead: where
    some c is a best one of the first (ties included), c fails to be the strict winner of either.
    """
    count = min(len(first.scores), len(second.scores))
    claim = disjunction(
        conjunction((predicts(first, c), predicts(second, c))) for c in range(count)
    )
    differ = disjunction(
        conjunction(
            (
                conjunction(below(s - first.rising[c], strict=False) for s in first.rising),
                negate(conjunction((predicts(first, c), predicts(second, c)))),
            )
        )
        for c in range(len(first.scores))
    )
    return Stated(claim, differ)


# --- taking apart --------------------------------------------------------------------------------


def count_clauses(formula: Formula) -> int:
    """How many clauses `clauses` gives, before duplicates fall away."""
    match formula:
        case Below():
            return 1
        case And(parts):
            return prod(count_clauses(part) for part in parts)
        case Or(parts):
            return sum(count_clauses(part) for part in parts)
        case Stated(claim, _):
            return count_clauses(claim)


def clauses(formula: Formula, limit: int) -> tuple[Clause, ...]:
    """The disjunctive normal form. No clause: false; an empty clause: true.

    Raises TooManyClauses beyond `limit`, before anything is multiplied out.
    """
    count = count_clauses(formula)
    if count > limit:
        raise TooManyClauses(count)
    return tuple(dict.fromkeys(_expand(formula)))


def _expand(formula: Formula) -> list[Clause]:
    match formula:
        case Below():
            return [(formula,)]
        case And(parts):
            return reduce(_product, map(_expand, parts), [()])
        case Or(parts):
            return [clause for part in parts for clause in _expand(part)]
        case Stated(claim, _):
            return _expand(claim)


def _product(left: list[Clause], right: list[Clause]) -> list[Clause]:
    return [tuple(dict.fromkeys((*a, *b))) for a in left for b in right]


def holds(formula: Formula, values: Mapping[Entry, Fraction]) -> bool:
    """Whether the formula is true where the entries have these values."""
    match formula:
        case Below(expression, strict):
            value = expression.at(values)
            return value < 0 if strict else value <= 0
        case And(parts):
            return all(holds(part, values) for part in parts)
        case Or(parts):
            return any(holds(part, values) for part in parts)
        case Stated(claim, _):
            return holds(claim, values)

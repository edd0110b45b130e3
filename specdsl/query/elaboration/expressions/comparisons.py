"""What comparisons of values say, as formulas."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration.expressions.arithmetic import numeric
from specdsl.query.elaboration.values.formula import (
    FALSE,
    Formula,
    compare,
    compare_extremes,
    conjunction,
    disjunction,
    negate,
    predicts,
    same_prediction,
    truth,
)
from specdsl.query.elaboration.values.known import winner
from specdsl.query.elaboration.values.meaning import Choice, FieldLabel, Meaning
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import (
    Extreme,
    Linear,
    Prediction,
    Root,
    Tensor,
    entries,
)
from specdsl.query.query import Nonlinear

MIRRORED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "==", "!=": "!="}


def compared(
    operator: str, left: Meaning, right: Meaning, scene: Scene, where: syntax.Expr
) -> tuple[Formula, ...]:
    """`left operator right`: one formula, or one for each entry of a tensor."""
    if isinstance(right, Choice) and not isinstance(left, Choice):
        return compared(MIRRORED[operator], right, left, scene, where)
    if isinstance(left, Choice):
        return _chosen(operator, left, right, scene, where)
    if isinstance(left, Prediction) or isinstance(right, Prediction):
        return (_labels(operator, left, right, scene, where),)
    if isinstance(left, Root) or isinstance(right, Root):
        return (_roots(operator, left, right, scene, where),)
    if isinstance(left, str | FieldLabel) and isinstance(right, str | FieldLabel):
        return (truth((left == right) == (operator == "==")),)
    return _numbers(operator, left, right, scene, where)


def _numbers(
    operator: str, left: Meaning, right: Meaning, scene: Scene, where: syntax.Expr
) -> tuple[Formula, ...]:
    first, second = _options(left), _options(right)
    if first is not None and second is not None:
        return (compare_extremes(operator, first, second),)
    a, b = numeric(left, scene), numeric(right, scene)
    if a is None or b is None:
        raise SpecError.of("E0752", "these cannot be compared", where.span)
    return _entrywise(operator, a, b)


def _options(value: Meaning) -> Extreme | None:
    """One number as an extreme of one option."""
    if isinstance(value, Extreme):
        return value
    if isinstance(value, Tensor) and value.scalar is not None:
        return Extreme("max", (value.scalar,))
    return None


def _entrywise(operator: str, left: Tensor, right: Tensor) -> tuple[Formula, ...]:
    a, b = left.values, right.values
    if a.size > 1 and b.size > 1 and a.shape != b.shape:
        raise SpecError.of("E0752", f"shapes differ: {list(a.shape)} and {list(b.shape)}")
    flat = np.broadcast_arrays(a.reshape(-1), b.reshape(-1))
    pairs: Iterator[tuple[Fraction | Linear, Fraction | Linear]] = zip(*flat, strict=True)
    return tuple(compare(operator, x, y) for x, y in pairs)


def _chosen(
    operator: str, choice: Choice, other: Meaning, scene: Scene, where: syntax.Expr
) -> tuple[Formula, ...]:
    """Entry by entry: the entry of the value whose condition holds."""
    found = [compared(operator, value, other, scene, where) for _, value in choice.options]
    count = max(len(parts) for parts in found)
    wide = [parts * count if len(parts) == 1 else parts for parts in found]
    if any(len(parts) != count for parts in wide):
        raise SpecError.of("E0752", "the values of this `if` have different shapes", where.span)
    conditions = [condition for condition, _ in choice.options]
    return tuple(
        disjunction(conjunction(pair) for pair in zip(conditions, entry, strict=True))
        for entry in zip(*wide, strict=True)
    )


# --- labels --------------------------------------------------------------------------------------


def _labels(
    operator: str, left: Meaning, right: Meaning, scene: Scene, where: syntax.Expr
) -> Formula:
    if operator == "!=":
        return negate(_labels("==", left, right, scene, where))
    if not isinstance(left, Prediction):
        return _labels(MIRRORED[operator], right, left, scene, where)
    if isinstance(right, Prediction):
        if operator != "==":
            raise SpecError.of("E0752", "labels are compared with `==` and `!=`", where.span)
        for first, second in ((left, right), (right, left)):
            label = winner(second, scene)
            if label is not None:
                return predicts(first, label)
        return same_prediction(left, right)
    label = right.scalar if isinstance(right, Tensor) else None
    if label is None:
        raise SpecError.of("E0752", "these cannot be compared", where.span)
    if isinstance(label, Fraction) and operator == "==":
        return predicts(left, int(label)) if label.denominator == 1 else FALSE
    options = (
        conjunction((predicts(left, c), compare(operator, Fraction(c), label)))
        for c in range(len(left.scores))
    )
    return disjunction(options)


# --- l2 norms ------------------------------------------------------------------------------------


def _roots(
    operator: str, left: Meaning, right: Meaning, scene: Scene, where: syntax.Expr
) -> Formula:
    """Comparisons of square roots, by comparing squares."""
    if operator in {"==", "!="}:
        parts = (_roots(o, left, right, scene, where) for o in ("<=", ">="))
        equal = conjunction(parts)
        return equal if operator == "==" else negate(equal)
    if not isinstance(left, Root):
        return _roots(MIRRORED[operator], right, left, scene, where)
    if isinstance(right, Root):
        return compare(operator, left.square, right.square)
    other = numeric(right, scene)
    bound = other.scalar if other is not None else None
    if bound is None:
        raise SpecError.of("E0752", "a norm is compared with a number", where.span)
    negative = compare("<", bound, Fraction(0))
    square = _square(bound, scene, where)
    if operator in {"<=", "<"}:
        return conjunction((negate(negative), compare(operator, left.square, square)))
    return disjunction((negative, compare(operator, left.square, square)))


def _square(value: Fraction | Linear, scene: Scene, where: syntax.Expr) -> Fraction | Linear:
    if isinstance(value, Fraction):
        return value * value
    place = Nonlinear(" ".join(where.span.text.split()), where.span)
    one = entries([value], (1,))
    return scene.multiply(one, one, place)[0]

"""What expressions of a property can stand for, and arithmetic and comparisons of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Value
from specdsl.query.elaboration.environment import Closure, Environment, Local, Sample
from specdsl.query.elaboration.formula import (
    Formula,
    compare,
    compare_extreme,
    negate,
    predicts,
    same_prediction,
    truth,
)
from specdsl.query.elaboration.regions import FiniteSet, Region
from specdsl.query.elaboration.resources import LoadedNetwork
from specdsl.query.elaboration.symbolic import Extreme, Linear, Prediction, Tensor, constant


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """One formula for each entry of a comparison of tensors; `all` or `any` makes them one."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DatasetValue:
    """Samples `start` to `stop` of a dataset; None is its end."""

    name: str
    start: int
    stop: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A formula as a value, apart from the types above."""

    formula: Formula


Meaning = (
    Tensor
    | Extreme
    | Prediction
    | Claim
    | Truths
    | Region
    | FiniteSet
    | DatasetValue
    | LoadedNetwork
    | Closure
    | Sample
    | str
    | tuple["Meaning", ...]
)
"""What an expression can stand for."""


class Meanings(Protocol):
    """What gives expressions their meaning. All raise SpecError where there is none."""

    def meaning(self, expression: syntax.Expr, environment: Environment) -> Meaning:
        """Of any expression."""
        ...

    def tensor(self, expression: syntax.Expr, environment: Environment) -> Tensor:
        """Of one that is a tensor of numbers."""
        ...

    def number(self, expression: syntax.Expr, environment: Environment) -> Fraction:
        """Of one that is a constant number."""
        ...

    def integer(self, expression: syntax.Expr, environment: Environment) -> int:
        """Of one that is a constant whole number."""
        ...

    def formula(self, expression: syntax.Expr, environment: Environment) -> Formula:
        """Of one that is true or false."""
        ...

    def set(self, expression: syntax.Expr, environment: Environment) -> Region | FiniteSet:
        """Of one after `in`."""
        ...

    def resolve(self, local: Local) -> Meaning:
        """Of what a local name is bound to."""
        ...


def misfit(wanted: str, expression: syntax.Expr) -> SpecError:
    """The error that an expression is not what its place needs."""
    text = " ".join(expression.span.text.split())
    return SpecError.of("E0752", f"`{text}` is not {wanted}", expression.span)


def value_meaning(value: Value) -> Meaning:
    """A constant of the spec."""
    if isinstance(value, bool):
        return Claim(truth(value))
    if isinstance(value, Fraction):
        return constant(value)
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return tuple(value_meaning(item) for item in value)
    return Tensor(value)


# --- arithmetic and comparison -------------------------------------------------------------------


def minus(value: Meaning) -> Meaning:
    """`-value`."""
    if isinstance(value, Tensor):
        return Tensor(np.asarray(-value.values, dtype=object))
    if isinstance(value, Extreme):
        return -value
    raise SpecError.of("E0752", "a number is needed here")


def arithmetic(operator: str, left: Meaning, right: Meaning) -> Meaning:
    """`+ - * /`, entry by entry. Raises NotLinear, SpecError E0404, E0752, E0901."""
    if isinstance(left, Extreme) or isinstance(right, Extreme):
        return _extreme_arithmetic(operator, left, right)
    if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
        if operator in {"@", ">>"}:
            raise SpecError.of("E0901", f"`{operator}` is not supported yet")
        raise SpecError.of("E0752", "numbers are needed here")
    a, b = left.values, right.values
    if a.size == 1 and b.size == 1:
        a, b = a.reshape(()), b.reshape(())
    if a.size > 1 and b.size > 1 and a.shape != b.shape:
        raise SpecError.of("E0752", f"shapes differ: {list(a.shape)} and {list(b.shape)}")
    match operator:
        case "+":
            found = a + b
        case "-":
            found = a - b
        case "*":
            found = a * b
        case "/":
            if any(isinstance(v, Fraction) and v == 0 for v in b.reshape(-1)):
                raise SpecError.of("E0404", "division by zero")
            found = a / b
        case _:
            raise SpecError.of("E0901", f"`{operator}` is not supported yet")
    values = np.asarray(found, dtype=object)
    labels = left.labels if left.labels == right.labels or not right.labels else ()
    return Tensor(values, labels=labels if values.shape == left.values.shape else ())


def _extreme_arithmetic(operator: str, left: Meaning, right: Meaning) -> Meaning:
    if isinstance(left, Extreme) and isinstance(right, Tensor) and right.scalar is not None:
        other = right.scalar
        match operator, other:
            case "+", _:
                return left.plus(other)
            case "-", _:
                return left.plus(-other)
            case "*", Fraction():
                return left.times(other)
            case "/", Fraction() if other:
                return left.times(1 / other)
            case _:
                pass
    if isinstance(left, Tensor) and isinstance(right, Extreme) and left.scalar is not None:
        if operator == "+":
            return right.plus(left.scalar)
        if operator == "-":
            return (-right).plus(left.scalar)
        if operator == "*" and isinstance(left.scalar, Fraction):
            return right.times(left.scalar)
    raise SpecError.of("E0901", "this arithmetic with a minimum or maximum is not supported yet")


def compared(
    operator: str, left: Meaning, right: Meaning, where: syntax.Expr
) -> tuple[Formula, ...]:
    """`left operator right`: one formula, or one for each entry of a tensor."""
    if isinstance(left, Prediction) or isinstance(right, Prediction):
        same = _same_label(left, right, where)
        return (same if operator == "==" else negate(same),)
    if isinstance(left, Extreme | Tensor) and isinstance(right, Extreme | Tensor):
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            return _entrywise(operator, left, right)
        difference = arithmetic("-", left, right)
        if isinstance(difference, Extreme):
            return (compare_extreme(operator, difference),)
    if isinstance(left, str) and isinstance(right, str) and operator in {"==", "!="}:
        return (truth((left == right) == (operator == "==")),)
    raise SpecError.of("E0752", "these cannot be compared", where.span)


def _entrywise(operator: str, left: Tensor, right: Tensor) -> tuple[Formula, ...]:
    a, b = left.values, right.values
    if a.size > 1 and b.size > 1 and a.shape != b.shape:
        raise SpecError.of("E0752", f"shapes differ: {list(a.shape)} and {list(b.shape)}")
    flat = np.broadcast_arrays(a.reshape(-1), b.reshape(-1))
    pairs: Iterator[tuple[Fraction | Linear, Fraction | Linear]] = zip(*flat, strict=True)
    return tuple(compare(operator, x, y) for x, y in pairs)


def _same_label(left: Meaning, right: Meaning, where: syntax.Expr) -> Formula:
    if isinstance(left, Prediction) and isinstance(right, Prediction):
        for first, second in ((left, right), (right, left)):
            if second.winner is not None:
                return predicts(first, second.winner)
        return same_prediction(left, right)
    if isinstance(right, Prediction):
        left, right = right, left
    label = right.scalar if isinstance(right, Tensor) else None
    if isinstance(left, Prediction) and isinstance(label, Fraction) and label.denominator == 1:
        return predicts(left, int(label))
    raise SpecError.of("E0901", "a prediction is compared with a fixed label", where.span)

"""What expressions of a property can stand for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Value
from specdsl.query.elaboration.values.environment import Closure, Environment, Local, Sample
from specdsl.query.elaboration.values.formula import Formula, truth
from specdsl.query.elaboration.values.networks import (
    Composition,
    HiddenValue,
    LoadedNetwork,
    Smoothed,
)
from specdsl.query.elaboration.values.regions import FiniteSet, Region
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import Extreme, Prediction, Root, Tensor, constant


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


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several values: the one whose condition holds. Exactly one does."""

    options: tuple[tuple[Formula, Meaning], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Several values, each with a name: the outputs of a network."""

    names: tuple[str | None, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class FieldLabel:
    """The name of a field of a space, as a value."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """`{ body for binders where condition }` with an infinite set among the binders'."""

    expression: syntax.SetOf
    environment: Environment


Meaning = (
    Tensor
    | Extreme
    | Root
    | Choice
    | Group
    | FieldLabel
    | Prediction
    | Claim
    | Truths
    | Region
    | FiniteSet
    | ImageSet
    | DatasetValue
    | LoadedNetwork
    | Composition
    | HiddenValue
    | Smoothed
    | Closure
    | Sample
    | str
    | tuple["Meaning", ...]
)
"""What an expression can stand for."""


class Meanings(Protocol):
    """What gives expressions their meaning. All raise SpecError where there is none."""

    @property
    def scene(self) -> Scene:
        """What the query speaks about."""
        ...

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

    def truth(self, expression: syntax.Expr, environment: Environment) -> bool | None:
        """Of the same where that is a constant, else None."""
        ...

    def set(
        self, expression: syntax.Expr, environment: Environment
    ) -> Region | FiniteSet | ImageSet:
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

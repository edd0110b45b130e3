"""Local names while a property is elaborated. Arguments are evaluated when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration.values.symbolic import Tensor
from specdsl.source import Span


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a declared dataset; it is read when its value is asked for."""

    dataset: str
    index: int
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SamplePart:
    """The input or the label of a sample."""

    sample: Sample
    part: Literal["input", "label"]


@dataclass(frozen=True, slots=True, eq=False)
class Thunk:
    """An expression and the names it sees. `position` picks from a tuple (destructuring)."""

    expression: syntax.Expr
    environment: Environment
    position: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A function, region or property with the names its body sees."""

    definition: syntax.Let | syntax.Region | syntax.Property
    environment: Environment


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A meaning that is known already; `value` is a `Meaning`."""

    value: object


Local = Tensor | Sample | SamplePart | Thunk | Closure | Fixed


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """Local names, innermost binding first. `depth` counts the calls that led here."""

    names: Mapping[str, Local] = field(default_factory=lambda: MappingProxyType({}))
    depth: int = 0

    def bind(self, names: Mapping[str, Local]) -> Environment:
        """With more names; they hide older ones."""
        return Environment({**self.names, **names}, self.depth)

    def called(self, names: Mapping[str, Local], closure: Environment) -> Environment:
        """The environment of a function's body: what it was defined in, and its arguments."""
        return Environment({**closure.names, **names}, self.depth + 1)


EMPTY = Environment()


# --- binding -------------------------------------------------------------------------------------


def thunks(call: syntax.Call, environment: Environment) -> list[Thunk]:
    """The arguments of a call of a user's function, not evaluated yet. Raises SpecError E0752."""
    found: list[Thunk] = []
    for argument in call.arguments:
        if isinstance(argument, syntax.NamedArgument | syntax.Comprehension):
            raise SpecError.of("E0752", "arguments are given by position", argument.span)
        found.append(Thunk(argument, environment))
    return found


def body_environment(
    closure: Closure, arguments: Sequence[Local], environment: Environment
) -> Environment:
    """The names that the body of a function sees. Raises SpecError E0752 for a wrong count."""
    definition = closure.definition
    parameters = definition.parameters or ()
    if len(parameters) != len(arguments):
        text = f"{len(parameters)} arguments are needed, not {len(arguments)}"
        raise SpecError.of("E0752", text, definition.span)
    bound = {p.name: value for p, value in zip(parameters, arguments, strict=True)}
    return environment.called(bound, closure.environment)


def let_locals(let: syntax.Let, environment: Environment) -> Mapping[str, Local]:
    """What a `let` inside a property binds."""
    if let.parameters is not None:
        return {let.names[0]: Closure(let, environment)}
    if len(let.names) == 1:
        return {let.names[0]: Thunk(let.value, environment)}
    return {name: Thunk(let.value, environment, i) for i, name in enumerate(let.names)}


def bind_names(binder: syntax.Binder, value: Local) -> Mapping[str, Local]:
    """What a binder binds for one member of a finite set."""
    if len(binder.names) == 1:
        return {binder.names[0]: value}
    if isinstance(value, Sample) and len(binder.names) == 2:
        image, label = binder.names
        return {image: SamplePart(value, "input"), label: SamplePart(value, "label")}
    raise SpecError.of("E0752", "the pattern has another number of names", binder.span)


def clauses_of(quantifier: syntax.Quantifier) -> tuple[syntax.Clause, ...]:
    """`forall a in A, b in B where c: d` as the clauses of a block, one binder each."""
    span = quantifier.span
    binders = (
        syntax.QuantifierClause(quantifier.kind, (binder,), span=binder.span)
        for binder in quantifier.binders
    )
    where = quantifier.where
    condition = () if where is None else (syntax.WhereClause(where, span=where.span),)
    return (*binders, *condition, syntax.ShowClause(quantifier.body, span=span))

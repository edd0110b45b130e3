"""Operands: expressions that must be numbers, and what messages say of those that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.language import constants, syntax
from specdsl.language.spec import Value
from specdsl.language.types import (
    REAL,
    BoolType,
    FieldType,
    FunctionType,
    LabelType,
    RecordType,
    SetType,
    TensorType,
    UnknownType,
    VotesType,
)
from specdsl.language.typing.names import Context, Typed, Variable, quote
from specdsl.language.typing.types import as_tensor


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """An expression that is a tensor of numbers."""

    expression: syntax.Expr
    typed: Typed
    tensor: TensorType

    @property
    def bare(self) -> bool:
        """Whether it is a number without a unit, which takes the other side's."""
        return self.tensor.unit is None and not self.typed.variables

    @property
    def varying(self) -> bool:
        """Whether it depends on quantified variables."""
        return bool(self.typed.variables)


def operand(expression: syntax.Expr, typed: Typed, context: Context) -> Operand | None:
    """`typed` as a tensor of numbers; None where it is none (reported) or was reported before."""
    kind = typed.type
    if isinstance(kind, UnknownType):
        return None
    tensor = as_tensor(kind)
    if tensor is not None:
        return Operand(expression, typed, tensor)
    if isinstance(kind, RecordType):
        names = ", ".join(f"`{name}`" for name, _ in kind.fields)
        context.error(
            "E0302",
            f"{quote(expression)} is a whole {kind.name}, not a number",
            expression.span,
            help=f"pick a field (its fields are {names}), or take all as one vector: "
            f"`flatten({text_of(expression)})`, `normalized({text_of(expression)})`",
        )
    elif isinstance(kind, LabelType | FieldType):
        noun = "label" if isinstance(kind, LabelType) else "field's name"
        context.error(
            "E0707",
            f"{quote(expression)} is a {noun}; these are compared with `==` and `!=` only",
            expression.span,
        )
    elif isinstance(kind, VotesType):
        only_class(expression, context)
    else:
        context.error(
            "E0302",
            f"a number is needed here, but {quote(expression)} is {describe(typed)}",
            expression.span,
        )
    return None


def only_class(expression: syntax.Expr, context: Context) -> Typed:
    """E0315: more is asked of a smoothed classifier than its class."""
    return context.error(
        "E0315",
        f"{quote(expression)} is what a smoothed classifier gives: only its class is known",
        expression.span,
        help=f"ask for the class: `argmax({text_of(expression)}) == c`",
    )


def describe(typed: Typed) -> str:
    """What something is, in words for a message."""
    kind = typed.type
    if isinstance(kind, BoolType):
        return "a truth value" if not kind.shape else f"truth values of shape {list(kind.shape)}"
    if isinstance(kind, SetType):
        return f"a {kind}"
    if isinstance(kind, FunctionType):
        return f"a {kind}"
    return str(kind) if isinstance(kind, FieldType) else f"of type {kind}"


def fold(compute: Callable[[], Value], span_of: syntax.Expr, context: Context) -> Value | None:
    """The value that `compute` gives, or None after its error was recorded at `span_of`."""
    try:
        return compute()
    except SpecError as error:
        for item in error.at(span_of.span).diagnostics:
            context.error(item.code, item.message, span_of.span, help=item.help)
        return None


def operands(expressions: Sequence[syntax.Expr], context: Context) -> list[Operand] | None:
    """All of them typed as tensors of numbers; None where one is none."""
    found = [operand(e, context.type_of(e), context) for e in expressions]
    known = [o for o in found if o is not None]
    return known if len(known) == len(found) else None


def text_of(expression: syntax.Expr) -> str:
    """The user's text on one line, for a help line that can be pasted."""
    return " ".join(expression.span.text.split())


def sorted_variables(typed: Typed) -> list[Variable]:
    """What it depends on, by name, so that messages are the same in every run."""
    return sorted(typed.variables, key=lambda v: v.name)


def whole(value: Value | None) -> int | None:
    """A constant as a Python integer, where it is a whole number."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return int(value)
    return None


def scalar_constant(expression: syntax.Expr, context: Context, wanted: str) -> Fraction | None:
    """An expression that must be one number known now; None after a diagnostic."""
    typed = context.type_of(expression)
    if not typed.known:
        return None
    value = None if typed.value is None else constants.scalar(typed.value)
    if isinstance(value, Fraction):
        return value
    context.error(
        "E0312",
        f"{wanted} must be a constant number, not {quote(expression)}",
        expression.span,
        label=f"is {typed.type}" if typed.type != REAL else "",
    )
    return None

"""Whether a value may stand where a type is declared."""

from __future__ import annotations

from specdsl.language import syntax, units
from specdsl.language.types import Type, UnknownType
from specdsl.language.typing.names import Context, Typed, quote
from specdsl.language.typing.numbers import literal_value, spelled
from specdsl.language.typing.operands import describe
from specdsl.language.typing.types import as_tensor, fits

Argument = tuple[syntax.Expr, Typed]


def accepts(wanted: Type, given: Argument, name: str, context: Context) -> bool:
    """Whether a declared type takes the argument; E0301 or E0401 where it does not."""
    expression, typed = given
    if not typed.known or isinstance(wanted, UnknownType):
        return True
    if not fits(typed.type, wanted):
        message = f"{name} is {wanted}, but {quote(expression)} is {describe(typed)}"
        context.error("E0301", message, expression.span)
        return False
    a, b = as_tensor(typed.type), as_tensor(wanted)
    if a is None or b is None or units.same(a.unit, b.unit):
        return True
    if a.unit is None and not typed.variables:
        return True
    unit = f"unit `{a.unit}`" if a.unit else "no unit"
    other = f"unit `{b.unit}`" if b.unit else "no unit"
    literal = literal_value(expression)
    converted = (
        units.convert(literal, a.unit, b.unit)
        if literal is not None and a.unit and b.unit
        else None
    )
    context.error(
        "E0401",
        f"{name} has {other}, but {quote(expression)} has {unit}",
        expression.span,
        help=f"write {spelled(converted)} `{b.unit}`" if converted is not None else None,
    )
    return False

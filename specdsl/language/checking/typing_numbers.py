"""Numbers: arithmetic with shapes, units, and the rule that what depends on variables is linear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from specdsl.language import constants, syntax
from specdsl.language.checking.names import NOTHING, Context, Typed, quote
from specdsl.language.checking.typing_operands import Operand, fold, operand, sorted_variables
from specdsl.language.checking.typing_types import normal_unit, squeezed
from specdsl.language.types import (
    TensorType,
)
from specdsl.source import Span

LINEAR_WAY_OUT = "only linear expressions of quantified variables can be decided"


def number(expression: syntax.Number, context: Context) -> Typed:
    """A literal."""
    if fold(lambda: constants.bounded(expression.value), expression, context) is None:
        return NOTHING
    element = "int" if expression.value.denominator == 1 else "real"
    kind = TensorType((), element, normal_unit(expression.unit))
    return Typed(kind, expression.value)


def unary_minus(expression: syntax.Unary, context: Context) -> Typed:
    """`-x`."""
    x = operand(expression.operand, context.type_of(expression.operand), context)
    if x is None or not _linear(x, context):
        return NOTHING
    value = None if x.typed.value is None else constants.negate(x.typed.value)
    return Typed(replace(x.tensor, labels=None), value, x.typed.variables)


def arithmetic(expression: syntax.Binary, typed: Typed, context: Context) -> Typed:
    """`+ - * /`, with the left side typed already."""
    left = operand(expression.left, typed, context)
    right = operand(expression.right, context.type_of(expression.right), context)
    if left is None or right is None:
        return NOTHING
    if not (_linear(left, context) and _linear(right, context)):
        return NOTHING
    shape = common_shape(left, right, expression, context)
    if shape is None:
        return NOTHING
    if expression.operator in "+-":
        found = common_unit(left, right, expression, context)
        if found is None:
            return NOTHING
        unit = found.unit
    else:
        if not _product_allowed(left, right, expression, context):
            return NOTHING
        found = _product_unit(left, right, expression, context)
        if found is None:
            return NOTHING
        unit = found.unit
    element = "int" if _stays_int(left, right, expression.operator) else "real"
    labels = left.tensor.labels if left.tensor.labels == right.tensor.labels else None
    kind = TensorType(shape, element, unit, labels if len(shape) == 1 else None)
    return _folded(kind, left, right, expression, context)


def _folded(
    kind: TensorType, left: Operand, right: Operand, expression: syntax.Binary, context: Context
) -> Typed:
    variables = left.typed.variables | right.typed.variables
    a, b = left.typed.value, right.typed.value
    if a is None or b is None:
        divisor = right.typed.value
        if expression.operator == "/" and divisor is not None and constants.holds_zero(divisor):
            return _zero_division(expression, context)
        return Typed(kind, None, variables)
    if expression.operator == "/" and constants.holds_zero(b):
        return _zero_division(expression, context)
    if squeezed(left.tensor.shape) == squeezed(right.tensor.shape):
        a, b = constants.scalar(a), constants.scalar(b)
    value = fold(lambda: constants.arithmetic(expression.operator, a, b), expression, context)
    if value is None:
        return NOTHING
    if isinstance(value, Fraction) and value.denominator == 1 and kind.shape == ():
        kind = replace(kind, element="int")
    return Typed(kind, value, variables)


def _zero_division(expression: syntax.Binary, context: Context) -> Typed:
    return context.error(
        "E0404",
        f"division by zero: {quote(expression.right)} is 0",
        expression.span,
    )


def _stays_int(left: Operand, right: Operand, operator: str) -> bool:
    return operator != "/" and left.tensor.element == right.tensor.element == "int"


def _linear(x: Operand, context: Context) -> bool:
    if x.typed.form == "linear":
        return True
    context.later(
        f"arithmetic with {quote(x.expression)} is",
        x.expression.span,
        "compare `margin(...)` directly with a constant: `margin(v, y) > 1/10`",
    )
    return False


def common_shape(
    left: Operand, right: Operand, whole: syntax.Expr, context: Context
) -> tuple[int, ...] | None:
    """The shape of an entrywise operation; scalars broadcast. None after E0303."""
    a, b = squeezed(left.tensor.shape), squeezed(right.tensor.shape)
    if a == b:
        return left.tensor.shape if left.tensor.shape == right.tensor.shape else a
    if () in (a, b):
        return a or b
    context.error(
        "E0303",
        f"shapes differ: {left.tensor} and {right.tensor}",
        whole.span,
        secondary=[
            (left.expression.span, f"is {left.tensor}"),
            (right.expression.span, f"is {right.tensor}"),
        ],
    )
    return None


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was found, possibly none."""

    unit: str | None


def common_unit(left: Operand, right: Operand, whole: syntax.Expr, context: Context) -> Unit | None:
    """The unit of both sides; a bare number takes the other's. None after E0401."""
    a, b = left.tensor.unit, right.tensor.unit
    if a == b:
        return Unit(a)
    if (a is None and left.bare) or (b is None and right.bare):
        return Unit(a or b)
    words = [f"has unit `{u}`" if u else "has no unit" for u in (a, b)]
    context.error(
        "E0401",
        f"{quote(left.expression)} {words[0]} but {quote(right.expression)} {words[1]}",
        whole.span,
        secondary=[(left.expression.span, words[0]), (right.expression.span, words[1])],
        help=_unit_help(left, right),
    )
    return None


def _unit_help(left: Operand, right: Operand) -> str:
    for x, other in ((left, right), (right, left)):
        if isinstance(x.expression, syntax.Number) and other.tensor.unit:
            unit = other.tensor.unit
            return f"convert it by hand and write it in `{unit}`, or without a unit"
    return "units are never converted: bring both sides to one unit"


def _product_allowed(
    left: Operand, right: Operand, expression: syntax.Binary, context: Context
) -> bool:
    if expression.operator == "/" and right.varying:
        context.error(
            "E0405",
            f"division by {quote(right.expression)}, which may be 0",
            expression.span,
            label=f"depends on {_names(right)}",
            secondary=_binders(right),
            help=f"multiply it out: instead of `a / {_text(right)} <= c` write "
            f"`a <= c * {_text(right)}` where it is positive",
        )
        return False
    if left.varying and right.varying:
        context.error(
            "E0901",
            f"products of quantified values are not supported yet: {quote(left.expression)} "
            f"depends on {_names(left)}, {quote(right.expression)} on {_names(right)}",
            expression.span,
            secondary=_product_places(left, right),
            help=LINEAR_WAY_OUT + ": make one of the two factors a constant or a parameter",
        )
        return False
    return True


def _text(x: Operand) -> str:
    return quote(x.expression).strip("`")


def _names(x: Operand) -> str:
    return ", ".join(f"`{name}`" for name in sorted(v.name for v in x.typed.variables))


def _binders(x: Operand) -> list[tuple[Span, str]]:
    return [(v.span, f"`{v.name}` is quantified here") for v in sorted_variables(x.typed)]


def _product_places(left: Operand, right: Operand) -> list[tuple[Span, str]]:
    places = _binders(left)
    return places + [p for p in _binders(right) if p not in places]


def _product_unit(
    left: Operand, right: Operand, expression: syntax.Binary, context: Context
) -> Unit | None:
    a, b = left.tensor.unit, right.tensor.unit
    if b is None:
        return Unit(a)
    if expression.operator == "/" and a == b:
        return Unit(None)
    if expression.operator == "*" and a is None:
        return Unit(b)
    sign = "·" if expression.operator == "*" else "/"
    context.later(
        f"compound units (`{a or 1}` {sign} `{b}`) are",
        expression.span,
        "make one factor a number without a unit",
    )
    return None


def power(expression: syntax.Binary, context: Context) -> Typed:
    """`x ^ n` for constants."""
    base, exponent = (
        operand(e, context.type_of(e), context) for e in (expression.left, expression.right)
    )
    if base is None or exponent is None:
        return NOTHING
    if base.varying or exponent.varying:
        return context.later("powers of quantified values are", expression.span, LINEAR_WAY_OUT)
    if base.tensor.unit or exponent.tensor.unit:
        return context.later("powers of numbers with a unit are", expression.span)
    if exponent.tensor.shape != ():
        message = f"the exponent {quote(expression.right)} must be one number"
        return context.error("E0303", message, expression.right.span)
    a, n = base.typed.value, exponent.typed.value
    if a is None or n is None:
        return Typed(base.tensor)
    value = fold(lambda: constants.power(a, n), expression, context)
    return NOTHING if value is None else Typed(replace(base.tensor, element="real"), value)


def absolute(expression: syntax.Expr, inner: syntax.Expr, context: Context) -> Typed:
    """`|x|` and `abs(x)`, of constants."""
    x = operand(inner, context.type_of(inner), context)
    if x is None:
        return NOTHING
    if x.varying:
        return context.later(
            "absolute values of quantified expressions are",
            expression.span,
            f"instead of `|e| <= d` write `-d <= e and e <= d`, with {quote(inner)} for e",
        )
    value = None if x.typed.value is None else constants.apply("abs", [x.typed.value])
    return Typed(x.tensor, value)


def list_of(expression: syntax.List, context: Context) -> Typed:
    """`[a, b]`: a tensor, of constants."""
    items = [operand(item, context.type_of(item), context) for item in expression.items]
    known = [item for item in items if item is not None]
    if len(known) < len(items):
        return NOTHING
    if not known:
        return context.error("E0310", "a list needs at least one entry", expression.span)
    first = known[0]
    for item in known:
        if item.varying:
            return context.later("lists of quantified values are", item.expression.span)
        if item.tensor.shape != first.tensor.shape:
            return context.error(
                "E0310",
                f"the entries of a list have different shapes: {first.tensor} and {item.tensor}",
                item.expression.span,
                secondary=[(first.expression.span, f"is {first.tensor}")],
            )
    units = {item.tensor.unit for item in known} - {None}
    if len(units) > 1:
        names = " and ".join(f"`{u}`" for u in sorted(u for u in units if u))
        return context.error("E0401", f"the entries have units {names}", expression.span)
    element = "int" if all(item.tensor.element == "int" for item in known) else "real"
    unit = next(iter(units), None)
    kind = TensorType((len(known), *first.tensor.shape), element, unit)
    values = [item.typed.value for item in known if item.typed.value is not None]
    return Typed(kind, constants.stack(values) if len(values) == len(known) else None)

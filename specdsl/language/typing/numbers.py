"""Numbers: arithmetic with its shapes and units. Everything may depend on quantified variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from specdsl.language import constants, syntax, units
from specdsl.language.constants import LARGEST_POWER
from specdsl.language.spec import Value
from specdsl.language.types import MAX_AXES, TensorType
from specdsl.language.typing.names import NOTHING, Context, Typed, Variable, quote
from specdsl.language.typing.operands import (
    Operand,
    fold,
    operand,
    operands,
    sorted_variables,
    text_of,
    whole,
)
from specdsl.language.typing.types import read_unit, squeezed
from specdsl.source import Span


def number(expression: syntax.Number, context: Context) -> Typed:
    """A literal."""
    if fold(lambda: constants.bounded(expression.value), expression, context) is None:
        return NOTHING
    element = "int" if expression.value.denominator == 1 else "real"
    unit = read_unit(expression.unit, expression.span, context)
    return Typed(TensorType((), element, unit), expression.value)


def computed(
    kind: TensorType, value: Value | None, parts: Sequence[Operand], expression: syntax.Expr
) -> Typed:
    """The result of arithmetic: it varies with what its parts vary with."""
    variables = frozenset[Variable]().union(*(part.typed.variables for part in parts))
    return Typed(kind, value, variables, computed=expression if variables else None)


def unary_minus(expression: syntax.Unary, context: Context) -> Typed:
    """`-x`."""
    x = operand(expression.operand, context.type_of(expression.operand), context)
    if x is None:
        return NOTHING
    value = None if x.typed.value is None else constants.negate(x.typed.value)
    return computed(replace(x.tensor, labels=None), value, [x], expression)


def arithmetic(expression: syntax.Binary, typed: Typed, context: Context) -> Typed:
    """`+ - * /`, with the left side typed already."""
    left = operand(expression.left, typed, context)
    right = operand(expression.right, context.type_of(expression.right), context)
    if left is None or right is None:
        return NOTHING
    shape = common_shape(left, right, expression, context)
    if shape is None:
        return NOTHING
    if expression.operator in "+-":
        unit = common_unit(left, right, expression, context)
    else:
        unit = _product_unit(left, right, expression)
    if unit is None:
        return NOTHING
    element = "int" if _stays_int(left, right, expression.operator) else "real"
    labels = left.tensor.labels if left.tensor.labels == right.tensor.labels else None
    kind = TensorType(shape, element, unit.unit, labels if len(shape) == 1 else None)
    return _folded(kind, left, right, expression, context)


def _folded(
    kind: TensorType, left: Operand, right: Operand, expression: syntax.Binary, context: Context
) -> Typed:
    a, b = left.typed.value, right.typed.value
    if expression.operator == "/" and b is not None and constants.holds_zero(b):
        message = f"division by zero: {quote(expression.right)} is 0"
        return context.error("E0404", message, expression.span)
    if a is None or b is None:
        return computed(kind, None, [left, right], expression)
    if squeezed(left.tensor.shape) == squeezed(right.tensor.shape):
        a, b = constants.scalar(a), constants.scalar(b)
    value = fold(lambda: constants.arithmetic(expression.operator, a, b), expression, context)
    if value is None:
        return NOTHING
    if isinstance(value, Fraction) and value.denominator == 1 and kind.shape == ():
        kind = replace(kind, element="int")
    return computed(kind, value, [left, right], expression)


def _stays_int(left: Operand, right: Operand, operator: str) -> bool:
    return operator != "/" and left.tensor.element == right.tensor.element == "int"


# --- shapes --------------------------------------------------------------------------------------


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
        help=_shape_help(left, right),
    )
    return None


def _shape_help(left: Operand, right: Operand) -> str | None:
    for x, other in ((left, right), (right, left)):
        if len(other.tensor.shape) == 1 and constants.size(x.tensor.shape) == other.tensor.shape[0]:
            return f"both have as many entries: `flatten({text_of(x.expression)})`"
    return None


def matrix_product(expression: syntax.Binary, context: Context) -> Typed:
    """`a @ b` of vectors and matrices: the last axis of a meets the first of b."""
    found = operands([expression.left, expression.right], context)
    if found is None:
        return NOTHING
    left, right = found
    a, b = left.tensor.shape, right.tensor.shape
    if not (len(a) in (1, 2) and len(b) in (1, 2) and a[-1] == b[0]):
        return context.error(
            "E0303",
            f"shapes {list(a)} and {list(b)} have no matrix product",
            expression.span,
            secondary=[(x.expression.span, f"is {x.tensor}") for x in found],
            help="columns of the left side meet rows of the right one: `real[m, n] @ real[n]`",
        )
    unit = _product_unit(left, right, expression)
    element = "int" if _stays_int(left, right, "*") else "real"
    kind = TensorType((*a[:-1], *b[1:]), element, unit.unit)
    x, y = left.typed.value, right.typed.value
    if x is None or y is None:
        return computed(kind, None, found, expression)
    value = fold(lambda: constants.matrix_product(x, y), expression, context)
    return NOTHING if value is None else computed(kind, value, found, expression)


# --- units ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was found, possibly none."""

    unit: str | None


def common_unit(left: Operand, right: Operand, whole: syntax.Expr, context: Context) -> Unit | None:
    """The unit of both sides; a bare number takes the other's. None after E0401."""
    a, b = left.tensor.unit, right.tensor.unit
    if units.same(a, b):
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


def one_unit(parts: Sequence[Operand], whole: syntax.Expr, context: Context) -> Unit | None:
    """The unit of several operands that are compared or added. None after E0401."""
    found = Unit(parts[0].tensor.unit)
    reference = parts[0]
    for part in parts[1:]:
        common = common_unit(reference, part, whole, context)
        if common is None:
            return None
        if found.unit is None:
            found, reference = common, part
    return found


def _unit_help(left: Operand, right: Operand) -> str:
    for x, other in ((left, right), (right, left)):
        unit, literal = other.tensor.unit, literal_value(x.expression)
        if unit is None or literal is None or x.tensor.unit is None:
            continue
        value = units.convert(literal, x.tensor.unit, unit)
        if value is not None:
            return f"write {spelled(value)} `{unit}`, which is the same"
    a, b = left.tensor.unit, right.tensor.unit
    if a is None or b is None:
        return "a number without a unit takes the other side's; what varies has to say its own"
    factor = units.convert(Fraction(1), b, a)
    if factor is None:
        return f"`{a}` and `{b}` measure different things"
    return (
        f"units are never converted: 1 `{b}` is {spelled(factor)} `{a}`, "
        f"so multiply the right side by {spelled(factor)} `{units.quotient(a, b)}`"
    )


def literal_value(expression: syntax.Expr) -> Fraction | None:
    """The number of a literal, with its sign."""
    match expression:
        case syntax.Number(value=value):
            return value
        case syntax.Unary(operator="-", operand=syntax.Number(value=value)):
            return -value
        case _:
            return None


def spelled(value: Fraction) -> str:
    """An exact number as people write it: a decimal where it has a short one."""
    decimals = next((n for n in range(13) if 10**n % value.denominator == 0), None)
    if not decimals:
        return str(value)
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).zfill(decimals + 1)
    return "-" * (value < 0) + f"{digits[:-decimals]}.{digits[-decimals:]}"


def _product_unit(left: Operand, right: Operand, expression: syntax.Binary) -> Unit:
    """The unit of a product or quotient."""
    a, b = left.tensor.unit, right.tensor.unit
    return Unit(units.quotient(a, b) if expression.operator == "/" else units.product(a, b))


# --- powers, lists -------------------------------------------------------------------------------


def power(expression: syntax.Binary, context: Context) -> Typed:
    """`x ^ n`, for a constant whole number n."""
    found = operands([expression.left, expression.right], context)
    if found is None:
        return NOTHING
    base, exponent = found
    if _finite_integer(exponent) and base.tensor.unit is None:
        return computed(replace(base.tensor, element="real", labels=None), None, found, expression)
    n = _exponent(exponent, expression, context)
    if n is None:
        return NOTHING
    unit = fold(lambda: units.power(base.tensor.unit, n) or "", expression, context)
    if not isinstance(unit, str):
        return NOTHING
    element = base.tensor.element if n >= 0 else "real"
    kind = replace(base.tensor, element=element, unit=unit or None, labels=None)
    value = base.typed.value
    if value is None:
        return _varying_power(kind, base, n, expression, context)
    raised = fold(lambda: constants.power(value, Fraction(n)), expression, context)
    return NOTHING if raised is None else computed(kind, raised, found, expression)


def _finite_integer(x: Operand) -> bool:
    """Whether it is a whole number from a finite set, known once quantifiers are unrolled."""
    scalar_int = x.tensor.shape == () and x.tensor.element == "int" and x.tensor.unit is None
    return scalar_int and not x.varying and x.typed.value is None


def _exponent(exponent: Operand, expression: syntax.Binary, context: Context) -> int | None:
    """The exponent as a number; None after a diagnostic, or where a parameter has no value yet."""
    quoted = quote(expression.right)
    if exponent.tensor.shape != ():
        context.error("E0303", f"the exponent {quoted} must be one number", expression.right.span)
    elif exponent.tensor.unit is not None:
        message = f"the exponent {quoted} has unit `{exponent.tensor.unit}`"
        context.error("E0401", message, expression.right.span)
    elif whole(exponent.typed.value) is None:
        message = (
            f"an exponent is a constant whole number, so that results stay exact, not {quoted}"
        )
        context.error("E0312", message, expression.right.span)
    else:
        return whole(exponent.typed.value)
    return None


def _varying_power(
    kind: TensorType, base: Operand, n: int, expression: syntax.Binary, context: Context
) -> Typed:
    if abs(n) > LARGEST_POWER and base.varying:
        what = f"powers above {LARGEST_POWER} of varying values are"
        return context.later(what, expression.right.span)
    return computed(kind, None, [base], expression)


def list_of(expression: syntax.List, context: Context) -> Typed:
    """`[a, b]`: a tensor."""
    known = operands(expression.items, context)
    if known is None:
        return NOTHING
    if not known:
        return context.error("E0310", "a list needs at least one entry", expression.span)
    first = known[0]
    for item in known:
        if squeezed(item.tensor.shape) != squeezed(first.tensor.shape):
            return context.error(
                "E0310",
                f"the entries of a list have different shapes: {first.tensor} and {item.tensor}",
                item.expression.span,
                secondary=[(first.expression.span, f"is {first.tensor}")],
            )
    unit = one_unit(known, expression, context)
    if unit is None:
        return NOTHING
    element = "int" if all(item.tensor.element == "int" for item in known) else "real"
    # `[x, [1]]` is a vector, but `[[1], [2]]` a matrix of one column.
    alike = all(item.tensor.shape == first.tensor.shape for item in known)
    shape = first.tensor.shape if alike else squeezed(first.tensor.shape)
    if len(shape) >= MAX_AXES:
        message = f"a list of lists nests at most {MAX_AXES} deep"
        return context.error("E0310", message, expression.span)
    kind = TensorType((len(known), *shape), element, unit.unit)
    given = [item.typed.value for item in known if item.typed.value is not None]
    values = given if alike else [constants.scalar(value) for value in given]
    value = constants.stack(values) if len(values) == len(known) else None
    return computed(kind, value, known, expression)


def absolute(expression: syntax.Expr, inner: syntax.Expr, context: Context) -> Typed:
    """`|x|` and `abs(x)`, entry by entry."""
    x = operand(inner, context.type_of(inner), context)
    if x is None:
        return NOTHING
    value = None if x.typed.value is None else constants.apply("abs", [x.typed.value])
    return computed(x.tensor, value, [x], expression)


def binder_places(parts: Sequence[Operand]) -> list[tuple[Span, str]]:
    """Where the variables of operands are quantified."""
    found = {v.name: v.span for part in parts for v in sorted_variables(part.typed)}
    return [(span, f"`{name}` is quantified here") for name, span in found.items()]

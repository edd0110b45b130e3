"""Sets and the variables that range over them: boxes, balls, slices, ranges, binders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from specdsl.language import constants, syntax
from specdsl.language.checking.names import (
    NOTHING,
    Context,
    SetFacts,
    Typed,
    quote,
)
from specdsl.language.checking.typing_numbers import common_unit
from specdsl.language.checking.typing_operands import Operand, describe, operand, whole
from specdsl.language.checking.typing_types import as_tensor, squeezed
from specdsl.language.types import (
    INT,
    REAL,
    RecordType,
    SetType,
    TensorType,
    Type,
    UnknownType,
)

MAX_RANGE = 1_000_000


def set_of(expression: syntax.Expr, context: Context) -> Typed:
    """An expression that must be a set, directly after `in`; NOTHING after a diagnostic."""
    if isinstance(expression, syntax.List):
        return interval(expression, context)
    typed = context.type_of(expression)
    if not typed.known or isinstance(typed.type, SetType):
        return typed
    return context.error(
        "E0302",
        f"a set is needed after `in`, but {quote(expression)} is {describe(typed)}",
        expression.span,
        help="sets are spaces, regions, datasets, `box(...)`, `norm_ball(...)`, `[a, b]`, `a..b` "
        "and `one_of(...)`",
    )


def interval(expression: syntax.List, context: Context) -> Typed:
    """`[a, b]` after `in`: every real number from a to b."""
    if len(expression.items) != 2:
        return context.error(
            "E0403",
            f"an interval has two ends, not {len(expression.items)}",
            expression.span,
            help="a finite set is written `one_of(1, 2, 5)`",
        )
    ends = [operand(e, context.type_of(e), context) for e in expression.items]
    lower, upper = ends
    if lower is None or upper is None:
        return NOTHING
    for end in (lower, upper):
        if squeezed(end.tensor.shape) != ():
            message = f"an end of an interval is one number, not {end.tensor}"
            return context.error("E0303", message, end.expression.span)
    unit = common_unit(lower, upper, expression, context)
    if unit is None or not _ordered(lower, upper, expression, context):
        return NOTHING
    variables = lower.typed.variables | upper.typed.variables
    return Typed(SetType(replace(REAL, unit=unit.unit)), None, variables)


def _ordered(lower: Operand, upper: Operand, where: syntax.Expr, context: Context) -> bool:
    a, b = lower.typed.value, upper.typed.value
    if a is None or b is None:
        return True
    if not any(constants.compare_entries(">", a, b)):
        return True
    context.error(
        "E0403",
        f"the set is empty: {quote(lower.expression)} is above {quote(upper.expression)}",
        where.span,
        help="write the smaller end first",
    )
    return False


# --- built-in sets -------------------------------------------------------------------------------


def box(call: syntax.Call, arguments: Sequence[Operand], context: Context) -> Typed:
    """`box(lower, upper)`: all between, entry by entry. Two scalars take any shape."""
    lower, upper = arguments
    a, b = squeezed(lower.tensor.shape), squeezed(upper.tensor.shape)
    if a != b and () not in (a, b):
        return context.error(
            "E0303",
            f"the corners of a box have shapes {list(a)} and {list(b)}",
            call.span,
        )
    unit = common_unit(lower, upper, call, context)
    if unit is None or not _ordered(lower, upper, call, context):
        return NOTHING
    shape = lower.tensor.shape or upper.tensor.shape
    if not shape and unit.unit is not None:
        return context.later(
            "boxes of two scalars with a unit are",
            call.span,
            "leave the unit out: bare numbers take that of the other side",
        )
    element = TensorType(shape, "real", unit.unit) if shape else None
    return Typed(SetType(element), None, lower.typed.variables | upper.typed.variables)


def norm_ball(
    call: syntax.Call, center: Typed, radius: Operand, norm: Typed, context: Context
) -> Typed:
    """`norm_ball(center, radius, norm)`: the elements of the center's type at most radius away."""
    if squeezed(radius.tensor.shape) != ():
        message = f"a radius is one number, not {radius.tensor}"
        return context.error("E0303", message, radius.expression.span)
    kind = center.type
    units = _units(kind)
    if len(units) > 1:
        return _mixed_ball(call, kind, context)
    unit = next(iter(units), None)
    if radius.tensor.unit is not None and radius.tensor.unit != unit:
        message = f"the radius has unit `{radius.tensor.unit}`, the center {_unit_words(unit)}"
        return context.error("E0401", message, radius.expression.span)
    value = None if radius.typed.value is None else constants.scalar(radius.typed.value)
    if isinstance(value, Fraction) and value < 0:
        return context.error(
            "E0403", f"the ball is empty: its radius is {value}", radius.expression.span
        )
    if radius.varying:
        return context.later("radii that depend on quantified variables are", call.span)
    name = norm.value if isinstance(norm.value, str) else None
    return Typed(SetType(kind), None, center.variables, set=SetFacts(norm=name or "unknown"))


def _units(kind: Type) -> set[str | None]:
    if isinstance(kind, RecordType):
        return {field.unit for _, field in kind.fields}
    tensor = as_tensor(kind)
    return {tensor.unit if tensor else None}


def _unit_words(unit: str | None) -> str:
    return f"has `{unit}`" if unit else "has none"


def _mixed_ball(call: syntax.Call, kind: Type, context: Context) -> Typed:
    field = kind.fields[0][0] if isinstance(kind, RecordType) else "x"
    return context.error(
        "E0407",
        f"one radius cannot measure the fields of {kind}: their units differ",
        call.span,
        help=f"bound each field in `where`: `-1 <= s.{field} - c.{field} <= 1 and ...`",
    )


def intersection(expression: syntax.Binary, context: Context) -> Typed:
    """`A & B`; a set without a shape takes the other's."""
    left, right = set_of(expression.left, context), set_of(expression.right, context)
    if not (left.known and right.known):
        return left if left.known else right
    if not (isinstance(left.type, SetType) and isinstance(right.type, SetType)):
        return NOTHING
    if left.type.finite or right.type.finite:
        return context.later("intersections of finite sets are", expression.span)
    a, b = left.type.element, right.type.element
    if a is not None and b is not None and not _same_elements(a, b):
        return context.error(
            "E0303",
            f"{quote(expression.left)} holds {a}, {quote(expression.right)} holds {b}",
            expression.span,
            secondary=[
                (expression.left.span, f"{left.type}"),
                (expression.right.span, f"{right.type}"),
            ],
        )
    if a is not None and b is not None and not _units_agree(a, b, expression, context):
        return NOTHING
    if left.set.curved and right.set.curved:
        return context.later(
            "intersections of two balls that are no boxes are",
            expression.span,
            "intersect one ball with boxes",
        )
    facts = SetFacts(
        unbounded=left.set.unbounded and right.set.unbounded,
        norm=left.set.norm if left.set.curved else right.set.norm or left.set.norm,
    )
    element = a if isinstance(a, RecordType) or b is None else b
    return Typed(SetType(element), None, left.variables | right.variables, set=facts)


def _units_agree(a: Type, b: Type, whole_: syntax.Expr, context: Context) -> bool:
    x, y = as_tensor(a), as_tensor(b)
    if x is None or y is None or x.unit is None or y.unit is None or x.unit == y.unit:
        return True
    context.error("E0401", f"the sets are in `{x.unit}` and in `{y.unit}`", whole_.span)
    return False


def _same_elements(a: Type, b: Type) -> bool:
    if isinstance(a, UnknownType) or isinstance(b, UnknownType):
        return True
    if isinstance(a, RecordType) and isinstance(b, RecordType):
        return a.name == b.name
    x, y = as_tensor(a), as_tensor(b)
    return x is not None and y is not None and squeezed(x.shape) == squeezed(y.shape)


def range_of(expression: syntax.Range, context: Context) -> Typed:
    """`a..b`: the whole numbers from a to b, both included."""
    ends = [operand(e, context.type_of(e), context) for e in (expression.first, expression.last)]
    values: list[int | None] = []
    for end in ends:
        if end is None:
            return NOTHING
        if end.varying or end.tensor.shape != () or end.tensor.element != "int":
            message = f"an end of a range is a whole number, not {quote(end.expression)}"
            return context.error("E0304", message, end.expression.span)
        values.append(whole(end.typed.value))
    first, last = values
    if first is not None and last is not None:
        if first > last:
            message = f"the range is empty: {first} is above {last}"
            return context.error("E0403", message, expression.span)
        if last - first > MAX_RANGE:
            message = f"the range has more than {MAX_RANGE} members"
            return context.error("E0406", message, expression.span)
    return Typed(SetType(INT, finite=True))


def one_of(call: syntax.Call, items: Sequence[Typed], context: Context) -> Typed:
    """`one_of(a, b, c)`: exactly these."""
    if not items:
        return context.error("E0403", "the set is empty: `one_of` needs members", call.span)
    if any(item.variables for item in items):
        return context.later("sets that depend on quantified variables are", call.span)
    first = items[0].type
    tensors = [as_tensor(item.type) for item in items]
    numbers = [t for t in tensors if t is not None]
    if len(numbers) == len(items):
        shapes = {t.shape for t in numbers}
        if len(shapes) > 1:
            return context.error("E0303", "the members have different shapes", call.span)
        element = "int" if all(t.element == "int" for t in numbers) else "real"
        units = {t.unit for t in numbers}
        if len(units - {None}) > 1:
            return context.error("E0401", "the members have different units", call.span)
        unit = next(iter(units - {None}), None)
        return Typed(SetType(TensorType(numbers[0].shape, element, unit), finite=True))
    if any(item.type != first for item in items):
        return context.error("E0302", "the members are of different types", call.span)
    return Typed(SetType(first, finite=True))

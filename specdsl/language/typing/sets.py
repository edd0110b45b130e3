"""Sets: intervals, boxes, balls, intersections, ranges. They may depend on other variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from specdsl.language import constants, syntax, units
from specdsl.language.types import (
    INT,
    REAL,
    LabelType,
    RecordType,
    SetType,
    TensorType,
    Type,
    UnknownType,
)
from specdsl.language.typing.names import NOTHING, Context, SetFacts, Typed, Variable, quote
from specdsl.language.typing.numbers import common_unit
from specdsl.language.typing.operands import Operand, describe, operand, text_of, whole
from specdsl.language.typing.types import as_tensor, squeezed

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
        items = ", ".join(text_of(item) for item in expression.items)
        return context.error(
            "E0403",
            f"an interval has two ends, not {len(expression.items)}",
            expression.span,
            help=f"a finite set is written `one_of({items})`",
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


def box(
    call: syntax.Call, corners: Sequence[Operand], like: Typed | None, context: Context
) -> Typed:
    """`box(lower, upper)`: all between, entry by entry. Two scalars take any shape, or that of
    `shape =`.
    """
    lower, upper = corners
    a, b = squeezed(lower.tensor.shape), squeezed(upper.tensor.shape)
    if a != b and () not in (a, b):
        return context.error(
            "E0303",
            f"the corners of a box have shapes {list(a)} and {list(b)}",
            call.span,
            secondary=[(c.expression.span, f"is {c.tensor}") for c in corners],
        )
    unit = common_unit(lower, upper, call, context)
    if unit is None or not _ordered(lower, upper, call, context):
        return NOTHING
    shape = lower.tensor.shape or upper.tensor.shape
    variables = lower.typed.variables | upper.typed.variables
    if like is not None:
        return _shaped_box(call, shape, unit.unit, like, variables, context)
    element = TensorType(shape, "real", unit.unit) if shape else None
    facts = SetFacts(unit=None if shape else unit.unit)
    return Typed(SetType(element), None, variables, set=facts)


def _shaped_box(
    call: syntax.Call,
    shape: tuple[int, ...],
    unit: str | None,
    like: Typed,
    variables: frozenset[Variable],
    context: Context,
) -> Typed:
    tensor = as_tensor(like.type)
    if isinstance(like.type, UnknownType):
        return NOTHING
    if tensor is None:
        message = f"`shape =` takes a value to be shaped like, not something {describe(like)}"
        return context.error("E0302", message, call.span, help="for example `box(0, 1, shape = x)`")
    if shape and squeezed(shape) != squeezed(tensor.shape):
        return context.error(
            "E0303",
            f"the corners have shape {list(shape)}, what `shape =` names {list(tensor.shape)}",
            call.span,
        )
    if unit is not None and not units.same(unit, tensor.unit):
        words = f"`{tensor.unit}`" if tensor.unit else "no unit"
        message = f"the corners are in `{unit}`, what `shape =` names has {words}"
        return context.error("E0401", message, call.span)
    return Typed(SetType(like.type), None, variables)


# --- intersections -------------------------------------------------------------------------------


def intersection(expression: syntax.Binary, context: Context) -> Typed:
    """`A & B`; a set without a shape takes the other's; with a finite set it is finite."""
    left, right = set_of(expression.left, context), set_of(expression.right, context)
    if not (left.known and right.known):
        return left if left.known else right
    if not (isinstance(left.type, SetType) and isinstance(right.type, SetType)):
        return NOTHING
    if (left.set.image or right.set.image) and not (left.type.finite or right.type.finite):
        return context.later(
            "an intersection with the values of an expression is",
            expression.span,
            "put the condition on its variables: `{ f(t) for t in T where ... }`",
        )
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
    if not _units_agree(left, right, expression, context):
        return NOTHING
    return _met(left, left.type, right, right.type)


def _met(left: Typed, a: SetType, right: Typed, b: SetType) -> Typed:
    # A record carries the names of its fields, a finite set what kind its members are.
    options = [x.element for x in (a, b) if x.finite]
    options += [x for x in (a.element, b.element) if isinstance(x, RecordType)]
    options += [x for x in (a.element, b.element) if x is not None]
    unbounded = right.set.unbounded if left.set.unbounded else None
    image = left.set.image and right.set.image
    facts = SetFacts(unbounded, left.set.unit or right.set.unit, image)
    element = next((x for x in options if x is not None), None)
    finite = a.finite or b.finite
    return Typed(SetType(element, finite), None, left.variables | right.variables, set=facts)


def _units_agree(left: Typed, right: Typed, whole_: syntax.Expr, context: Context) -> bool:
    found = units.distinct(_unit(side) for side in (left, right))
    if len(found) < 2:
        return True
    message = f"the sets are in `{found[0]}` and in `{found[1]}`"
    context.error("E0401", message, whole_.span, help="bring the bounds of both to one unit")
    return False


def _unit(typed: Typed) -> str | None:
    element = typed.type.element if isinstance(typed.type, SetType) else None
    tensor = as_tensor(element) if element is not None else None
    return tensor.unit if tensor is not None else typed.set.unit


def _same_elements(a: Type, b: Type) -> bool:
    if isinstance(a, UnknownType) or isinstance(b, UnknownType):
        return True
    if isinstance(a, RecordType) and isinstance(b, RecordType):
        return a.name == b.name
    x, y = as_tensor(a), as_tensor(b)
    if x is None or y is None:
        # Whole numbers may be classes: `one_of(1, 2) & Advisory`.
        return a == b or {type(a), type(b)} == {LabelType, TensorType}
    return squeezed(x.shape) == squeezed(y.shape)


# --- finite sets ---------------------------------------------------------------------------------


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
    first = items[0].type
    variables = frozenset[Variable]().union(*(item.variables for item in items))
    numbers = [t for t in (as_tensor(item.type) for item in items) if t is not None]
    if len(numbers) == len(items) and not isinstance(first, RecordType):
        shapes = {squeezed(t.shape) for t in numbers}
        if len(shapes) > 1:
            return context.error("E0303", "the members have different shapes", call.span)
        element = "int" if all(t.element == "int" for t in numbers) else "real"
        found = units.distinct(t.unit for t in numbers)
        if len(found) > 1:
            message = f"the members have the units `{found[0]}` and `{found[1]}`"
            return context.error("E0401", message, call.span)
        kind = TensorType(numbers[0].shape, element, found[0] if found else None)
        return Typed(SetType(kind, finite=True), None, variables)
    if any(item.type != first for item in items):
        return context.error("E0302", "the members are of different types", call.span)
    return Typed(SetType(first, finite=True), None, variables)

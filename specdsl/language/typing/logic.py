"""Claims: comparisons, `and or not =>`, choice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from specdsl.language import constants, syntax
from specdsl.language.types import (
    BOOL,
    BoolType,
    FieldType,
    FunctionType,
    LabelType,
    NetworkType,
    NormType,
    RecordType,
    SetType,
    StringType,
    TensorType,
    Type,
)
from specdsl.language.typing.labels import (
    EQUALITY,
    Side,
    compare_fields,
    compare_labels,
    field_operands,
)
from specdsl.language.typing.names import NOTHING, Context, Typed, Variable, quote
from specdsl.language.typing.numbers import common_shape, common_unit
from specdsl.language.typing.operands import Operand, describe, operand, text_of
from specdsl.language.typing.types import as_tensor, fits, squeezed


def claim(expression: syntax.Expr, context: Context) -> Typed:
    """An expression that must be one truth value; NOTHING after a diagnostic."""
    return as_claim(expression, context.type_of(expression), context)


def as_claim(expression: syntax.Expr, typed: Typed, context: Context) -> Typed:
    """The same for what has been typed already."""
    if not typed.known or typed.type == BOOL:
        return typed
    if isinstance(typed.type, BoolType):
        text = text_of(expression)
        return context.error(
            "E0308",
            f"{quote(expression)} compares tensors and is one truth value for each entry",
            expression.span,
            label=f"has shape {list(typed.type.shape)}",
            help=f"say which you mean: `all({text})` or `any({text})`",
        )
    return context.error(
        "E0703",
        f"a claim that is true or false is needed here, but {quote(expression)} is "
        f"{describe(typed)}",
        expression.span,
        help="compare it with something, for example `... <= 1` or `... == y`"
        if isinstance(typed.type, TensorType | LabelType)
        else None,
    )


def negation(expression: syntax.Unary, context: Context) -> Typed:
    """`not claim`."""
    inner = claim(expression.operand, context.negated())
    if not inner.known:
        return NOTHING
    value = (not inner.value) if isinstance(inner.value, bool) else None
    return Typed(BOOL, value, inner.variables)


def connective(expression: syntax.Binary, left: Typed, context: Context) -> Typed:
    """`and`, `or`, `=>`, with the left side typed already; `context`: of the right side."""
    implies = expression.operator == "=>"
    left = as_claim(expression.left, left, context)
    right = claim(expression.right, context)
    if not (left.known and right.known):
        return NOTHING
    variables = left.variables | right.variables
    a, b = left.value, right.value
    # The value that decides alone: false for `and`, true for `or`; `a => b` is `not a or b`.
    a = (not a) if implies and isinstance(a, bool) else a
    decisive = expression.operator != "and"
    if decisive in (a, b):
        return Typed(BOOL, decisive, variables)
    value = (not decisive) if isinstance(a, bool) and isinstance(b, bool) else None
    return Typed(BOOL, value, variables)


def assuming(condition: syntax.Expr, context: Context) -> Context:
    """The context where a condition holds: it may put values inside spaces."""
    found: set[tuple[syntax.Expr, str]] = set()
    pending = [condition]
    while pending:
        match pending.pop():
            case syntax.Binary(operator="and", left=left, right=right):
                pending += [left, right]
            case syntax.Membership(element=element, set=space, negated=False):
                kind = context.type_of(space).type
                if isinstance(kind, SetType) and isinstance(kind.element, RecordType):
                    value = context.type_of(element).computed or element
                    found.add((value, kind.element.name))
            case _:
                pass
    return replace(context, assumed=context.assumed | found) if found else context


# --- choice --------------------------------------------------------------------------------------


def choice(expression: syntax.IfThenElse, context: Context) -> Typed:
    """`if c then a else b`."""
    condition = claim(expression.condition, context)
    # The condition is read both ways: it must hold for `yes`, and fail for `no`.
    claim(expression.condition, context.negated())
    yes = assuming(expression.condition, context).type_of(expression.yes)
    no = context.type_of(expression.no)
    if not (condition.known and yes.known and no.known):
        return NOTHING
    if isinstance(condition.value, bool):
        return yes if condition.value else no
    kind = _common_type(yes.type, no.type)
    if kind is None:
        return context.error(
            "E0302",
            f"the branches differ: {yes.type} and {no.type}",
            expression.span,
            secondary=[(expression.yes.span, f"{yes.type}"), (expression.no.span, f"{no.type}")],
        )
    fixed = SetType | NetworkType | FunctionType
    if condition.variables and isinstance(kind, fixed):
        return context.later(
            "a choice between sets or networks by something that varies is",
            expression.condition.span,
            "write `(c => a) and (not c => b)` for claims a and b",
        )
    kind = _branch_unit(kind, (expression.yes, yes), (expression.no, no), expression, context)
    if kind is None:
        return NOTHING
    variables = condition.variables | yes.variables | no.variables
    return Typed(kind, None, variables, computed=yes.computed or no.computed)


def _common_type(a: Type, b: Type) -> Type | None:
    if isinstance(a, SetType) and isinstance(b, SetType):
        whole = SetType(a.element or b.element, a.finite and b.finite)
        return whole if fits(a, b) else None
    if fits(a, b):
        return b
    return a if fits(b, a) else None


def _branch_unit(
    kind: Type, yes: Side, no: Side, whole: syntax.Expr, context: Context
) -> Type | None:
    """The type with the unit of both branches; None after E0401."""
    if as_tensor(kind) is None or isinstance(kind, RecordType):
        return kind
    x, y = operand(*yes, context), operand(*no, context)
    unit = common_unit(x, y, whole, context) if x and y else None
    if unit is None or not isinstance(kind, TensorType):
        return None
    return replace(kind, unit=unit.unit)


# --- comparisons ---------------------------------------------------------------------------------


def comparison(expression: syntax.Comparison, context: Context) -> Typed:
    """A chain; each neighbouring pair is compared."""
    typed = field_operands(expression.operands, context)
    parts: list[Typed] = []
    sides = zip(expression.operands, typed, strict=True)
    for symbol, (left, right) in zip(expression.operators, pairwise(sides), strict=True):
        parts.append(_pair(symbol, left, right, expression, context))
    if not all(part.known for part in parts):
        return NOTHING
    variables = frozenset[Variable]().union(*(part.variables for part in parts))
    shapes = {part.type.shape for part in parts if isinstance(part.type, BoolType)}
    if len(shapes - {()}) > 1:
        return context.error("E0303", "the comparisons have different shapes", expression.span)
    shape = max(shapes, key=len)
    values = [part.value for part in parts]
    value = all(values) if all(isinstance(v, bool) for v in values) else None
    if len(parts) == 1:
        value = parts[0].value
    return Typed(BoolType(shape), value, variables)


def _pair(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    (_, a), (_, b) = left, right
    if not (a.known and b.known):
        return NOTHING
    kinds = (a.type, b.type)
    if any(isinstance(kind, LabelType) for kind in kinds):
        return compare_labels(symbol, left, right, whole, context)
    if any(isinstance(kind, FieldType) for kind in kinds):
        return compare_fields(symbol, left, right, whole, context)
    if any(isinstance(kind, NormType | StringType | BoolType) for kind in kinds):
        return _words(symbol, left, right, whole, context)
    if symbol in EQUALITY and all(isinstance(kind, RecordType) for kind in kinds):
        return _records(left, right, whole, context)
    x, y = operand(*left, context), operand(*right, context)
    if x is None or y is None:
        return NOTHING
    return _numbers(symbol, x, y, whole, context)


def _records(left: Side, right: Side, whole: syntax.Comparison, context: Context) -> Typed:
    """Two records are compared field by field, like tensors: `all` or `any` makes them one."""
    (_, a), (_, b) = left, right
    if not fits(a.type, b.type) or not isinstance(a.type, RecordType):
        return context.error(
            "E0303",
            f"{quote(left[0])} is {describe(a)} but {quote(right[0])} is {describe(b)}",
            whole.span,
        )
    tensor = as_tensor(a.type)
    shape = squeezed(tensor.shape if tensor is not None else (a.type.size,))
    return Typed(BoolType(shape), None, a.variables | b.variables)


def _numbers(
    symbol: str, x: Operand, y: Operand, whole: syntax.Comparison, context: Context
) -> Typed:
    shape = common_shape(x, y, whole, context)
    if shape is None or common_unit(x, y, whole, context) is None:
        return NOTHING
    variables = x.typed.variables | y.typed.variables
    a, b = x.typed.value, y.typed.value
    if a is None or b is None:
        return Typed(BoolType(squeezed(shape)), None, variables)
    if squeezed(shape) != ():
        return Typed(BoolType(shape), constants.compare_entries(symbol, a, b), variables)
    truth = constants.compare(symbol, constants.scalar(a), constants.scalar(b))
    return Typed(BOOL, truth, variables)


def _words(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    (_, a), (_, b) = left, right
    if type(a.type) is not type(b.type):
        return context.error(
            "E0302",
            f"{quote(left[0])} is {describe(a)} but {quote(right[0])} is {describe(b)}",
            whole.span,
        )
    if a.variables or b.variables:
        return context.error(
            "E0302",
            "claims are not compared with `==`",
            whole.span,
            help="for claims a and b write `(a => b) and (b => a)`",
        )
    if symbol not in EQUALITY:
        message = f"{quote(left[0])} and {quote(right[0])} compare with `==` and `!=` only"
        return context.error("E0707", message, whole.span)
    if a.value is None or b.value is None:
        return Typed(BOOL)
    return Typed(BOOL, (a.value == b.value) == (symbol == "=="))

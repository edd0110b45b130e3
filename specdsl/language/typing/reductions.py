"""Functions of numbers: sums, extremes, norms, predictions. What they take and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.language import constants, syntax, units
from specdsl.language.spec import Value
from specdsl.language.types import LabelType, NormType, RecordType, TensorType, VotesType
from specdsl.language.typing.comprehensions import each_argument
from specdsl.language.typing.labels import check_label
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.numbers import absolute, computed, one_unit
from specdsl.language.typing.operands import (
    Operand,
    describe,
    fold,
    operand,
    operands,
    text_of,
)
from specdsl.language.typing.types import squeezed

Arguments = Sequence[syntax.Expr]
Apply = Callable[[syntax.Call, Arguments, Context], Typed]


# --- of any number of arguments ------------------------------------------------------------------


def reduction(function: str) -> Callable[[syntax.Call, Context], Typed]:
    """`min`, `max`, `sum`, `mean`: of all entries of all arguments, comprehensions unrolled."""

    def apply(call: syntax.Call, context: Context) -> Typed:
        given = each_argument(call, function, context)
        if given is None:
            return NOTHING
        found = [operand(expression, typed, inner) for expression, typed, inner in given.typed]
        known = [o for o in found if o is not None]
        if len(known) < len(found):
            return NOTHING
        if not known:
            return context.error("E0305", f"`{function}` needs an argument", call.span)
        unit = one_unit(known, call, context)
        if unit is None:
            return NOTHING
        whole = function != "mean" and all(o.tensor.element == "int" for o in known)
        kind = TensorType((), "int" if whole else "real", unit.unit)
        value = None
        if given.complete and all(o.typed.value is not None for o in known):
            value = _value(function, known, call, context)
            if value is None:
                return NOTHING
        return computed(_integral(kind, value), value, known, call)

    return apply


def _integral(kind: TensorType, value: Value | None) -> TensorType:
    """A constant that happens to be whole is an int, as literals are."""
    integral = isinstance(value, Fraction) and value.denominator == 1
    return replace(kind, element="int") if integral else kind


def _value(
    function: str, parts: Sequence[Operand], call: syntax.Call, context: Context
) -> Value | None:
    values = [o.typed.value for o in parts if o.typed.value is not None]
    return fold(lambda: constants.apply(function, values), call, context)


# --- of one tensor -------------------------------------------------------------------------------


def magnitude(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`abs(x)`."""
    return absolute(call, arguments[0], context)


def rectified(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`relu(x)`: `max(x, 0)`, entry by entry."""
    return _entrywise("relu", call, arguments[:1], context)


def clip(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`clip(x, low, high)`: `min(max(x, low), high)`, entry by entry, between constants."""
    found = operands(arguments, context)
    if found is None:
        return NOTHING
    _, low, high = found
    for end in (low, high):
        if squeezed(end.tensor.shape) != ():
            message = f"an end of `clip` is one number, not {end.tensor}"
            return context.error("E0303", message, end.expression.span)
        if end.varying:
            return context.error(
                "E0312",
                f"the ends of `clip` are constants, but {quote(end.expression)} varies",
                end.expression.span,
                help=f"write `min(max({text_of(arguments[0])}, {text_of(arguments[1])}), "
                f"{text_of(arguments[2])})`",
            )
    a, b = low.typed.value, high.typed.value
    if a is not None and b is not None and any(constants.compare_entries(">", a, b)):
        return context.error(
            "E0403",
            f"nothing lies between {quote(low.expression)} and {quote(high.expression)}",
            call.span,
            help="write the smaller end first",
        )
    if one_unit(found, call, context) is None:
        return NOTHING
    return _entrywise("clip", call, arguments, context)


def _entrywise(function: str, call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    found = operands(arguments, context)
    if found is None:
        return NOTHING
    kind = found[0].tensor
    if any(o.typed.value is None for o in found):
        return computed(kind, None, found, call)
    value = _value(function, found, call, context)
    return NOTHING if value is None else computed(kind, value, found, call)


def flatten(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`flatten(v)`: the entries as a vector, in row-major or packing order."""
    typed = context.type_of(arguments[0])
    if isinstance(typed.type, RecordType) and len(typed.type.fields) != 1:
        found = units.distinct(kind.unit for _, kind in typed.type.fields)
        alike = len(found) == 1 and all(kind.unit for _, kind in typed.type.fields)
        kind = TensorType((typed.type.size,), "real", found[0] if alike else None)
        return Typed(kind, None, typed.variables)
    x = operand(arguments[0], typed, context)
    if x is None:
        return NOTHING
    size = typed.type.size if isinstance(typed.type, RecordType) else constants.size(x.tensor.shape)
    value = None if typed.value is None else constants.apply("flatten", [typed.value])
    kind = replace(x.tensor, shape=(size,), labels=x.tensor.labels)
    return Typed(kind, value, typed.variables, computed=typed.computed)


def norm(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`norm(v, p)`: the l1, l2 or linf norm of all entries."""
    x = operand(arguments[0], context.type_of(arguments[0]), context)
    which = norm_name(arguments[1], context)
    if x is None or not which.known:
        return NOTHING
    kind = TensorType((), "real", x.tensor.unit)
    if x.typed.value is None or not isinstance(which.value, str):
        return computed(kind, None, [x], call)
    try:
        value = constants.norm(x.typed.value, which.value)
    except SpecError:
        return computed(kind, None, [x], call)  # irrational: known only by its square
    return computed(_integral(kind, value), value, [x], call)


def norm_name(expression: syntax.Expr, context: Context) -> Typed:
    """An expression that must be one of `l1`, `l2`, `linf`; NOTHING after a diagnostic."""
    typed = context.type_of(expression)
    if not typed.known or isinstance(typed.type, NormType):
        return typed
    return context.error(
        "E0302",
        f"the norm is one of `l1`, `l2`, `linf`, but {quote(expression)} is {describe(typed)}",
        expression.span,
    )


def dot(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`dot(a, b)`: the sum of products of the entries of two vectors."""
    found = operands(arguments, context)
    if found is None:
        return NOTHING
    a, b = found
    if len(a.tensor.shape) != 1 or a.tensor.shape != b.tensor.shape:
        return context.error(
            "E0303",
            f"`dot` takes two vectors of one size, not {a.tensor} and {b.tensor}",
            call.span,
            secondary=[(x.expression.span, f"is {x.tensor}") for x in found],
        )
    whole = all(x.tensor.element == "int" for x in found)
    unit = units.product(a.tensor.unit, b.tensor.unit)
    kind = TensorType((), "int" if whole else "real", unit)
    if a.typed.value is None or b.typed.value is None:
        return computed(kind, None, found, call)
    value = _value("dot", found, call, context)
    return NOTHING if value is None else computed(_integral(kind, value), value, found, call)


# --- predictions ---------------------------------------------------------------------------------


def _scores(function: str, expression: syntax.Expr, context: Context) -> Operand | None:
    """A vector of at least two scores; None after a diagnostic."""
    x = operand(expression, context.type_of(expression), context)
    if x is None or (len(x.tensor.shape) == 1 and x.tensor.shape[0] > 1):
        return x
    single = squeezed(x.tensor.shape) == ()
    text = text_of(expression)
    context.error(
        "E0309",
        f"`{function}` needs a vector of scores, but {quote(expression)} is {x.tensor}",
        expression.span,
        label="is one number" if single else "",
        help=f"for a single output compare it with a threshold: `{text} >= 0`"
        if single
        else f"make it a vector: `{function}(flatten({text}))`",
    )
    return None


def best(function: str) -> Apply:
    """`argmax`, `argmin`: the class whose score is strictly the best."""

    def apply(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
        votes = context.type_of(arguments[0])
        if function == "argmax" and isinstance(votes.type, VotesType):
            return Typed(LabelType(votes.type.count, votes.type.labels), None, votes.variables)
        x = _scores(function, arguments[0], context)
        if x is None:
            return NOTHING
        kind = LabelType(x.tensor.shape[0], x.tensor.labels)
        if x.typed.value is None:
            return Typed(kind, None, x.typed.variables)
        value = _value(function, [x], call, context)
        return NOTHING if value is None else Typed(kind, value)

    return apply


def margin(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`margin(v, y)`: how far the score of y lies above the best other one."""
    x = _scores("margin", arguments[0], context)
    label = context.type_of(arguments[1])
    if x is None or not label.known:
        return NOTHING
    kind = LabelType(x.tensor.shape[0], x.tensor.labels)
    if not check_label((arguments[1], label), (arguments[0], kind), context):
        return NOTHING
    if label.variables:
        return context.later(
            "the margin of a label that varies is",
            arguments[1].span,
            f"fix the label, for example `margin({text_of(arguments[0])}, 0)`",
        )
    result = TensorType((), "real", x.tensor.unit)
    scores, chosen = x.typed.value, label.value
    if scores is None or chosen is None:
        return computed(result, None, [x], call)
    value = fold(lambda: constants.apply("margin", [scores, chosen]), call, context)
    return NOTHING if value is None else computed(_integral(result, value), value, [x], call)

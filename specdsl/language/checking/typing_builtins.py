"""Functions that the language brings: what they take and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType

from specdsl.language import constants, syntax
from specdsl.language.checking.names import NOTHING, Context, Typed, quote
from specdsl.language.checking.typing_logic import check_label, claim
from specdsl.language.checking.typing_numbers import absolute
from specdsl.language.checking.typing_operands import Operand, describe, fold, operand
from specdsl.language.checking.typing_sets import box, norm_ball, one_of
from specdsl.language.checking.typing_types import as_tensor, squeezed
from specdsl.language.types import (
    BOOL,
    BoolType,
    LabelType,
    NormType,
    SetType,
    TensorType,
)

LATER_FUNCTIONS: Mapping[str, str | None] = MappingProxyType(
    {
        "norm": "bound the entries: `all(-d <= v) and all(v <= d)` says `norm(v, linf) <= d`",
        "normalized": None,
        "same_except": "write out which fields agree: `a.income == b.income and ...`",
        "replace": None,
        "paste": None,
        "fields": None,
        "always": None,
        "eventually": None,
        "until": None,
        "at": None,
        "npy": "take a sample from a dataset: `test[7].input`",
        "flatten": "declare the space's field with the shape that the network takes",
        "normalize": None,
        "softmax": "orderings are the same before softmax: compare the scores",
        "exp": None,
        "log": None,
        "sqrt": None,
        "sin": None,
        "cos": None,
        "tanh": None,
        "sigmoid": None,
        "relu": None,
        "clip": None,
        "mean": None,
        "dot": None,
    }
)
"""Functions of the language that this version cannot answer, with what to write instead."""

# Words that the named arguments of later versions use.
_LATER_ARGUMENTS = frozenset({"scale", "only", "shape"})


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """`parameters` as shown in messages; `variadic` takes any number of at least one."""

    parameters: tuple[str, ...]
    apply: Callable[[syntax.Call, list[syntax.Expr], Context], Typed]
    variadic: bool = False


def built_in(name: str, call: syntax.Call, context: Context) -> Typed:
    """Type a call of a built-in function."""
    function = BUILTINS[name]
    arguments: list[syntax.Expr] = []
    for argument in call.arguments:
        if isinstance(argument, syntax.Comprehension):
            return context.later("comprehensions are", argument.span)
        if isinstance(argument, syntax.NamedArgument):
            if argument.name in _LATER_ARGUMENTS:
                return context.later(f"`{argument.name} =` in `{name}` is", argument.span)
            return context.error(
                "E0305",
                f"`{name}` takes its arguments by position",
                argument.span,
                help=f"call it as `{_signature(name)}`",
            )
        arguments.append(argument)
    if not function.variadic and len(arguments) != len(function.parameters):
        wanted = len(function.parameters)
        return context.error(
            "E0305",
            f"`{name}` takes {wanted} argument{'s' * (wanted != 1)}, not {len(arguments)}",
            call.span,
            help=f"call it as `{_signature(name)}`",
        )
    return function.apply(call, arguments, context)


def _signature(name: str) -> str:
    return f"{name}({', '.join(BUILTINS[name].parameters)})"


# --- predictions ---------------------------------------------------------------------------------


def _scores(function: str, expression: syntax.Expr, context: Context) -> Operand | None:
    """A vector of at least two scores; None after a diagnostic."""
    x = operand(expression, context.type_of(expression), context)
    if x is None:
        return None
    if x.typed.form == "margin":
        context.later(f"`{function}` of a margin is", expression.span)
        return None
    if len(x.tensor.shape) == 1 and x.tensor.shape[0] > 1:
        return x
    context.error(
        "E0309",
        f"`{function}` needs a vector of scores, but {quote(expression)} is {x.tensor}",
        expression.span,
        label="is one number" if squeezed(x.tensor.shape) == () else "",
        help="for a single output compare it with a threshold: `net(x) >= 0`"
        if squeezed(x.tensor.shape) == ()
        else None,
    )
    return None


def _best(function: str) -> Callable[[syntax.Call, list[syntax.Expr], Context], Typed]:
    def apply(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
        x = _scores(function, arguments[0], context)
        if x is None:
            return NOTHING
        kind = LabelType(x.tensor.shape[0], x.tensor.labels)
        scores = x.typed.value
        if scores is None:
            return Typed(kind, None, x.typed.variables)
        value = fold(lambda: constants.apply(function, [scores]), call, context)
        return NOTHING if value is None else Typed(kind, value)

    return apply


def _margin(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
    x = _scores("margin", arguments[0], context)
    label = context.type_of(arguments[1])
    if x is None or not label.known:
        return NOTHING
    kind = LabelType(x.tensor.shape[0], x.tensor.labels)
    if not check_label((arguments[1], label), (arguments[0], kind), context):
        return NOTHING
    if label.variables:
        return context.later(
            "the margin of a prediction is", call.span, "fix the label: `margin(net(z), y)`"
        )
    return Typed(TensorType((), "real", x.tensor.unit), None, x.typed.variables, "margin")


# --- truth ---------------------------------------------------------------------------------------


def _truth(function: str) -> Callable[[syntax.Call, list[syntax.Expr], Context], Typed]:
    def apply(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
        typed = context.type_of(arguments[0])
        if not typed.known:
            return NOTHING
        if not isinstance(typed.type, BoolType):
            return claim(arguments[0], context)
        value = None if typed.value is None else constants.apply(function, [typed.value])
        return Typed(BOOL, value, typed.variables)

    return apply


# --- sets ----------------------------------------------------------------------------------------


def _box(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
    corners = [operand(a, context.type_of(a), context) for a in arguments]
    known = [c for c in corners if c is not None]
    return box(call, known, context) if len(known) == len(corners) else NOTHING


def _norm_ball(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
    center = context.type_of(arguments[0])
    radius = operand(arguments[1], context.type_of(arguments[1]), context)
    norm = context.type_of(arguments[2])
    if norm.known and not isinstance(norm.type, NormType):
        return context.error(
            "E0302",
            f"the norm is one of `l1`, `l2`, `linf`, but {quote(arguments[2])} is {describe(norm)}",
            arguments[2].span,
        )
    if not center.known or radius is None or not norm.known:
        return Typed(SetType(center.type))
    if as_tensor(center.type) is None and not hasattr(center.type, "fields"):
        message = f"the center is a point, but {quote(arguments[0])} is {describe(center)}"
        return context.error("E0302", message, arguments[0].span)
    return norm_ball(call, center, radius, norm, context)


def _one_of(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
    items = [context.type_of(a) for a in arguments]
    return one_of(call, items, context) if all(i.known for i in items) else NOTHING


# --- numbers -------------------------------------------------------------------------------------


def _abs(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
    return absolute(call, arguments[0], context)


def _fold_numbers(function: str) -> Callable[[syntax.Call, list[syntax.Expr], Context], Typed]:
    def apply(call: syntax.Call, arguments: list[syntax.Expr], context: Context) -> Typed:
        operands = [operand(a, context.type_of(a), context) for a in arguments]
        known = [o for o in operands if o is not None]
        if len(known) < len(operands):
            return NOTHING
        if not known:
            return context.error("E0305", f"`{function}` needs an argument", call.span)
        if any(o.varying for o in known):
            return context.later(
                f"`{function}` of quantified expressions is",
                call.span,
                "instead of `max(a, b) <= c` write `a <= c and b <= c`"
                if function != "sum"
                else None,
            )
        units = {o.tensor.unit for o in known} - {None}
        if len(units) > 1:
            return context.error(
                "E0401", f"the arguments of `{function}` differ in unit", call.span
            )
        kind = TensorType((), "real", next(iter(units), None))
        values = [o.typed.value for o in known if o.typed.value is not None]
        if len(values) < len(known):
            return Typed(kind)
        value = fold(lambda: constants.apply(function, values), call, context)
        if value is None:
            return NOTHING
        integral = isinstance(value, Fraction) and value.denominator == 1
        return Typed(replace(kind, element="int" if integral else "real"), value)

    return apply


BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "argmax": BuiltIn(("scores",), _best("argmax")),
        "argmin": BuiltIn(("scores",), _best("argmin")),
        "margin": BuiltIn(("scores", "label"), _margin),
        "all": BuiltIn(("claims",), _truth("all")),
        "any": BuiltIn(("claims",), _truth("any")),
        "box": BuiltIn(("lower", "upper"), _box),
        "norm_ball": BuiltIn(("center", "radius", "norm"), _norm_ball),
        "one_of": BuiltIn(("a", "b", "..."), _one_of, variadic=True),
        "abs": BuiltIn(("x",), _abs),
        "min": BuiltIn(("a", "b", "..."), _fold_numbers("min"), variadic=True),
        "max": BuiltIn(("a", "b", "..."), _fold_numbers("max"), variadic=True),
        "sum": BuiltIn(("tensor",), _fold_numbers("sum")),
    }
)
"""Every function that can be called without declaring it."""

FUNCTION_NAMES: tuple[str, ...] = tuple(BUILTINS)

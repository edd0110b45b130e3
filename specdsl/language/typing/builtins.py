"""Functions that the language brings: their arguments by position and by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from specdsl.diagnostics import suggestion
from specdsl.language import constants, syntax
from specdsl.language.elementary import ELEMENTARY, SOFTMAX
from specdsl.language.types import BOOL, BoolType, SetType
from specdsl.language.typing.arguments import count, not_by_comprehension, not_by_name
from specdsl.language.typing.balls import norm_ball
from specdsl.language.typing.comprehensions import each_argument
from specdsl.language.typing.elementary import elementary_function
from specdsl.language.typing.logic import as_claim
from specdsl.language.typing.names import NOTHING, Context, Typed, Variable, quote
from specdsl.language.typing.operands import operands
from specdsl.language.typing.records import (
    fields,
    normalized,
    npy,
    paste,
    replaced,
    same_except,
)
from specdsl.language.typing.reductions import (
    best,
    clip,
    dot,
    flatten,
    magnitude,
    margin,
    norm,
    rectified,
    reduction,
)
from specdsl.language.typing.sets import box, one_of
from specdsl.language.typing.smoothing import smooth
from specdsl.language.typing.temporal import at, over_steps

LATER_FUNCTIONS: Mapping[str, str | None] = MappingProxyType(
    {
        "normalize": "`normalized(a)` is a record as the network sees it",
    }
)
"""Functions of the language that this version cannot answer, with what to write instead."""

Positional = Callable[[syntax.Call, Sequence[syntax.Expr], Context], Typed]
Named = Callable[[syntax.Call, Sequence[syntax.Expr], dict[str, syntax.Expr], Context], Typed]
Whole = Callable[[syntax.Call, Context], Typed]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """`parameters` as shown in messages; `options` are given by name.

    Exactly one of the rest types a call: `positional` when all arguments are given by position (as
    many as there are parameters, unless `variadic`), `named` with options, `whole` for any form.
    """

    parameters: tuple[str, ...]
    positional: Positional | None = None
    named: Named | None = None
    whole: Whole | None = None
    options: tuple[str, ...] = ()
    variadic: bool = False


def built_in(name: str, call: syntax.Call, context: Context) -> Typed:
    """Type a call of a built-in function."""
    function = BUILTINS[name]
    if function.whole is not None:
        return function.whole(call, context)
    arguments: list[syntax.Expr] = []
    options: dict[str, syntax.Expr] = {}
    for argument in call.arguments:
        if isinstance(argument, syntax.Comprehension):
            instead = f"call it as `{_signature(name)}`;"
            not_by_comprehension(argument, name, context, instead)
            return NOTHING
        if isinstance(argument, syntax.NamedArgument):
            if not _option(name, argument, options, context):
                return NOTHING
        else:
            arguments.append(argument)
    if not function.variadic and len(arguments) != len(function.parameters):
        return context.error(
            "E0305",
            f"`{name}` takes {count(len(function.parameters))}, not {len(arguments)}",
            call.span,
            help=f"call it as `{_signature(name)}`",
        )
    if function.named is not None:
        return function.named(call, arguments, options, context)
    return function.positional(call, arguments, context) if function.positional else NOTHING


def _option(
    name: str, argument: syntax.NamedArgument, options: dict[str, syntax.Expr], context: Context
) -> bool:
    known = BUILTINS[name].options
    if not known:
        not_by_name(argument, name, context, help=f"call it as `{_signature(name)}`")
    elif argument.name not in known:
        context.error(
            "E0802",
            f"`{name}` has no option `{argument.name}`",
            argument.span,
            label=suggestion(argument.name, known) or "",
            help="known: " + ", ".join(f"`{option}`" for option in known),
        )
    elif argument.name in options:
        first = [(options[argument.name].span, "first given here")]
        message = f"`{argument.name}` is given twice"
        context.error("E0803", message, argument.span, secondary=first)
    else:
        options[argument.name] = argument.value
        return True
    return False


def _signature(name: str) -> str:
    return f"{name}({', '.join(BUILTINS[name].parameters)})"


# --- truth, sets ---------------------------------------------------------------------------------


def _truth(function: str) -> Whole:
    """`all`, `any`: of the entries of comparisons of tensors, or of claims."""

    def apply(call: syntax.Call, context: Context) -> Typed:
        given = each_argument(call, function, context)
        if given is None:
            return NOTHING
        if not given.typed:
            message = f"`{function}` needs an argument"
            return context.error("E0305", message, call.span, help=f"`{_signature(function)}`")
        found = [
            typed if isinstance(typed.type, BoolType) else as_claim(expression, typed, inner)
            for expression, typed, inner in given.typed
        ]
        if not all(typed.known for typed in found):
            return NOTHING
        variables = frozenset[Variable]().union(*(typed.variables for typed in found))
        values = [typed.value for typed in found if typed.value is not None]
        complete = given.complete and len(values) == len(found)
        return Typed(BOOL, constants.apply(function, values) if complete else None, variables)

    return apply


def _box(
    call: syntax.Call,
    arguments: Sequence[syntax.Expr],
    options: dict[str, syntax.Expr],
    context: Context,
) -> Typed:
    corners = operands(arguments, context)
    like = context.type_of(options["shape"]) if "shape" in options else None
    return NOTHING if corners is None else box(call, corners, like, context)


def _one_of(call: syntax.Call, context: Context) -> Typed:
    given = each_argument(call, "one_of", context)
    if given is None:
        return NOTHING
    items = [typed for _, typed, _ in given.typed]
    if not all(item.known for item in items):
        return NOTHING
    if any(isinstance(item.type, SetType) for item in items):
        place = next(e for e, typed, _ in given.typed if isinstance(typed.type, SetType))
        message = f"`one_of` lists values, but {quote(place)} is a set"
        return context.error("E0302", message, place.span, help="a set stands alone after `in`")
    return one_of(call, items, context)


_ANY = ("a", "b", "...")

BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "argmax": BuiltIn(("scores",), best("argmax")),
        "argmin": BuiltIn(("scores",), best("argmin")),
        "margin": BuiltIn(("scores", "label"), margin),
        "smooth": BuiltIn(("network", "sigma"), smooth),
        "all": BuiltIn(("claims",), whole=_truth("all")),
        "any": BuiltIn(("claims",), whole=_truth("any")),
        "box": BuiltIn(("lower", "upper"), named=_box, options=("shape",)),
        "norm_ball": BuiltIn(
            ("center", "radius", "norm"), named=norm_ball, options=("scale", "only")
        ),
        "one_of": BuiltIn(_ANY, whole=_one_of),
        "abs": BuiltIn(("x",), magnitude),
        "relu": BuiltIn(("x",), rectified),
        "clip": BuiltIn(("x", "low", "high"), clip),
        "min": BuiltIn(_ANY, whole=reduction("min")),
        "max": BuiltIn(_ANY, whole=reduction("max")),
        "sum": BuiltIn(("tensor",), whole=reduction("sum")),
        "mean": BuiltIn(("tensor",), whole=reduction("mean")),
        **{
            name: BuiltIn(("scores" if name == SOFTMAX else "x",), elementary_function(name))
            for name in ELEMENTARY
        },
        "norm": BuiltIn(("tensor", "norm"), norm),
        "dot": BuiltIn(("a", "b"), dot),
        "flatten": BuiltIn(("tensor",), flatten),
        "fields": BuiltIn(("space",), fields),
        "same_except": BuiltIn(("a", "b", "field", "..."), same_except, variadic=True),
        "replace": BuiltIn(("record", "field = value"), whole=replaced),
        "normalized": BuiltIn(("record",), normalized),
        "paste": BuiltIn(("image", "patch", "row", "column"), paste),
        "npy": BuiltIn(("file",), npy),
        "always": BuiltIn(("a..b", "claim"), over_steps("always")),
        "eventually": BuiltIn(("a..b", "claim"), over_steps("eventually")),
        "until": BuiltIn(("a..b", "before", "then"), over_steps("until")),
        "at": BuiltIn(("step", "value"), at),
    }
)
"""Every function that can be called without declaring it."""

FUNCTION_NAMES: tuple[str, ...] = tuple(BUILTINS)

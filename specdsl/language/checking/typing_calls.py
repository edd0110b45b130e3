"""Calls: users' functions, regions and properties (typed anew at each call), networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from specdsl.language import syntax
from specdsl.language.checking.names import (
    MAX_CALL_DEPTH,
    MAX_INSTANTIATIONS,
    NOTHING,
    CallSite,
    Context,
    Definition,
    Symbol,
    Typed,
    quote,
)
from specdsl.language.checking.typing_builtins import BUILTINS, LATER_FUNCTIONS, built_in
from specdsl.language.checking.typing_operands import describe
from specdsl.language.checking.typing_types import as_tensor, fits, resolve, squeezed
from specdsl.language.spec import Value
from specdsl.language.types import (
    BoolType,
    FunctionType,
    LabelType,
    NetworkType,
    RecordType,
    TensorType,
    Type,
    UnknownType,
)
from specdsl.source import Span

Argument = tuple[syntax.Expr, Typed]


def call(expression: syntax.Call, context: Context) -> Typed:
    """`function(arguments)`."""
    function = expression.function
    if isinstance(function, syntax.Name):
        symbol = context.lookup(function.name)
        if symbol is None:
            return _undeclared(expression, function, context)
        if symbol.function is not None and isinstance(symbol.typed.type, FunctionType):
            arguments = positional(expression, symbol.name, context)
            return (
                NOTHING
                if arguments is None
                else instantiate(symbol, arguments, expression, context)
            )
        return _apply(expression, symbol.typed, symbol, context)
    return _apply(expression, context.type_of(function), None, context)


def _undeclared(expression: syntax.Call, function: syntax.Name, context: Context) -> Typed:
    name = function.name
    if name in BUILTINS:
        return built_in(name, expression, context)
    if name in LATER_FUNCTIONS:
        return context.later(f"`{name}` is", expression.span, LATER_FUNCTIONS[name])
    visit_arguments(expression, context)
    return context.unknown_name(name, function.span, [*BUILTINS, *LATER_FUNCTIONS])


def visit_arguments(expression: syntax.Call, context: Context) -> None:
    """Type the arguments for their own sake, so that their names are checked."""
    for argument in expression.arguments:
        if isinstance(argument, syntax.NamedArgument):
            context.type_of(argument.value)
        elif not isinstance(argument, syntax.Comprehension):
            context.type_of(argument)


def positional(expression: syntax.Call, name: str, context: Context) -> list[Argument] | None:
    """The arguments, all by position; None after a diagnostic."""
    result: list[Argument] = []
    for argument in expression.arguments:
        if isinstance(argument, syntax.NamedArgument):
            context.error(
                "E0305",
                f"`{name}` takes its arguments by position",
                argument.span,
                help=f"write {quote(argument.value)} alone",
            )
            return None
        if isinstance(argument, syntax.Comprehension):
            context.later("comprehensions are", argument.span)
            return None
        result.append((argument, context.type_of(argument)))
    return result


# --- users' functions ----------------------------------------------------------------------------


def instantiate(
    symbol: Symbol, arguments: Sequence[Argument], where: syntax.Expr, context: Context
) -> Typed:
    """Type the body of `symbol` with the arguments' types; problems point into the body."""
    definition = symbol.function
    if definition is None or not _arguments_fit(symbol, definition, arguments, where, context):
        return NOTHING
    session = context.session
    key = _key(symbol, arguments, context)
    if key in session.instances:
        return session.instances[key]
    session.instantiations += 1
    if len(context.calls) >= MAX_CALL_DEPTH or session.instantiations > MAX_INSTANTIATIONS:
        return context.error("E0205", f"calls of {quote(where)} nest too deeply", where.span)
    bound = {
        parameter.name: Symbol(parameter.name, "argument", parameter.span, typed)
        for parameter, (_, typed) in zip(definition.parameters, arguments, strict=True)
    }
    site = CallSite(symbol.name, where.span)
    inner = replace(context, locals={**definition.closure, **bound}, calls=(*context.calls, site))
    result = definition.body(inner)
    session.instances[key] = result
    return result


def _arguments_fit(
    symbol: Symbol,
    definition: Definition,
    arguments: Sequence[Argument],
    where: syntax.Expr,
    context: Context,
) -> bool:
    parameters = definition.parameters
    if len(parameters) != len(arguments):
        names = ", ".join(p.name for p in parameters)
        context.error(
            "E0305",
            f"`{symbol.name}` takes {count(len(parameters))}, not {len(arguments)}",
            where.span,
            secondary=[(symbol.span, "declared here")],
            help=f"call it as `{symbol.name}({names})`",
        )
        return False
    fine = True
    for parameter, (expression, typed) in zip_longest(parameters, arguments):
        if isinstance(typed.type, BoolType) and typed.value is None:
            # Its quantifiers would have to be read under the negations inside the function.
            context.later("claims as arguments are", expression.span)
            fine = False
        elif parameter.type is not None:
            wanted = resolve(parameter.type, replace(context, locals={}))
            fine = accepts(wanted, (expression, typed), f"`{parameter.name}`", context) and fine
    return fine


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
    if a and b and a.unit != b.unit and not (a.unit is None and not typed.variables):
        unit = f"unit `{a.unit}`" if a.unit else "no unit"
        other = f"unit `{b.unit}`" if b.unit else "no unit"
        message = f"{name} has {other}, but {quote(expression)} has {unit}"
        context.error("E0401", message, expression.span)
        return False
    return True


def count(number: int) -> str:
    """`1 argument`, `2 arguments`."""
    return f"{number} argument" + ("" if number == 1 else "s")


def _key(symbol: Symbol, arguments: Sequence[Argument], context: Context) -> object:
    """What decides the outcome: arguments, names seen from around a local function, place."""
    closure = symbol.function.closure if symbol.function else {}
    around = tuple((name, _facts(other.typed)) for name, other in sorted(closure.items()))
    given = tuple(_facts(typed) for _, typed in arguments)
    quantifier = context.quantifier.kind if context.quantifier else None
    return (symbol.span, given, around, quantifier, context.positive, context.answering)


def _facts(typed: Typed) -> object:
    value = _hashable(typed.value)
    return (typed.type, value, typed.variables, typed.form, typed.external, typed.set)


def _hashable(value: Value | None) -> object:
    if isinstance(value, np.ndarray):
        return (value.shape, tuple(value.reshape(-1)))
    return (type(value), value)


# --- networks ------------------------------------------------------------------------------------


def _apply(expression: syntax.Call, typed: Typed, symbol: Symbol | None, context: Context) -> Typed:
    if isinstance(typed.type, NetworkType):
        return _network(expression, typed, typed.type, symbol, context)
    visit_arguments(expression, context)
    if not typed.known:
        return NOTHING
    declared = [(symbol.span, f"{symbol.kind} declared here")] if symbol else []
    what = symbol.description if symbol else quote(expression.function)
    return context.error(
        "E0307",
        f"{what} cannot be called",
        expression.span,
        secondary=declared,
        help=f"write {quote(expression.function)} alone" if symbol else None,
    )


def _network(
    expression: syntax.Call,
    typed: Typed,
    kind: NetworkType,
    symbol: Symbol | None,
    context: Context,
) -> Typed:
    name = quote(expression.function)
    declared = [(symbol.span, f"{name} declared here")] if symbol else []
    arguments = positional(expression, name.strip("`"), context)
    if arguments is None:
        return NOTHING
    if len(arguments) != 1:
        message = f"{name} takes one input, not {len(arguments)}"
        return context.error("E0305", message, expression.span, secondary=declared)
    if typed.untrained is not None and context.answering:
        context.error(
            "E0901",
            "layers without weights are not supported yet: they need training",
            typed.untrained,
            secondary=[(expression.span, f"{name} is used here")],
            help="give `weight = [[...]]` and `bias = [...]`, or load the network with `onnx(...)`",
        )
    ((given, argument),) = arguments
    if not argument.known:
        return Typed(kind.output)
    if not _input_fits(given, argument, kind.input, name, declared, context):
        return Typed(kind.output, None, argument.variables)
    return Typed(kind.output, None, argument.variables)


def _input_fits(
    given: syntax.Expr,
    argument: Typed,
    wanted: Type,
    name: str,
    declared: list[tuple[Span, str]],
    context: Context,
) -> bool:
    if argument.form == "margin" or isinstance(argument.type, LabelType):
        message = f"{name} takes {wanted} but {quote(given)} is {describe(argument)}"
        context.error("E0301", message, given.span, secondary=declared)
        return False
    if not fits(argument.type, wanted):
        message = f"{name} takes {_spelled(wanted)} but {quote(given)} is {_spelled(argument.type)}"
        context.error(
            "E0301",
            message,
            given.span,
            secondary=declared,
            help=_input_help(argument.type, wanted),
        )
        return False
    return accepts(wanted, (given, argument), f"the input of {name}", context)


def _spelled(kind: Type) -> str:
    tensor = as_tensor(kind)
    if isinstance(kind, RecordType) and tensor is not None:
        return f"{kind} ({tensor})"
    return str(kind)


def _input_help(given: Type, wanted: Type) -> str | None:
    a, b = as_tensor(given), as_tensor(wanted)
    if a is None or b is None:
        if isinstance(wanted, RecordType):
            return f"quantify over the space: `forall s in {wanted.name}`"
        return None
    sizes = int(np.prod(squeezed(a.shape))), int(np.prod(squeezed(b.shape)))
    if sizes[0] == sizes[1] and isinstance(given, RecordType | TensorType):
        shape = ", ".join(map(str, a.shape))
        return f"both have {sizes[0]} entries: declare the network's input as `real[{shape}]`"
    return None

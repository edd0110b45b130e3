"""Calls: users' functions, regions and properties (typed anew at each call), networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from specdsl.language import syntax
from specdsl.language.spec import Value
from specdsl.language.types import BoolType, FunctionType, NetworkType, VotesType
from specdsl.language.typing.arguments import count, not_by_comprehension, not_by_name
from specdsl.language.typing.builtins import BUILTINS, LATER_FUNCTIONS, built_in
from specdsl.language.typing.fit import Argument, accepts
from specdsl.language.typing.names import (
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
from specdsl.language.typing.networks import call_network, hidden
from specdsl.language.typing.types import resolve


def call(expression: syntax.Call, context: Context) -> Typed:
    """`function(arguments)`."""
    function = expression.function
    if isinstance(function, syntax.Name):
        symbol = context.lookup(function.name)
        if symbol is None:
            return _undeclared(expression, function, context)
        if symbol.function is not None and isinstance(symbol.typed.type, FunctionType):
            arguments = positional(expression, symbol.name, context)
            if arguments is None:
                return NOTHING
            return instantiate(symbol, arguments, expression, context)
        return _apply(expression, symbol.typed, symbol, context)
    if isinstance(function, syntax.Attribute) and function.name == "hidden":
        base = context.type_of(function.base)
        if isinstance(base.type, NetworkType):
            if isinstance(base.type.output, VotesType):
                message = f"{quote(function.base)} is smoothed: only its class is known"
                help = "ask the network itself for hidden values"
                return context.error("E0315", message, function.base.span, help=help)
            arguments = positional(expression, "hidden", context)
            return NOTHING if arguments is None else hidden(expression, base, arguments, context)
    return _apply(expression, context.type_of(function), None, context)


def _undeclared(expression: syntax.Call, function: syntax.Name, context: Context) -> Typed:
    name = function.name
    if name in BUILTINS:
        return built_in(name, expression, context)
    if name in LATER_FUNCTIONS:
        return context.later(f"`{name}` is", expression.span, LATER_FUNCTIONS[name])
    _visit_arguments(expression, context)
    return context.unknown_name(name, function.span, [*BUILTINS, *LATER_FUNCTIONS])


def _visit_arguments(expression: syntax.Call, context: Context) -> None:
    """Type the arguments for their own sake, so that their names are checked."""
    for argument in expression.arguments:
        if isinstance(argument, syntax.NamedArgument):
            context.type_of(argument.value)
        elif not isinstance(argument, syntax.Comprehension):
            _argument(argument, context)


def _apply(expression: syntax.Call, typed: Typed, symbol: Symbol | None, context: Context) -> Typed:
    if isinstance(typed.type, NetworkType):
        name = quote(expression.function).strip("`")
        arguments = positional(expression, name, context)
        if arguments is None:
            return NOTHING
        return call_network(expression, typed, arguments, symbol, context)
    _visit_arguments(expression, context)
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


# --- arguments -----------------------------------------------------------------------------------


def positional(expression: syntax.Call, name: str, context: Context) -> list[Argument] | None:
    """The arguments, all by position; None after a diagnostic."""
    result: list[Argument] = []
    for argument in expression.arguments:
        if isinstance(argument, syntax.NamedArgument):
            not_by_name(argument, name, context)
            return None
        if isinstance(argument, syntax.Comprehension):
            instead = "functions of the language take them:"
            not_by_comprehension(argument, name, context, instead)
            return None
        result.append((argument, _argument(argument, context)))
    return result


def _argument(expression: syntax.Expr, context: Context) -> Typed:
    """An argument may be a function; the quantifiers of a claim are looked at where it is used."""
    if isinstance(expression, syntax.Name):
        symbol = context.lookup(expression.name)
        if symbol is not None and isinstance(symbol.typed.type, FunctionType):
            return symbol.typed
    return replace(context, quantifier=None).type_of(expression)


def _bound(parameter: syntax.Parameter, argument: Argument, context: Context) -> Symbol:
    """The name in the body; a claim is handed over as it is written, not as a truth value."""
    expression, typed = argument
    definition: Definition | None = None
    if isinstance(typed.type, FunctionType) and isinstance(expression, syntax.Name):
        symbol = context.lookup(expression.name)
        definition = symbol.function if symbol else None
    elif isinstance(typed.type, BoolType) and typed.value is None:

        def body(inner: Context) -> Typed:
            return inner.type_of(expression)

        definition = Definition(parameter.name, expression.span, (), body, context.locals)
    return Symbol(parameter.name, "argument", parameter.span, typed, definition)


# --- users' functions ----------------------------------------------------------------------------


def instantiate(
    symbol: Symbol, arguments: Sequence[Argument], where: syntax.Expr, context: Context
) -> Typed:
    """Type the body of `symbol` with the arguments' types; problems point into the body."""
    definition = symbol.function
    if definition is None or not _arguments_fit(symbol, definition, arguments, where, context):
        return NOTHING
    bound = {
        parameter.name: _bound(parameter, argument, context)
        for parameter, argument in zip(definition.parameters, arguments, strict=True)
    }
    session = context.session
    key = _key(definition, bound, context)
    if key is not None and key in session.instances:
        return session.instances[key]
    session.instantiations += 1
    if len(context.calls) >= MAX_CALL_DEPTH or session.instantiations > MAX_INSTANTIATIONS:
        return context.error("E0205", f"calls of {quote(where)} nest too deeply", where.span)
    site = CallSite(symbol.name, where.span)
    inner = replace(context, locals={**definition.closure, **bound}, calls=(*context.calls, site))
    result = definition.body(inner)
    if key is not None:
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
        if parameter.type is not None:
            wanted = resolve(parameter.type, replace(context, locals={}))
            fine = accepts(wanted, (expression, typed), f"`{parameter.name}`", context) and fine
    return fine


def _key(definition: Definition, bound: dict[str, Symbol], context: Context) -> object | None:
    """What decides the outcome: arguments, names seen from around a local function, place.

    None where functions or claims were handed over: what those depend on is not worth comparing.
    """
    seen = [*bound.values(), *definition.closure.values()]
    if any(symbol.kind == "argument" and symbol.function is not None for symbol in seen):
        return None
    around = tuple(
        (name, _facts(other.typed)) for name, other in sorted(definition.closure.items())
    )
    given = tuple(_facts(symbol.typed) for symbol in bound.values())
    quantifier = context.quantifier.kind if context.quantifier else None
    # A file that is imported twice has each of its functions twice at one place.
    which = (definition.name, definition.origin)
    place = (quantifier, context.positive, context.temporal, context.assumed)
    return (which, given, around, place)


def _facts(typed: Typed) -> object:
    origin = (typed.external, typed.written, typed.computed)
    return (typed.type, _hashable(typed.value), typed.variables, origin, typed.set)


def _hashable(value: Value | None) -> object:
    if isinstance(value, np.ndarray):
        return (value.shape, tuple(value.reshape(-1)))
    return (type(value), value)

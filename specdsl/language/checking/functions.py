"""`let`, `region` and `property`: bodies are typed once in general and again at each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from specdsl.language import syntax
from specdsl.language.checking.names import NOTHING, Context, Definition, Symbol, Typed, quote
from specdsl.language.checking.typing_binders import destructure, quantify
from specdsl.language.checking.typing_calls import accepts
from specdsl.language.checking.typing_logic import claim
from specdsl.language.checking.typing_operands import describe
from specdsl.language.checking.typing_types import resolve
from specdsl.language.types import BOOL, BoolType, FunctionType, SetType, UnknownType
from specdsl.source import Span


def let(item: syntax.Let, context: Context) -> list[Symbol]:
    """The symbols of a `let`: a value, a function, or the parts of a tuple."""
    if item.parameters is not None:
        body = _function_body(item)
        return [_function("function", item.names[0], item, item.parameters, body, context)]
    typed = context.type_of(item.value)
    name, *others = item.names
    if item.type is not None and typed.known:
        wanted = resolve(item.type, context)
        if not accepts(wanted, (item.value, typed), f"`{name}`", context):
            typed = NOTHING
        elif not isinstance(wanted, UnknownType):
            typed = replace(typed, type=wanted)
    if isinstance(typed.type, BoolType) and typed.value is None:
        # A claim may hold quantifiers, whose meaning depends on the negations around its use.
        body = _function_body(item)
        definition = Definition((), body, context.locals)
        return [Symbol(name, "value", let_span(item), typed, definition)]
    if others:
        return destructure(item.names, item, typed, context)
    if isinstance(typed.type, SetType) and not typed.type.finite:
        typed = context.later("`let` of a set is", item.value.span, f"write `region {name} = ...`")
    return [Symbol(name, "value", let_span(item), typed)]


def let_span(item: syntax.Let) -> Span:
    """Where the first name stands: a `let` keeps only its own span."""
    text = item.span.text
    offset = text.find(item.names[0], len("let"))
    start = item.span.start + max(offset, 0)
    return replace(item.span, start=start, end=start + len(item.names[0]))


def _function_body(item: syntax.Let) -> Callable[[Context], Typed]:
    def body(context: Context) -> Typed:
        typed = context.type_of(item.value)
        if item.type is not None and typed.known:
            wanted = resolve(item.type, replace(context, locals={}))
            accepts(wanted, (item.value, typed), "the result", context)
        return typed

    return body


def region(item: syntax.Region, context: Context) -> Symbol:
    """A region: a set, or a function that gives one."""

    def body(inner: Context) -> Typed:
        typed = inner.type_of(item.value)
        if not typed.known or isinstance(typed.type, SetType):
            return typed
        return inner.error(
            "E0302",
            f"a region is a set, but {quote(item.value)} is {describe(typed)}",
            item.value.span,
            help="sets are spaces, `box(...)`, `norm_ball(...)` and their intersections with `&`",
        )

    if item.parameters is not None:
        return _function("region", item.name, item, item.parameters, body, context)
    return Symbol(item.name, "region", item.name_span, body(context))


def property_(item: syntax.Property, context: Context) -> Symbol:
    """A property: a claim, or a function that gives one."""

    def body(inner: Context) -> Typed:
        if item.value is not None:
            return claim(item.value, inner)
        return _clauses(item, inner)

    parameters = item.parameters or ()
    symbol = _function("property", item.name, item, parameters, body, context)
    return symbol if item.parameters is not None else replace(symbol, typed=Typed(BOOL))


def _function(
    kind: Literal["function", "region", "property"],
    name: str,
    item: syntax.Node,
    parameters: Sequence[syntax.Parameter],
    body: Callable[[Context], Typed],
    context: Context,
) -> Symbol:
    """The symbol of a function, after its body was typed with parameters of any type."""
    span = item.name_span if isinstance(item, syntax.Declaration) else None
    span = span or (let_span(item) if isinstance(item, syntax.Let) else item.span)
    seen: set[str] = set()
    general: list[Symbol] = []
    for parameter in parameters:
        if parameter.name in seen:
            message = f"`{parameter.name}` stands twice among the parameters of `{name}`"
            context.error("E0202", message, parameter.span)
        seen.add(parameter.name)
        typed = NOTHING
        if parameter.type is not None:
            typed = Typed(resolve(parameter.type, context))
        general.append(Symbol(parameter.name, "argument", parameter.span, typed))
    body(context.bind(general))
    definition = Definition(tuple(parameters), body, context.locals)
    typed = Typed(FunctionType(kind, name, tuple(p.name for p in parameters)))
    return Symbol(name, kind, span, typed, definition)


# --- property blocks -----------------------------------------------------------------------------


def _clauses(item: syntax.Property, context: Context) -> Typed:
    """The clauses in order; each sees the names of those before it."""
    quantified: str | None = None
    shown: syntax.ShowClause | None = None
    result = NOTHING
    for clause in item.clauses:
        if shown is not None:
            _after_show(clause, shown, context)
            break
        match clause:
            case syntax.QuantifierClause():
                context = quantify(clause.kind, clause.binders, clause, context)
                quantified = clause.kind
            case syntax.WhereClause():
                _where(clause, quantified, context)
            case syntax.ShowClause():
                shown = clause
                result = claim(clause.claim, context)
            case syntax.Let():
                context = context.bind(let(clause, context))
    if shown is None:
        context.error(
            "E0701",
            f"the property `{item.name}` shows nothing",
            item.name_span,
            help="end it with `show` and the claim, for example `show argmax(net(x)) == y`",
        )
    return Typed(BOOL) if result.known else NOTHING


def _where(clause: syntax.WhereClause, quantified: str | None, context: Context) -> None:
    if quantified is None:
        context.error(
            "E0704",
            "`where` stands before any `forall` or `exists`",
            clause.span,
            help="put it after the variables that it restricts",
        )
        return
    claim(clause.condition, context.negated() if quantified == "forall" else context)


def _after_show(clause: syntax.Clause, shown: syntax.ShowClause, context: Context) -> None:
    context.error(
        "E0704",
        "nothing may follow `show` in a property",
        clause.span,
        secondary=[(shown.span, "the claim is here")],
        help="join several claims with `and`",
    )

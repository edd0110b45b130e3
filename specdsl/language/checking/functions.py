"""`let`, `region` and `property`: bodies are typed once in general and again at each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from specdsl.language import syntax
from specdsl.language.modules.namespaces import own_name
from specdsl.language.types import (
    BOOL,
    BoolType,
    FunctionType,
    RecordType,
    SetType,
    TensorType,
    UnknownType,
)
from specdsl.language.typing.binders import destructure, quantify_each
from specdsl.language.typing.fit import accepts
from specdsl.language.typing.logic import assuming, claim
from specdsl.language.typing.names import NOTHING, Context, Definition, Symbol, Typed, quote
from specdsl.language.typing.operands import describe, text_of
from specdsl.language.typing.types import resolve
from specdsl.source import Span


def let(item: syntax.Let, context: Context) -> list[Symbol]:
    """The symbols of a `let`: a value, a function, or the parts of a tuple."""
    if item.parameters is not None:
        body = _function_body(item)
        return [_function("function", item.names[0], item, item.parameters, body, context)]
    # Quantifiers and states of systems in it are looked at where it is used.
    aside = replace(context, quantifier=None, temporal=True)
    typed = _annotated(item, aside.type_of(item.value), context)
    name, *others = item.names
    if isinstance(typed.type, BoolType) and typed.value is None:
        # A claim may hold quantifiers, whose meaning depends on the negations around its use.
        body = _function_body(item)
        definition = Definition(name, let_span(item), (), body, context.locals)
        return [Symbol(name, "value", let_span(item), typed, definition)]
    if others:
        return destructure(item.names, item, typed, context)
    return [Symbol(name, "value", let_span(item), typed)]


def _annotated(item: syntax.Let, typed: Typed, context: Context) -> Typed:
    """The value with the type that the `let` declares; an array from a file has to have one."""
    name = item.names[0]
    unread = isinstance(typed.type, UnknownType) and bool(typed.type.reason)
    if item.type is None:
        if unread and not typed.variables and _is_array(item.value):
            return context.error(
                "E0314",
                f"the shape of `{name}` is not known before its file is read",
                item.value.span,
                help=f"say its type: `let {name}: real[28, 28] = {text_of(item.value)}`",
            )
        return typed
    wanted = resolve(item.type, context)
    if isinstance(wanted, UnknownType):
        return NOTHING
    if not accepts(wanted, (item.value, typed), f"`{name}`", context):
        return Typed(wanted)
    return replace(typed, type=wanted)


def _is_array(expression: syntax.Expr) -> bool:
    function = expression.function if isinstance(expression, syntax.Call) else None
    return isinstance(function, syntax.Name) and function.name == "npy"


def let_span(item: syntax.Let) -> Span:
    """Where the first name stands: a `let` keeps only its own span."""
    text, name = item.span.text, own_name(item.names[0])
    offset = text.find(name, len("let"))
    start = item.span.start + max(offset, 0)
    return replace(item.span, start=start, end=start + len(name))


def _function_body(item: syntax.Let) -> Callable[[Context], Typed]:
    def body(context: Context) -> Typed:
        typed = context.type_of(item.value)
        if item.type is not None and typed.known:
            wanted = resolve(item.type, replace(context, locals={}))
            fine = accepts(wanted, (item.value, typed), "the result", context)
            if not fine or isinstance(wanted, TensorType | RecordType):
                return replace(typed, type=wanted)
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
    # Whether it stands inside `always` is seen where it is used.
    body(replace(context.bind(general), temporal=True))
    definition = Definition(name, span, tuple(parameters), body, context.locals)
    typed = Typed(FunctionType(kind, name, tuple(p.name for p in parameters)))
    return Symbol(name, kind, span, typed, definition)


# --- property blocks -----------------------------------------------------------------------------


def _clauses(item: syntax.Property, context: Context) -> Typed:
    """The clauses in order; each sees the names of those before it."""
    shown = [clause for clause in item.clauses if isinstance(clause, syntax.ShowClause)]
    if shown:
        first = item.clauses.index(shown[0])
        for clause in item.clauses[first + 1 : first + 2]:
            _after_show(clause, shown[0], context)
        found = _walk(item.clauses[: first + 1], None, context)
        quantified = [c for c in item.clauses if isinstance(c, syntax.QuantifierClause)]
        bound = {name for c in quantified for binder in c.binders for name in binder.names}
        free = frozenset(v for v in found.variables if v.name not in bound)
        return Typed(BOOL, None, free) if found.known else NOTHING
    _walk(item.clauses, None, context)
    context.error(
        "E0701",
        f"the property `{item.name}` shows nothing",
        item.name_span,
        help="end it with `show` and the claim, for example `show argmax(net(x)) == y`",
    )
    return NOTHING


def _walk(clauses: Sequence[syntax.Clause], quantified: str | None, context: Context) -> Typed:
    """What the last clause claims. `quantified`: the quantifier that a `where` belongs to."""
    if not clauses:
        return NOTHING
    clause, rest = clauses[0], clauses[1:]
    match clause:
        case syntax.QuantifierClause():
            limited = any(isinstance(c, syntax.WhereClause) for c in rest)
            contexts = quantify_each(
                clause.kind, clause.binders, clause, context, conditioned=limited
            )
            found = [_walk(rest, clause.kind, inner) for inner in contexts]
            return found[0] if all(typed.known for typed in found) else NOTHING
        case syntax.WhereClause():
            return _walk(rest, quantified, _where(clause, quantified, context))
        case syntax.ShowClause():
            return claim(clause.claim, context)
        case syntax.Let():
            return _walk(rest, quantified, context.bind(let(clause, context)))


def _where(clause: syntax.WhereClause, quantified: str | None, context: Context) -> Context:
    """The context where the condition holds."""
    if quantified is None:
        context.error(
            "E0704",
            "`where` stands before any `forall` or `exists`",
            clause.span,
            help="put it after the variables that it restricts",
        )
        return context
    claim(clause.condition, context.negated() if quantified == "forall" else context)
    return assuming(clause.condition, context)


def _after_show(clause: syntax.Clause, shown: syntax.ShowClause, context: Context) -> None:
    context.error(
        "E0704",
        "nothing may follow `show` in a property",
        clause.span,
        secondary=[(shown.span, "the claim is here")],
        help="join several claims with `and`",
    )

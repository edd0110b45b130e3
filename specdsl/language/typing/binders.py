"""Binders: the variables that `forall`, `exists` and patterns declare, and what they range over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from specdsl.language import syntax
from specdsl.language.types import FieldType, SetType, TupleType, Type, UnknownType
from specdsl.language.typing.names import NOTHING, Context, Scope, Symbol, Typed, Variable, quote
from specdsl.language.typing.operands import text_of
from specdsl.language.typing.sets import set_of

UNBOUNDED_HELP = "give every quantified variable a bounded set, for example `box(0, 1)`"
# Bodies are typed for each field of `fields(S)`; several such binders multiply.
MAX_CONTEXTS = 256


def quantify(
    kind: str,
    binders: Sequence[syntax.Binder],
    node: syntax.Node,
    context: Context,
    *,
    conditioned: bool = False,
) -> Context:
    """The context under `forall binders` or `exists binders`; later binders see earlier ones.

    `conditioned`: whether a `where` follows (besides that of `node`), which may give bounds to
    variables that have none.
    """
    conditioned = conditioned or _has_where(node)
    for binder in binders:
        typed = set_of(binder.set, context)
        context = _scope(kind, binder, typed, context)
        context = context.bind(_bind(binder, typed, context, conditioned))
    return context


def quantify_each(
    kind: str,
    binders: Sequence[syntax.Binder],
    node: syntax.Node,
    context: Context,
    *,
    conditioned: bool = False,
) -> list[Context]:
    """The same, once for each field that a variable over `fields(S)` stands for."""
    contexts = [context]
    for binder in binders:
        under = (
            quantify(kind, [binder], node, outer, conditioned=conditioned) for outer in contexts
        )
        contexts = list(chain.from_iterable(_fields_one_by_one(binder, c) for c in under))
        if len(contexts) > MAX_CONTEXTS:
            return [quantify(kind, binders, node, context, conditioned=conditioned)]
    return contexts


def _fields_one_by_one(binder: syntax.Binder, context: Context) -> list[Context]:
    symbol = context.locals[binder.names[0]]
    kind = symbol.typed.type
    if not isinstance(kind, FieldType):
        return [context]
    each = (replace(symbol.typed, value=name) for name, _ in kind.record.fields)
    return [context.bind([replace(symbol, typed=typed)]) for typed in each]


def _has_where(node: syntax.Node) -> bool:
    match node:
        case syntax.Quantifier(where=where) | syntax.Optimize(where=where):
            return where is not None
        case syntax.SetOf(where=where):
            return where is not None
        case _:
            return False


def _scope(kind: str, binder: syntax.Binder, typed: Typed, context: Context) -> Context:
    """Quantifiers over infinite sets nest only where all mean the same under their negations."""
    if not isinstance(typed.type, SetType) or typed.type.finite:
        return context
    effective = kind if context.positive else ("exists" if kind == "forall" else "forall")
    outer = context.quantifier
    if outer is None:
        return replace(context, quantifier=Scope(effective, binder.span))
    if outer.kind != effective:
        negated = "" if effective == kind else f", which a negation makes `{effective}`,"
        article = "an" if outer.kind == "exists" else "a"
        context.error(
            "E0705",
            f"alternating quantifiers: this `{kind}`{negated} stands inside {article} "
            f"`{outer.kind}`",
            binder.span,
            label=f"`{effective}` here",
            secondary=[(outer.span, f"`{outer.kind}` here")],
            help=_alternation_help(kind, binder),
        )
    return context


def _alternation_help(kind: str, binder: syntax.Binder) -> str:
    (name, *_) = binder.names
    finite = f"or quantify over a finite set: `{kind} {name} in one_of(...)`"
    if kind == "exists":
        return f"say which value exists, `let {name} = ...`, {finite}"
    return f"check the claim inside for given values, as `param`s or samples, {finite}"


def _bind(binder: syntax.Binder, typed: Typed, context: Context, conditioned: bool) -> list[Symbol]:
    names = binder.names
    if len(set(names)) < len(names):
        context.error("E0202", "a name stands twice in one pattern", binder.span)
    element = _element(binder, typed, context, conditioned)
    if element is None:
        return [Symbol(name, "variable", binder.span, NOTHING) for name in names]
    finite = isinstance(typed.type, SetType) and typed.type.finite
    if len(names) > 1:
        return destructure(names, binder, Typed(element, None, typed.variables), context)
    variables = frozenset(Variable(name, binder.span) for name in names if not finite)
    _warn_shadow(names, binder, context)
    member = Typed(element, None, variables or typed.variables)
    return [Symbol(name, "variable", binder.span, member) for name in names]


def destructure(
    names: Sequence[str], node: syntax.Node, typed: Typed, context: Context
) -> list[Symbol]:
    """One symbol for each name of a tuple pattern."""
    kind = typed.type
    if isinstance(kind, UnknownType):
        return [Symbol(name, "variable", node.span, NOTHING) for name in names]
    items = kind.items if isinstance(kind, TupleType) else ()
    if len(items) != len(names):
        parts = f"{len(items)} parts" if items else "one part"
        context.error(
            "E0305",
            f"the pattern has {len(names)} names but each value has {parts}",
            node.span,
            label=f"values are {kind}",
        )
        return [Symbol(name, "variable", node.span, NOTHING) for name in names]
    _warn_shadow(names, node, context)
    values = typed.value if isinstance(typed.value, tuple) else (None,) * len(names)
    return [
        Symbol(name, "variable", node.span, Typed(item, value, typed.variables))
        for name, (_, item), value in zip(names, items, values, strict=True)
    ]


def _warn_shadow(names: Sequence[str], node: syntax.Node, context: Context) -> None:
    for name in names:
        hidden = context.lookup(name)
        # What the importing file declares is not hidden from a module: it is not seen there.
        if hidden is not None and hidden.span.source is node.span.source:
            context.error(
                "W0201",
                f"`{name}` hides {hidden.description}",
                node.span,
                secondary=[(hidden.span, "declared here")],
                help="choose another name for the variable",
            )


def _element(
    binder: syntax.Binder, typed: Typed, context: Context, conditioned: bool
) -> Type | None:
    if not typed.known or not isinstance(typed.type, SetType):
        return None
    if typed.type.element is None:
        text = text_of(binder.set)
        context.error(
            "E0314",
            f"{quote(binder.set)} has no shape, so that {_names(binder)} has none",
            binder.set.span,
            help=f"intersect it with a set that has one: `{text} & Image`, or give "
            "the corners as lists: `box([0, 0], [1, 1])`",
        )
        return None
    if typed.set.unbounded is not None and not conditioned:
        place, words = typed.set.unbounded
        context.error(
            "E0702",
            f"{_names(binder)} is unbounded: {words}",
            binder.span,
            secondary=[(place, "no bounds here")] if place != binder.set.span else [],
            help=UNBOUNDED_HELP if place == binder.set.span else "add `in [lower, upper]` to it",
        )
        return None
    return typed.type.element


def _names(binder: syntax.Binder) -> str:
    return ", ".join(f"`{name}`" for name in binder.names)

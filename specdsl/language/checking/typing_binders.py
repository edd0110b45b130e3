"""Binders: the variables that `forall`, `exists` and patterns declare, and what they range over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from specdsl.language import syntax
from specdsl.language.checking.names import NOTHING, Context, Scope, Symbol, Typed, Variable, quote
from specdsl.language.checking.typing_sets import set_of
from specdsl.language.types import SetType, TupleType, Type, UnknownType

UNBOUNDED_HELP = "give every quantified variable a bounded set, for example `box(0, 1)`"


def quantify(
    kind: str, binders: Sequence[syntax.Binder], span_of: syntax.Node, context: Context
) -> Context:
    """The context under `forall binders` or `exists binders`; later binders see earlier ones."""
    effective = kind if context.positive else ("exists" if kind == "forall" else "forall")
    for binder in binders:
        typed = set_of(binder.set, context)
        context = _scope(effective, binder, typed, span_of, context)
        context = context.bind(_bind(binder, typed, context))
    return context


def _scope(
    kind: str, binder: syntax.Binder, typed: Typed, span_of: syntax.Node, context: Context
) -> Context:
    infinite = isinstance(typed.type, SetType) and not typed.type.finite
    if not infinite:
        return context
    outer = context.quantifier
    if outer is not None and outer.kind != kind:
        context.error(
            "E0901",
            "alternating quantifiers are not supported yet: an `exists` stands inside a `forall`, "
            "or the other way round",
            binder.span,
            secondary=[(outer.span, "inside this one")],
            help="negation turns `forall` into `exists`; quantifiers over datasets, enums and "
            "ranges never alternate",
        )
        return context
    return replace(context, quantifier=outer or Scope(kind, binder.span))


def _bind(binder: syntax.Binder, typed: Typed, context: Context) -> list[Symbol]:
    names = binder.names
    if len(set(names)) < len(names):
        context.error("E0202", "a name stands twice in one pattern", binder.span)
    element = _element(binder, typed, context)
    if element is None:
        return [Symbol(name, "variable", binder.span, NOTHING) for name in names]
    finite = isinstance(typed.type, SetType) and typed.type.finite
    if len(names) > 1:
        return destructure(names, binder, Typed(element), context)
    variables = frozenset(Variable(name, binder.span) for name in names if not finite)
    _warn_shadow(names, binder, context)
    typed = Typed(element, None, variables)
    return [Symbol(name, "variable", binder.span, typed) for name in names]


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
        if hidden is not None:
            context.error(
                "W0201",
                f"`{name}` hides {hidden.description}",
                node.span,
                secondary=[(hidden.span, "declared here")],
                help="choose another name for the variable",
            )


def _element(binder: syntax.Binder, typed: Typed, context: Context) -> Type | None:
    if not typed.known or not isinstance(typed.type, SetType):
        return None
    if typed.variables:
        context.later(
            f"a set for {_names(binder)} that depends on another quantified variable is",
            binder.set.span,
            "quantify both over fixed sets and relate them in `where`",
        )
        return None
    if typed.type.element is None:
        context.error(
            "E0314",
            f"{quote(binder.set)} has no shape, so that {_names(binder)} has none",
            binder.set.span,
            help=f"intersect it with a set that has one: `{_text(binder.set)} & Image`, or give "
            "the corners as lists: `box([0, 0], [1, 1])`",
        )
        return None
    if typed.set.unbounded is not None:
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


def _text(expression: syntax.Expr) -> str:
    return quote(expression).strip("`")


def _names(binder: syntax.Binder) -> str:
    return ", ".join(f"`{name}`" for name in binder.names)

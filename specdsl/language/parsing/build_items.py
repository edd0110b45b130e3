"""The nodes of statements, clauses and types, one function for each rule of the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, cast

from specdsl.diagnostics import diagnostic
from specdsl.language import syntax
from specdsl.language.parsing.build_expressions import binders, string
from specdsl.language.parsing.parts import Parts, Rule
from specdsl.language.syntax import Binder, Expr, TypeExpr
from specdsl.source import Span


class _Named(TypedDict):
    name: str
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class _Option:
    """One of the things that may follow a check or query: `kind` is its keyword."""

    kind: str
    values: tuple[Expr, ...]
    name: str | None
    span: Span


def _named(parts: Parts) -> _Named:
    return {"name": parts.text(0), "name_span": parts.part(0).span, "span": parts.span}


def _type(parts: Parts, index: int) -> TypeExpr:
    return cast(TypeExpr, parts.get(index, syntax.Node))


def _optional_type(parts: Parts, index: int) -> TypeExpr | None:
    return None if parts.children[index] is None else _type(parts, index)


def _settings(parts: Parts, index: int) -> tuple[syntax.Setting, ...]:
    return cast(tuple[syntax.Setting, ...], parts.optional(index, tuple) or ())


def _formals(parts: Parts, index: int) -> tuple[syntax.Parameter, ...] | None:
    return cast("tuple[syntax.Parameter, ...] | None", parts.optional(index, tuple))


# --- declarations -------------------------------------------------------------------------------


def _import(parts: Parts) -> syntax.Import:
    return syntax.Import(
        string(parts, 0), parts.optional_text(1), _settings(parts, 2), span=parts.span
    )


def _param(parts: Parts) -> syntax.Param:
    return syntax.Param(
        type=_optional_type(parts, 1),
        default=parts.optional_expr(2),
        interval=parts.optional(3, syntax.Interval),
        **_named(parts),
    )


def _const(parts: Parts) -> syntax.Const:
    return syntax.Const(type=_optional_type(parts, 1), value=parts.expr(2), **_named(parts))


def _enum(parts: Parts) -> syntax.Enum:
    return syntax.Enum(labels=parts.texts(1), **_named(parts))


def _space(parts: Parts) -> syntax.Space:
    return syntax.Space(fields=parts.all(syntax.SpaceField, 1), **_named(parts))


def _field(parts: Parts) -> syntax.SpaceField:
    arguments = cast("tuple[Expr, ...] | None", parts.optional(3, tuple))
    return syntax.SpaceField(
        type=_type(parts, 1),
        interval=parts.optional(2, syntax.Interval),
        normalize=arguments,
        encode=parts.optional_expr(4),
        **_named(parts),
    )


def _network(parts: Parts) -> syntax.Network:
    layers = parts.part(3).value
    block = isinstance(layers, tuple)
    return syntax.Network(
        input_type=_type(parts, 1),
        output_type=_type(parts, 2),
        value=None if block else parts.expr(3),
        layers=cast(tuple[syntax.Layer, ...], layers) if block else (),
        **_named(parts),
    )


def _layer(parts: Parts) -> syntax.Layer:
    return syntax.Layer(parts.optional_text(0), parts.expr(1), span=parts.span)


def _dataset(parts: Parts) -> syntax.Dataset:
    return syntax.Dataset(
        type=_type(parts, 1), value=parts.expr(2), settings=_settings(parts, 3), **_named(parts)
    )


def _region(parts: Parts) -> syntax.Region:
    return syntax.Region(parameters=_formals(parts, 1), value=parts.expr(2), **_named(parts))


def _let(parts: Parts) -> syntax.Let:
    return syntax.Let(
        (parts.text(0),),
        _formals(parts, 1),
        _optional_type(parts, 2),
        parts.expr(3),
        span=parts.span,
    )


def _let_tuple(parts: Parts) -> syntax.Let:
    names = cast(tuple[str, ...], parts.get(0, tuple))
    return syntax.Let(names, None, _optional_type(parts, 1), parts.expr(2), span=parts.span)


def _formal(parts: Parts) -> syntax.Parameter:
    return syntax.Parameter(parts.text(0), _optional_type(parts, 1), span=parts.span)


def _property(parts: Parts) -> syntax.Property:
    body = parts.part(2).value
    block = isinstance(body, tuple)
    return syntax.Property(
        parameters=_formals(parts, 1),
        value=None if block else parts.expr(2),
        clauses=cast(tuple[syntax.Clause, ...], body) if block else (),
        **_named(parts),
    )


def _quantifier_clause(kind: str) -> Rule:
    return lambda parts: syntax.QuantifierClause(kind, binders(parts, 0), span=parts.span)


def _binder(parts: Parts) -> Binder:
    names = parts.part(0).value
    several = cast(tuple[str, ...], names) if isinstance(names, tuple) else (parts.text(0),)
    return syntax.Binder(several, parts.expr(1), span=parts.span)


def _setting(parts: Parts) -> syntax.Setting:
    # A comma between settings separates and belongs to none of them.
    value = parts.part(1)
    span = Span(parts.span.source, parts.span.start, value.span.end)
    return syntax.Setting(parts.text(0), parts.expr(1), span=span)


def _state(parts: Parts) -> syntax.SystemItem:
    return syntax.SystemItem(
        "state", parts.text(0), _type(parts, 1), parts.optional_expr(2), span=parts.span
    )


def _system_item(kind: str) -> Rule:
    return lambda parts: syntax.SystemItem(
        kind, parts.text(0), None, parts.expr(1), span=parts.span
    )


def _train(parts: Parts) -> syntax.Train:
    items = cast(tuple[syntax.TrainLine, ...], parts.all(syntax.Node, 2))
    network, *others = cast("tuple[Expr, ...]", parts.get(0, tuple))
    return syntax.Train(network, parts.expr(1), items, tuple(others), span=parts.span)


def _trained(parts: Parts) -> tuple[Expr, ...]:
    return parts.exprs()


def _stage(parts: Parts) -> syntax.Stage:
    items = cast(tuple[syntax.TrainItem | syntax.Setting, ...], parts.all(syntax.Node, 1))
    return syntax.Stage(parts.text(0), items, span=parts.span)


def _keep(parts: Parts) -> syntax.Keep:
    return syntax.Keep(parts.expr(0), parts.expr(1), parts.optional_expr(2), span=parts.span)


def _certify(parts: Parts) -> syntax.Certify:
    return syntax.Certify(parts.expr(0), parts.expr(1), parts.exprs(2), span=parts.span)


def _train_item(kind: str) -> Rule:
    return lambda parts: syntax.TrainItem(kind, parts.expr(0), span=parts.span)


def _constrain(parts: Parts) -> syntax.TrainItem:
    by = parts.optional_expr(1)
    return syntax.TrainItem("constrain", parts.expr(0), by=by, span=parts.span)


def _schedule(parts: Parts) -> syntax.TrainItem:
    return syntax.TrainItem("let", parts.expr(1), name=parts.text(0), span=parts.span)


# --- checks and queries -------------------------------------------------------------------------


def _check(parts: Parts) -> syntax.Check:
    last = len(parts) - 1
    properties = tuple(parts.expr(i) for i in range(last))
    return syntax.Check(properties, parts.get(last, syntax.Options), span=parts.span)


def _optimize(kind: str) -> Rule:
    return lambda parts: syntax.Optimize(
        kind,
        parts.expr(0),
        binders(parts, 1),
        parts.optional_expr(2),
        binders(parts, 3),
        parts.get(4, syntax.Options),
        span=parts.span,
    )


def _search(kind: str) -> Rule:
    return lambda parts: syntax.Search(
        kind,
        parts.text(0),
        parts.get(1, syntax.Interval),
        parts.optional_expr(2),
        parts.expr(3),
        binders(parts, 4),
        parts.get(5, syntax.Options),
        span=parts.span,
    )


def _options(parts: Parts) -> syntax.Options:
    given = parts.all(_Option)
    first: dict[str, _Option] = {}
    for option in given:
        before = first.setdefault(option.kind, option)
        if option.kind in ("as", "using") and option is not before:
            message = f"`{option.kind}` is given twice"
            secondary = [(before.span, "given here first")]
            parts.diagnostics.add(diagnostic("E0803", message, option.span, secondary=secondary))
    using = first.get("using")
    return syntax.Options(
        name=first["as"].name if "as" in first else None,
        using=using.values[0] if using else None,
        reports=tuple(v for o in given if o.kind == "report" for v in o.values),
        expects=tuple(v for o in given if o.kind == "expect" for v in o.values),
        span=parts.span,
    )


def _option(kind: str) -> Rule:
    return lambda parts: _Option(kind, parts.exprs(), None, parts.span)


# --- types --------------------------------------------------------------------------------------


def _type_name(parts: Parts) -> syntax.TypeName:
    arguments = cast("tuple[Expr, ...] | None", parts.optional(1, tuple))
    unit = parts.optional_text(2)
    name = parts.get(0, str)
    return syntax.TypeName(name, arguments, unit[1:-1] if unit else None, span=parts.span)


def _type_slot(parts: Parts) -> syntax.TypeSlot:
    return syntax.TypeSlot(parts.optional_text(0), _type(parts, 1), span=parts.span)


ITEMS: Mapping[str, Rule] = {
    "header": lambda parts: parts.text(0),
    "import": _import,
    "param": _param,
    "const": _const,
    "enum": _enum,
    "space": _space,
    "field": _field,
    "network": _network,
    "layers": lambda parts: parts.all(syntax.Node),
    "layer": _layer,
    "skip": lambda parts: syntax.Skip(parts.expr(0), span=parts.span),
    "dataset": _dataset,
    "region": _region,
    "let": _let,
    "let_tuple": _let_tuple,
    "formals": lambda parts: parts.all(syntax.Parameter),
    "formal": _formal,
    "names": lambda parts: parts.texts(),
    "property": _property,
    "clauses": lambda parts: parts.all(syntax.Node),
    "forall_clause": _quantifier_clause("forall"),
    "exists_clause": _quantifier_clause("exists"),
    "where_clause": lambda parts: syntax.WhereClause(parts.expr(0), span=parts.span),
    "show_clause": lambda parts: syntax.ShowClause(parts.expr(0), span=parts.span),
    "binders": lambda parts: parts.all(Binder),
    "for_binders": lambda parts: parts.all(Binder),
    "per": lambda parts: parts.all(Binder),
    "binder": _binder,
    "system": lambda parts: syntax.System(items=parts.all(syntax.SystemItem, 1), **_named(parts)),
    "state": _state,
    "action": _system_item("action"),
    "noise": _system_item("noise"),
    "next": _system_item("next"),
    "train": _train,
    "trained": _trained,
    "objective": _train_item("minimize"),
    "regularize": _train_item("regularize"),
    "save": _train_item("save"),
    "prune": _train_item("prune"),
    "stage": _stage,
    "keep": _keep,
    "certify": _certify,
    "constrain": _constrain,
    "schedule": _schedule,
    "settings": lambda parts: parts.all(syntax.Setting),
    "setting": _setting,
    "word": lambda parts: parts.part(0).value,
    "keyword": lambda parts: parts.part(0).value,
    "check": _check,
    "maximize": _optimize("maximize"),
    "minimize": _optimize("minimize"),
    "largest": _search("largest"),
    "smallest": _search("smallest"),
    "options": _options,
    "as": lambda parts: _Option("as", (), parts.text(0), parts.span),
    "using": _option("using"),
    "report": _option("report"),
    "expect": _option("expect"),
    "interval": lambda parts: syntax.Interval(parts.expr(0), parts.expr(1), span=parts.span),
    "type_name": _type_name,
    "type_arguments": lambda parts: parts.exprs(),
    "dotted": lambda parts: ".".join(parts.texts()),
    "type_tuple": lambda parts: syntax.TypeTuple(parts.all(syntax.TypeSlot), span=parts.span),
    "type_slot": _type_slot,
    "call_args": lambda parts: parts.exprs(),
}
"""Rule of the grammar to the function that builds its node, or a tuple of nodes."""

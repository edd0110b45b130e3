"""The syntax tree as canonical text: the one formatter, without options.

`parse(print_program(tree)) == tree`. Comments are not part of the tree and do not survive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from specdsl.language import syntax
from specdsl.language.printing.layout import (
    SPACE,
    Doc,
    Group,
    Nest,
    block,
    bracket,
    concat,
    join,
    write,
)
from specdsl.language.printing.print_expressions import (
    POSTFIX,
    RANGE,
    SUM,
    binders,
    expression,
    for_binders,
    quoted,
    type_expression,
)
from specdsl.language.syntax import Expr, TypeExpr


def print_program(program: syntax.Program) -> str:
    """A whole file, its last line ended. Blank lines surround what takes several lines."""
    out = f"spec {program.version}\n\n" if program.version is not None else ""
    above = ""
    for node in program.items:
        text = print_statement(node)
        apart = bool(above) and ("\n" in above or "\n" in text)
        out += ("\n" if apart else "") + text + "\n"
        above = text
    return out.rstrip("\n") + "\n" if out else ""


def print_expression(expr: Expr) -> str:
    """One expression, over several lines where it is long."""
    return write(expression(expr, open=True))


def print_statement(
    node: syntax.Item | syntax.Layer | syntax.Skip | syntax.TrainLine,
) -> str:
    """One statement, or one line of the block of a network or training."""
    return write(_STATEMENTS[type(node)](node))


# --- declarations -------------------------------------------------------------------------------


def _import(node: syntax.Import) -> Doc:
    alias = f" as {node.alias}" if node.alias else ""
    given = concat(" with ", _settings(node.settings)) if node.settings else ""
    return concat("import ", quoted(node.path.value), alias, given)


def _param(node: syntax.Param) -> Doc:
    default = "" if node.default is None else concat(" = ", expression(node.default, RANGE))
    return concat(f"param {node.name}", _typed(node.type), default, _interval(node.interval))


def _const(node: syntax.Const) -> Doc:
    return concat(f"const {node.name}", _typed(node.type), _value(node.value))


def _enum(node: syntax.Enum) -> Doc:
    return concat(f"enum {node.name} ", bracket("{", node.labels, "}", pad=" "))


def _space(node: syntax.Space) -> Doc:
    return concat(f"space {node.name} ", block([_field(field) for field in node.fields]))


def _field(node: syntax.SpaceField) -> Doc:
    parts: list[Doc] = [node.name, _typed(node.type), _interval(node.interval)]
    if node.normalize is not None:
        arguments = [expression(argument, open=True) for argument in node.normalize]
        parts += [SPACE, "normalize ", bracket("(", arguments, ")")]
    if node.encode is not None:
        parts += [SPACE, "encode ", expression(node.encode, POSTFIX)]
    return Group(Nest(concat(*parts)))


def _network(node: syntax.Network) -> Doc:
    types = concat(type_expression(node.input_type), " -> ", type_expression(node.output_type))
    body = concat(" ", block([_layer(layer) for layer in node.layers]))
    return concat(f"network {node.name}: ", types, _value(node.value) if node.value else body)


def _layer(node: syntax.Layer | syntax.Skip | syntax.Setting) -> Doc:
    match node:
        case syntax.Layer():
            name = f"{node.name} = " if node.name else ""
            return concat(f"layer {name}", expression(node.value, open=True))
        case syntax.Skip():
            return concat("skip ", expression(node.value, open=True))
        case syntax.Setting():
            return _setting(node)


def _dataset(node: syntax.Dataset) -> Doc:
    settings = concat(" ", _settings(node.settings)) if node.settings else ""
    return concat(f"dataset {node.name}", _typed(node.type), _value(node.value), settings)


def _region(node: syntax.Region) -> Doc:
    return concat(f"region {node.name}", _formals(node.parameters), _value(node.value))


def _let(node: syntax.Let) -> Doc:
    names = node.names[0] if len(node.names) == 1 else f"({', '.join(node.names)})"
    return concat(f"let {names}", _formals(node.parameters), _typed(node.type), _value(node.value))


def _property(node: syntax.Property) -> Doc:
    head = concat(f"property {node.name}", _formals(node.parameters))
    if node.value is not None:
        return concat(head, _value(node.value))
    return concat(head, " ", block([_clause(clause) for clause in node.clauses]))


def _clause(node: syntax.Clause) -> Doc:
    match node:
        case syntax.QuantifierClause():
            return Group(Nest(concat(f"{node.kind} ", binders(node.binders))))
        case syntax.WhereClause():
            return concat("where ", expression(node.condition, open=True))
        case syntax.ShowClause():
            return concat("show ", expression(node.claim, open=True))
        case syntax.Let():
            return _let(node)


def _system(node: syntax.System) -> Doc:
    return concat(f"system {node.name} ", block([_system_item(line) for line in node.items]))


def _system_item(node: syntax.SystemItem) -> Doc:
    between = " = " if node.kind in ("action", "next") else " in "
    value = "" if node.value is None else concat(between, expression(node.value, open=True))
    return concat(f"{node.kind} {node.name}", _typed(node.type), value)


def _train(node: syntax.Train) -> Doc:
    trained = [expression(each, open=True) for each in (node.network, *node.others)]
    head = concat("train ", Group(Nest(join(trained))), " on ")
    lines = [_STATEMENTS[type(line)](line) for line in node.items]
    return concat(head, expression(node.data, open=True), " ", block(lines))


def _stage(node: syntax.Stage) -> Doc:
    lines = [_STATEMENTS[type(line)](line) for line in node.items]
    return concat(f"stage {node.name} ", block(lines))


def _keep(node: syntax.Keep) -> Doc:
    parts = [
        concat("keep best by ", expression(node.measure, open=True)),
        concat(SPACE, "on ", expression(node.part, open=True)),
    ]
    if node.condition is not None:
        parts.append(concat(SPACE, "where ", expression(node.condition, open=True)))
    return Group(Nest(concat(*parts)))


def _certify(node: syntax.Certify) -> Doc:
    parts = [
        concat("certify ", expression(node.claim, open=True)),
        concat(SPACE, "on ", expression(node.part, open=True)),
    ]
    if node.stages:
        stages = [expression(stage, open=True) for stage in node.stages]
        parts.append(concat(SPACE, "by ", Group(Nest(join(stages)))))
    return Group(Nest(concat(*parts)))


def _train_item(node: syntax.TrainItem) -> Doc:
    name = f"{node.name} = " if node.name else ""
    by = "" if node.by is None else concat(SPACE, "by ", expression(node.by, open=True))
    return Group(Nest(concat(f"{node.kind} {name}", expression(node.value, open=True), by)))


# --- checks and queries -------------------------------------------------------------------------


def _check(node: syntax.Check) -> Doc:
    properties = join([expression(each, open=True) for each in node.properties])
    return Group(Nest(concat("check ", Group(Nest(properties)), *_options(node.options))))


def _optimize(node: syntax.Optimize) -> Doc:
    parts = [
        concat(f"{node.kind} ", expression(node.objective, open=True)),
        concat(SPACE, "over ", binders(node.binders)),
    ]
    if node.where is not None:
        parts.append(concat(SPACE, "where ", expression(node.where, open=True)))
    return Group(Nest(concat(*parts, for_binders(node.per), *_options(node.options))))


def _search(node: syntax.Search) -> Doc:
    tolerance = "" if node.tolerance is None else concat(" tol ", expression(node.tolerance, SUM))
    parts = [
        concat(f"{node.kind} {node.name}", _interval(node.interval), tolerance),
        concat(SPACE, "such that ", expression(node.condition, open=True)),
    ]
    return Group(Nest(concat(*parts, for_binders(node.per), *_options(node.options))))


def _options(node: syntax.Options) -> list[Doc]:
    """Each behind a break, in the order of the language reference."""
    parts: list[Doc] = [f"as {node.name}"] if node.name else []
    if node.using is not None:
        parts.append(concat("using ", expression(node.using, open=True)))
    if node.reports:
        reports = join([expression(report, open=True) for report in node.reports])
        parts.append(concat("report ", Group(Nest(reports))))
    parts += [concat("expect ", expression(each, open=True)) for each in node.expects]
    return [concat(SPACE, part) for part in parts]


# --- shared by several --------------------------------------------------------------------------


def _typed(node: TypeExpr | None) -> Doc:
    return "" if node is None else concat(": ", type_expression(node))


def _value(node: Expr) -> Doc:
    return concat(" = ", expression(node, open=True))


def _interval(node: syntax.Interval | None) -> Doc:
    if node is None:
        return ""
    ends = [expression(end, open=True) for end in (node.lower, node.upper)]
    return concat(" in ", bracket("[", ends, "]"))


def _formals(nodes: Sequence[syntax.Parameter] | None) -> Doc:
    if nodes is None:
        return ""
    return bracket("(", [concat(node.name, _typed(node.type)) for node in nodes], ")")


def _settings(nodes: Sequence[syntax.Setting]) -> Doc:
    return bracket("{", [_setting(node) for node in nodes], "}", pad=" ")


def _setting(node: syntax.Setting) -> Doc:
    return concat(f"{node.name} = ", expression(node.value, open=True))


_STATEMENTS: Mapping[type, Callable[[Any], Doc]] = {
    syntax.Import: _import,
    syntax.Param: _param,
    syntax.Const: _const,
    syntax.Enum: _enum,
    syntax.Space: _space,
    syntax.Network: _network,
    syntax.Dataset: _dataset,
    syntax.Region: _region,
    syntax.Let: _let,
    syntax.Property: _property,
    syntax.System: _system,
    syntax.Train: _train,
    syntax.Check: _check,
    syntax.Optimize: _optimize,
    syntax.Search: _search,
    syntax.Layer: _layer,
    syntax.Skip: _layer,
    syntax.Setting: _layer,
    syntax.TrainItem: _train_item,
    syntax.Keep: _keep,
    syntax.Certify: _certify,
    syntax.Stage: _stage,
}
"""Statement to the function that prints it."""

"""`check`: what to decide, with what, what to print, what to insist on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.names import Context, quote
from specdsl.language.checking.paths import check_output
from specdsl.language.checking.settings import find, match_arguments
from specdsl.language.checking.typing_logic import claim
from specdsl.language.checking.typing_operands import scalar_constant
from specdsl.language.schemas import ACCURACIES, BACKENDS, FIGURES, REPORTS
from specdsl.language.spec import BackendChoice, CheckDeclaration, ReportRequest


def check_declaration(item: syntax.Check, context: Context) -> CheckDeclaration | None:
    """The description of a check; None where something in it was reported."""
    before = len(context.session.diagnostics.errors)
    answering = replace(context, answering=True)
    for claimed in item.properties:
        claim(claimed, answering)
    options = item.options
    backend = _backend(options.using, context) if options.using is not None else None
    reports = [_report(expression, context) for expression in options.reports]
    for expression in options.expects:
        _expect(expression, context)
    _one_property(item, context)
    if len(context.session.diagnostics.errors) > before:
        return None
    return CheckDeclaration(
        options.name,
        item.properties,
        backend,
        tuple(r for r in reports if r is not None),
        options.expects,
        item.span,
    )


def _backend(expression: syntax.Expr, context: Context) -> BackendChoice | None:
    found = find(expression, BACKENDS, "E0801", context)
    if found is None:
        return None
    schema, arguments = found
    matched = match_arguments(schema, arguments, expression.span, context)
    if not matched.sound:
        return None
    return BackendChoice(schema.name, matched.values, expression.span)


def _report(expression: syntax.Expr, context: Context) -> ReportRequest | None:
    found = find(expression, REPORTS, "E0806", context)
    if found is None:
        return None
    schema, arguments = found
    matched = match_arguments(schema, arguments, expression.span, context)
    name = matched.values.get("file")
    if isinstance(name, str) and not check_output(name, matched.spans["file"], context):
        return None
    if not matched.sound:
        return None
    return ReportRequest(schema.name, tuple(matched.values.values()), expression.span)


# --- expect --------------------------------------------------------------------------------------


def _expect(expression: syntax.Expr, context: Context) -> None:
    """Comparisons of figures with numbers, joined by `and`, `or`, `not`."""
    match expression:
        case syntax.Binary(operator="and" | "or", left=left, right=right):
            _expect(left, context)
            _expect(right, context)
        case syntax.Unary(operator="not", operand=operand):
            _expect(operand, context)
        case syntax.Comparison(operands=operands):
            figures = [o for o in operands if _is_figure(o, context)]
            if not figures:
                _no_figure(expression, operands, context)
                return
            for operand in operands:
                if operand not in figures:
                    scalar_constant(operand, context, "the other side of a figure")
        case _:
            help = "for example `expect certified_accuracy >= 0.9`"
            message = f"`expect` compares a figure with a number, not {quote(expression)}"
            context.error("E0807", message, expression.span, help=help)


def _is_figure(expression: syntax.Expr, context: Context) -> bool:
    if not isinstance(expression, syntax.Name):
        return False
    return expression.name in FIGURES and context.lookup(expression.name) is None


def _no_figure(
    expression: syntax.Comparison, operands: Sequence[syntax.Expr], context: Context
) -> None:
    known = ", ".join(f"`{f}`" for f in FIGURES)
    for operand in operands:
        unknown = isinstance(operand, syntax.Name) and context.lookup(operand.name) is None
        if unknown and isinstance(operand, syntax.Name):
            message = f"no figure is called `{operand.name}`"
            hint = suggestion(operand.name, FIGURES) or ""
            help = f"figures are {known}"
            context.error("E0806", message, operand.span, label=hint, help=help)
            return
    message = f"{quote(expression)} compares no figure"
    context.error("E0807", message, expression.span, help=f"figures are {known}")


def _one_property(item: syntax.Check, context: Context) -> None:
    if len(item.properties) < 2:
        return
    for expression in (*item.options.reports, *item.options.expects):
        figure = next((n for n in _names(expression) if n in ACCURACIES), None)
        if figure is None:
            continue
        context.error(
            "E0706",
            f"`{figure}` is a figure of one property, but this check has {len(item.properties)}",
            expression.span,
            secondary=[(item.properties[1].span, "the second property")],
            help="write one `check` for each property, or use `verified_fraction`",
        )
        return


def _names(expression: syntax.Expr) -> list[str]:
    match expression:
        case syntax.Name(name=name):
            return [name]
        case syntax.Comparison(operands=operands):
            return [n for o in operands for n in _names(o)]
        case syntax.Binary(left=left, right=right):
            return [*_names(left), *_names(right)]
        case syntax.Unary(operand=operand):
            return _names(operand)
        case _:
            return []

"""`check`: what to decide, with what, what to print, what to insist on."""

from __future__ import annotations

from specdsl.language import syntax
from specdsl.language.checking.options import CHECKS, check_options
from specdsl.language.schemas import ACCURACIES
from specdsl.language.spec import CheckDeclaration
from specdsl.language.syntax.walk import names_in
from specdsl.language.typing.logic import claim
from specdsl.language.typing.names import Context


def check_declaration(item: syntax.Check, context: Context) -> CheckDeclaration | None:
    """The description of a check; None where something in it was reported."""
    before = len(context.session.diagnostics.errors)
    for claimed in item.properties:
        claim(claimed, context)
    options = check_options(item.options, CHECKS, context)
    _one_property(item, context)
    if len(context.session.diagnostics.errors) > before:
        return None
    return CheckDeclaration(
        item.options.name,
        item.properties,
        options.backend,
        options.reports,
        item.options.expects,
        item.span,
    )


def _one_property(item: syntax.Check, context: Context) -> None:
    if len(item.properties) < 2:
        return
    for expression in (*item.options.reports, *item.options.expects):
        figure = next((n.name for n in names_in(expression) if n.name in ACCURACIES), None)
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

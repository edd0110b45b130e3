"""What follows a check or a query: `using`, `report`, `expect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.settings import matched_word
from specdsl.language.parsing.parser import parse_expression
from specdsl.language.schemas import (
    BACKENDS,
    FIGURES,
    QUERY_FIGURES,
    QUERY_REPORTS,
    REPORTS,
    Table,
)
from specdsl.language.spec import BackendChoice, ReportRequest
from specdsl.language.syntax.walk import names_in
from specdsl.language.typing.expressions import infer
from specdsl.language.typing.names import Context, Session, quote
from specdsl.language.typing.operands import scalar_constant
from specdsl.language.typing.paths import check_output
from specdsl.source import Source


@dataclass(frozen=True, slots=True)
class Reporting:
    """What one sort of statement can report. `noun`: the statement, for messages; `other`: what
    reports the figures that this one has not; `example`: an expectation to show.
    """

    noun: str
    reports: Table
    figures: tuple[str, ...]
    other: Reporting | None
    example: str


_QUERIES_ALONE = Reporting("query", QUERY_REPORTS, QUERY_FIGURES, None, "expect median >= 1/50")
CHECKS = Reporting("check", REPORTS, FIGURES, _QUERIES_ALONE, "expect certified_accuracy >= 0.9")
QUERIES = Reporting("query", QUERY_REPORTS, QUERY_FIGURES, CHECKS, _QUERIES_ALONE.example)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedOptions:
    """The options of a statement, without those that were reported."""

    backend: BackendChoice | None
    reports: tuple[ReportRequest, ...]


def check_options(
    written: syntax.Options, reporting: Reporting, context: Context
) -> CheckedOptions:
    """The options of a check or query: E0801 to E0807, E0810 where they are not in order."""
    backend = _backend(written.using, context) if written.using is not None else None
    reports = [_report(expression, reporting, context) for expression in written.reports]
    for expression in written.expects:
        _expect(expression, reporting, context)
    return CheckedOptions(backend, tuple(r for r in reports if r is not None))


def _backend(expression: syntax.Expr, context: Context) -> BackendChoice | None:
    matched = matched_word(expression, BACKENDS, "E0801", context)
    if matched is None or not matched.sound:
        return None
    return BackendChoice(matched.schema.name, matched.values, expression.span)


def backend_choice(source: Source, folder: Path) -> BackendChoice:
    """What a text such as `search(split = neuron)` asks for, where no names are declared.

    Raises SpecError with all that is wrong with it (E01, E0801 to E0805).
    """
    expression = parse_expression(source)
    session = Session(base=folder, working_directory=folder, allow=(), later={})
    choice = _backend(expression, Context(session, infer))
    session.diagnostics.raise_errors()
    assert choice is not None, "nothing was said against it"
    return choice


def _report(
    expression: syntax.Expr, reporting: Reporting, context: Context
) -> ReportRequest | None:
    if _is_of_the_other(expression, reporting, context):
        return None
    matched = matched_word(expression, reporting.reports, "E0806", context)
    if matched is None:
        return None
    name = matched.values.get("file")
    if isinstance(name, str) and not check_output(name, matched.spans["file"], context):
        return None
    if not matched.sound:
        return None
    return ReportRequest(matched.schema.name, tuple(matched.values.values()), expression.span)


def _is_of_the_other(expression: syntax.Expr, reporting: Reporting, context: Context) -> bool:
    """Report a report that exists, but for statements of the other sort."""
    head = expression.function if isinstance(expression, syntax.Call) else expression
    other = reporting.other
    if not isinstance(head, syntax.Name) or other is None:
        return False
    if head.name in reporting.reports.schemas or head.name not in other.reports.schemas:
        return False
    names = ", ".join(f"`{name}`" for name in reporting.reports.available)
    context.error(
        "E0806",
        f"`{head.name}` is a report of a {other.noun}, not of a {reporting.noun}",
        head.span,
        help=f"a {reporting.noun} has {names}",
    )
    return True


# --- expect --------------------------------------------------------------------------------------


def _expect(expression: syntax.Expr, reporting: Reporting, context: Context) -> None:
    """Comparisons of figures with numbers, joined by `and`, `or`, `not`, `=>`."""
    match expression:
        case syntax.Binary(operator="and" | "or" | "=>", left=left, right=right):
            _expect(left, reporting, context)
            _expect(right, reporting, context)
        case syntax.Unary(operator="not", operand=operand):
            _expect(operand, reporting, context)
        case syntax.Comparison(operands=operands):
            _comparison(expression, operands, reporting, context)
        case _:
            message = f"`expect` compares a figure with a number, not {quote(expression)}"
            help = f"for example `{reporting.example}`"
            context.error("E0807", message, expression.span, help=help)


def _comparison(
    expression: syntax.Comparison,
    operands: Sequence[syntax.Expr],
    reporting: Reporting,
    context: Context,
) -> None:
    before = len(context.session.diagnostics.errors)
    asked = [_arithmetic(operand, reporting, context) for operand in operands]
    if any(asked) or len(context.session.diagnostics.errors) > before:
        return
    known = ", ".join(f"`{f}`" for f in reporting.figures)
    message = f"{quote(expression)} compares no figure"
    context.error("E0807", message, expression.span, help=f"figures are {known}")


def _arithmetic(expression: syntax.Expr, reporting: Reporting, context: Context) -> bool:
    """Check sums, products and quotients of figures and numbers; whether a figure is in it."""
    match expression:
        case syntax.Name(name=name) if context.lookup(name) is None:
            if name not in reporting.figures:
                _no_figure(expression, reporting, context)
            return True
        case syntax.Unary(operator="-", operand=operand):
            return _arithmetic(operand, reporting, context)
        case syntax.Binary(operator="+" | "-" | "*" | "/", left=left, right=right):
            # Both sides are looked at, whatever is found in the first.
            a, b = (_arithmetic(side, reporting, context) for side in (left, right))
            return a or b
        case _ if any(_is_figure(name, reporting, context) for name in names_in(expression)):
            message = f"figures are joined by `+ - * /` alone, unlike in {quote(expression)}"
            context.error("E0807", message, expression.span)
            return True
        case _:
            scalar_constant(expression, context, "the other side of a figure")
            return False


def _is_figure(name: syntax.Name, reporting: Reporting, context: Context) -> bool:
    return name.name in reporting.figures and context.lookup(name.name) is None


def _no_figure(expression: syntax.Name, reporting: Reporting, context: Context) -> None:
    name, other = expression.name, reporting.other
    known = ", ".join(f"`{f}`" for f in reporting.figures)
    message = f"no figure is called `{name}`"
    if other is not None and name in other.figures:
        message = f"`{name}` is a figure of a {other.noun}, not of a {reporting.noun}"
    hint = suggestion(name, reporting.figures) or ""
    context.error("E0806", message, expression.span, label=hint, help=f"figures are {known}")

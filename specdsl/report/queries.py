"""Optima and radii for people and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from specdsl.report.wording import precise, spent
from specdsl.run.query_result import QueryOutcome, QueryResult

STYLES = {"found": "green", "open": "yellow", "error": "bold red", "none": "yellow"}


def queries_table(outcomes: Sequence[QueryOutcome]) -> Table:
    """One line for each optimum: both ends, and which of them is proven."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("query", overflow="fold", ratio=None)
    table.add_column("answer")
    table.add_column("proven", justify="right")
    table.add_column("attained", justify="right")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        for result in outcome.results:
            word = result.word
            table.add_row(
                result.id.rpartition("::")[2],
                Text(word, style=STYLES[word]),
                _end(result, result.proven, proven=True),
                _end(result, result.attained, proven=False),
                spent([] if result.cached else [result.seconds], result.cached),
            )
    return table


def _end(result: QueryResult, value: Fraction | None, *, proven: bool) -> str:
    """`<= 2.5` for a proven upper bound: what the end says of the optimum."""
    if value is None:
        return "-"
    above = (result.kind in {"maximize", "smallest"}) == proven
    sign = "<=" if above else ">="
    if result.kind == "largest" and not proven:
        sign = "<"
    if result.kind == "smallest" and not proven:
        sign = ">"
    return f"{sign} {precise(value)}"


def reasons(outcomes: Sequence[QueryOutcome]) -> Iterator[RenderableType]:
    """Why an optimum is open, or why there is none."""
    for outcome in outcomes:
        for result in outcome.results:
            if result.reason:
                word = result.word
                name = (result.id.rpartition("::")[2], "bold")
                yield Text.assemble("\n", name, " ", (word, STYLES[word]), f": {result.reason}")


def document(result: QueryResult, argument: Any) -> dict[str, Any]:
    """One query as JSON; `argument` is its witness as JSON, or None."""

    def end(value: Fraction | None) -> float | None:
        return None if value is None else float(value)

    return {
        "id": result.id,
        "kind": result.kind,
        "lower": end(result.lower),
        "upper": end(result.upper),
        "proven": end(result.proven),
        "attained": end(result.attained),
        "complete": result.complete,
        "reason": result.reason,
        "argument": argument,
        "method": result.method,
        "semantics": result.semantics,
        "trusted": list(result.trusted),
        "certificate": result.certificate_file and str(result.certificate_file),
        "steps": result.steps,
        "seconds": result.seconds,
        "cached": result.cached,
        "sample": result.sample,
    }

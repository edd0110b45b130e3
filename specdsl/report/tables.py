"""`report table("f.csv")`, `per_sample("f.csv")`, `histogram("f.svg")`: files beside the spec."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language.checking.combinations import plain_text
from specdsl.language.spec import ReportRequest
from specdsl.report.histogram import draw
from specdsl.run.query_result import QueryOutcome, QueryResult
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.writing import write_bytes, write_text

QUERIES = (
    "id",
    "query",
    "answer",
    "method",
    "lower",
    "upper",
    "proven",
    "attained",
    "seconds",
    "reason",
)
TABLE = ("id", "property", "verdict", "method", "bound", "seconds", "reason")
PER_SAMPLE = ("sample", "property", "holds_unperturbed", *TABLE[2:])


def write_requested(report: Report, allow: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Write every table that the file's checks ask for; the paths written.

    Paths are relative to the spec's folder and stay in it, or in a folder of `allow`. What several
    checks write into one file goes there together, as does every combination of swept parameters,
    each of which has a column. Raises SpecError E0854 where a path leaves them or cannot be
    written.
    """
    asked: dict[tuple[Path, str], list[CheckOutcome]] = {}
    places: dict[Path, ReportRequest] = {}
    for check in report.checks:
        for request in check.reports:
            if request.name in ("table", "per_sample"):
                path = _target(report.path.parent, request, allow)
                first = places.setdefault(path, request)
                if first.name != request.name:
                    message = f"`{path.name}` cannot be both `{first.name}` and `{request.name}`"
                    help = "write them to two files"
                    raise SpecError.of("E0854", message, request.span, help=help)
                asked.setdefault((path, request.name), []).append(check)
    for (path, kind), checks in asked.items():
        write_text(path, _content(kind, checks), places[path].span)
    return (*places, *_write_queries(report, allow))


def _write_queries(report: Report, allow: Sequence[Path]) -> tuple[Path, ...]:
    """Tables and pictures that `maximize`, `largest` and the like ask for."""
    asked: dict[tuple[Path, str], list[QueryOutcome]] = {}
    places: dict[Path, ReportRequest] = {}
    for query in report.queries:
        for request in query.reports:
            if request.name in ("table", "per_sample", "histogram"):
                path = _target(report.path.parent, request, allow)
                places[path] = request
                asked.setdefault((path, request.name), []).append(query)
    for (path, kind), queries in asked.items():
        span = places[path].span
        if kind == "histogram":
            results = [r for query in queries for r in query.results]
            values = [r.proven for r in results if r.proven is not None]
            write_bytes(path, draw(path, values, queries[0].name, span), span)
        else:
            write_text(path, _query_rows(queries), span)
    return tuple(places)


def _query_rows(queries: Sequence[QueryOutcome]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    swept = tuple(dict.fromkeys(name for query in queries for name in query.parameters))
    writer.writerow((*QUERIES[:2], *swept, *QUERIES[2:]))
    for query in queries:
        values = tuple(plain_text(query.parameters[name]) for name in swept)
        for r in query.results:
            ends = ("" if e is None else repr(float(e)) for e in _ends(r))
            row = (r.id, query.name, *values, r.word, r.method, *ends)
            writer.writerow((*row, f"{r.seconds:.3f}", r.reason or ""))
    return text.getvalue()


def _ends(result: QueryResult) -> tuple[Fraction | None, ...]:
    return (result.lower, result.upper, result.proven, result.attained)


def _target(base: Path, request: ReportRequest, allow: Sequence[Path]) -> Path:
    (name, *_) = request.arguments
    path = (base / str(name)).resolve()
    folders = [folder.resolve() for folder in (base, *allow)]
    if not any(path.is_relative_to(folder) for folder in folders):
        message = f"`{name}` leaves the folder of the spec"
        help = "write beside the spec, or allow the folder with `--allow-path DIR`"
        raise SpecError.of("E0854", message, request.span, help=help)
    return path


def _content(kind: str, checks: Sequence[CheckOutcome]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    swept = tuple(dict.fromkeys(name for check in checks for name in check.parameters))
    names = TABLE if kind == "table" else PER_SAMPLE
    writer.writerow((*names[:2], *swept, *names[2:]))
    for check in checks:
        values = tuple(plain_text(check.parameters[name]) for name in swept)
        rows = _claims(check.results) if kind == "table" else _samples(check.results)
        writer.writerows((*row[:2], *values, *row[2:]) for row in rows)
    return text.getvalue()


def _claims(results: Sequence[Result]) -> Iterator[tuple[object, ...]]:
    for result in results:
        yield (result.id, result.property_name, *_outcome(result))


def _samples(results: Sequence[Result]) -> Iterator[tuple[object, ...]]:
    for result in results:
        sample = "" if result.sample is None else result.sample
        holds = "" if result.sample_holds is None else str(result.sample_holds).lower()
        yield (sample, result.property_name, holds, *_outcome(result))


def _outcome(result: Result) -> tuple[object, ...]:
    bound = "" if result.bound is None else repr(result.bound)
    return (
        result.verdict,
        result.method,
        bound,
        f"{result.seconds:.3f}",
        result.reason or "",
    )

"""`report table("f.csv")` and `report per_sample("f.csv")`: results as CSV beside the spec."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language.spec import ReportRequest
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.source import Span

TABLE = ("id", "property", "verdict", "method", "bound", "seconds", "reason")
PER_SAMPLE = ("sample", "property", "holds_unperturbed", *TABLE[2:])


def write_requested(report: Report, allow: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Write every table that the file's checks ask for; the paths written.

    Paths are relative to the spec's folder and stay in it, or in a folder of `allow`.
    Raises SpecError E0854 where a path leaves them or cannot be written.
    """
    written: list[Path] = []
    for check in report.checks:
        for request in check.reports:
            if request.name in ("table", "per_sample"):
                path = _target(report.path.parent, request, allow)
                write_text(path, _content(request.name, check), request.span)
                written.append(path)
    return tuple(written)


def write_text(path: Path, text: str, span: Span | None = None) -> None:
    """Replace a file in one step, so that no reader sees half of it. Raises SpecError E0854."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(text)
        # Temporary files are private; a report is as readable as any new file.
        mask = os.umask(0)
        os.umask(mask)
        Path(file.name).chmod(0o666 & ~mask)
        Path(file.name).replace(path)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{path}`: {error.strerror}", span) from error


def _target(base: Path, request: ReportRequest, allow: Sequence[Path]) -> Path:
    (name, *_) = request.arguments
    path = (base / str(name)).resolve()
    folders = [folder.resolve() for folder in (base, *allow)]
    if not any(path.is_relative_to(folder) for folder in folders):
        message = f"`{name}` leaves the folder of the spec"
        help = "write beside the spec, or allow the folder with `--allow-path DIR`"
        raise SpecError.of("E0854", message, request.span, help=help)
    return path


def _content(kind: str, check: CheckOutcome) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if kind == "table":
        writer.writerow(TABLE)
        writer.writerows((r.id, r.property_name, *_outcome(r)) for r in check.results)
    else:
        writer.writerow(PER_SAMPLE)
        writer.writerows(_samples(check.results))
    return text.getvalue()


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

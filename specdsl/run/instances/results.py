"""Results files of `bench`: a row as soon as it is known, in a file that a later run goes on with.

Two forms, by the file's name: JSON lines (`.jsonl`) with all that was measured, else CSV.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from specdsl.diagnostics import SpecError
from specdsl.files import json_of, read_bytes, source_of
from specdsl.run.instances.outcome import VERDICTS, Instance, Key, Outcome, SatWord

COLUMNS = ("benchmark", "onnx", "vnnlib", "verdict", "seconds", "method", "certificate")
"""Of a CSV file."""

JSON_SUFFIX = ".jsonl"
_JSON_START = '{"benchmark": '


@dataclass(frozen=True, slots=True)
class How:
    """What else a JSON line says: the backend, and whether each row had a process of its own."""

    using: str
    isolated: bool


def read_results(path: Path) -> dict[Key, SatWord]:
    """The verdicts already in a results file; empty where there is none yet.

    A last line that was cut off by a kill is not counted as done. Raises SpecError E0857 where the
    file is something else.
    """
    text = _complete_text(path)
    rows = _json_verdicts(text, path) if _is_json(path) else _csv_verdicts(text, path)
    return {key: VERDICTS[verdict] for key, verdict in rows if verdict in VERDICTS}


@dataclass(frozen=True, slots=True, eq=False)
class ResultsFile:
    """A results file, open for more rows."""

    file: IO[str]
    is_json: bool
    how: How

    def append(self, instance: Instance, outcome: Outcome, limit: float) -> None:
        """One more row, out of this process when this returns. `limit`: seconds it was given."""
        if self.is_json:
            self.file.write(json_row(instance, outcome, limit, self.how))
        else:
            self.file.write(csv_row(instance, outcome))
        self.file.flush()


@contextmanager
def open_results(path: Path | None, how: How) -> Generator[ResultsFile]:
    """The file, opened for more rows; stdout for None. A line that a kill cut off is dropped.

    Raises SpecError E0857 where the file is something else, E0854 where it cannot be written.
    """
    if path is None:
        _write_header(sys.stdout)
        yield ResultsFile(sys.stdout, is_json=False, how=how)
        return
    kept = len(_complete_lines(path))
    try:
        file = path.open("a+", encoding="utf-8", newline="")
        file.truncate(kept)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{path}`: {error.strerror}") from error
    with file:
        if not kept and not _is_json(path):
            _write_header(file)
        yield ResultsFile(file, _is_json(path), how)


def _write_header(file: IO[str]) -> None:
    csv.writer(file, lineterminator="\n").writerow(COLUMNS)


def csv_row(instance: Instance, outcome: Outcome) -> str:
    """The line of one row, without what a CSV file does not hold."""
    text = io.StringIO()
    cells = (*instance.key, outcome.verdict, f"{outcome.seconds:.3f}", outcome.method, "")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def json_row(instance: Instance, outcome: Outcome, limit: float, how: How) -> str:
    """The line of one row: its names, what was expected, under what limit, and the outcome."""
    row: dict[str, Any] = dict(zip(COLUMNS[:3], instance.key, strict=True))
    row |= {"expected": instance.expected or None, "limit": limit}
    row |= {"using": how.using, "isolated": how.isolated, **outcome.record()}
    return json.dumps(row) + "\n"


def witness_name(instance: Instance) -> str:
    """The name of the file that holds the row's witness, different for different rows."""
    return re.sub(r"[^\w.-]+", "_", "__".join(instance.key)) + ".txt"


def read_records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines. Raises SpecError E0857 where it is something else."""
    return list(_json_rows(_complete_text(path), path))


def _is_json(path: Path) -> bool:
    return path.suffix == JSON_SUFFIX


def _complete_text(path: Path) -> str:
    return source_of(str(path), _complete_lines(path)).text


def _complete_lines(path: Path) -> bytes:
    """What there is up to the last line end. Raises SpecError E0857 for a file of another kind."""
    if not path.exists():
        return b""
    content = read_bytes(path)
    start = _JSON_START if _is_json(path) else ",".join(COLUMNS)
    if content and not content.startswith(start.encode()):
        message = f"`{path}` is no results file: it does not begin with `{start.strip()}`"
        raise SpecError.of("E0857", message, help="choose another name with `-o`")
    return content[: content.rfind(b"\n") + 1]


def _csv_verdicts(text: str, path: Path) -> Iterator[tuple[Key, str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if len(row) == len(COLUMNS)]
    except csv.Error as error:
        raise SpecError.of("E0857", f"`{path}` is not a table ({error})") from error
    for row in rows:
        yield (row[0], row[1], row[2]), row[3]


def _json_verdicts(text: str, path: Path) -> Iterator[tuple[Key, str]]:
    for row in _json_rows(text, path):
        yield (row["benchmark"], row["onnx"], row["vnnlib"]), row["verdict"]


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json_of(line)
        except ValueError as error:
            raise SpecError.of("E0857", f"`{path}`, line {number}: not JSON") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(c), str) for c in COLUMNS[:4]):
            message = f"`{path}`, line {number}: no row of results"
            raise SpecError.of("E0857", message)
        yield row

"""Tables of instances, and the counts that a run comes to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.files import read_source
from specdsl.run.instances.outcome import Instance, Key


def read_instances(path: Path) -> tuple[Instance, ...]:
    """The rows of an instances file. Raises SpecError: E05xx, E0857 naming the line."""
    source = read_source(path)
    reader = csv.DictReader(io.StringIO(source.text))
    try:
        columns, rows = reader.fieldnames or (), [(row, reader.line_num) for row in reader]
    except csv.Error as error:
        raise SpecError.of("E0857", f"`{path}` is not a table ({error})") from error
    missing = {"benchmark", "onnx", "vnnlib"} - set(columns)
    if missing:
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        help = "the first line names the columns: benchmark,onnx,vnnlib,timeout_s,verdict"
        raise SpecError.of("E0857", f"`{path}` has no column {names}", help=help)
    return tuple(_instance(row, path, line) for row, line in rows)


def _instance(row: Mapping[str, str | None], path: Path, line: int) -> Instance:
    texts = {name: (row.get(name) or "").strip() for name in ("benchmark", "onnx", "vnnlib")}
    empty = [name for name, text in texts.items() if not text]
    if empty:
        raise SpecError.of("E0857", f"`{path}`, line {line}: `{empty[0]}` is empty")
    timeout = (row.get("timeout_s") or "").strip()
    expected = (row.get("verdict") or "").strip()
    seconds = _seconds(timeout, path, line) if timeout else None
    return Instance(**texts, timeout=seconds, expected=expected, folder=path.parent)


def _seconds(text: str, path: Path, line: int) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise SpecError.of("E0857", f"`{path}`, line {line}: `{text}` is no number of seconds")
    return seconds


@dataclass(slots=True)
class Tally:
    """Counts of one benchmark; `contradictions` are rows against the trusted verdict."""

    verdicts: dict[str, int] = field(default_factory=dict[str, int])
    contradictions: list[Instance] = field(default_factory=list[Instance])

    @property
    def decided(self) -> int:
        """Rows answered `sat` or `unsat`."""
        return self.verdicts.get("sat", 0) + self.verdicts.get("unsat", 0)


def tally(instances: Iterable[Instance], verdicts: Mapping[Key, str]) -> dict[str, Tally]:
    """Counts by benchmark over the instances that have a verdict."""
    found: dict[str, Tally] = {}
    for instance in instances:
        verdict = verdicts.get(instance.key)
        if verdict is None:
            continue
        entry = found.setdefault(instance.benchmark, Tally())
        entry.verdicts[verdict] = entry.verdicts.get(verdict, 0) + 1
        if {verdict, instance.expected} == {"sat", "unsat"}:
            entry.contradictions.append(instance)
    return found

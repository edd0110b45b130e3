"""VNN-COMP instances: a network and a VNN-LIB query in, `unsat | sat | unknown | timeout` out.

This is the only place beside `query/vnnlib` where `sat` and `unsat` are words.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from specdsl.backend import Backend, Unsupported
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes, read_source
from specdsl.query.vnnlib.read import read_query
from specdsl.run.decide import answer_query
from specdsl.verdict import Falsified, Unknown, Verified, Witness

if TYPE_CHECKING:
    from specdsl.graph.onnx_import.load import ImportedNetwork

SatWord = Literal["unsat", "sat", "unknown", "timeout", "error"]

COLUMNS = ("benchmark", "onnx", "vnnlib", "verdict", "seconds", "method", "certificate")
"""Of a results file."""

DECIMALS = 60
"""Exact decimals up to this length are written out in a witness; longer ones are rounded."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One row. `onnx` and `vnnlib` as written; `folder` is what they are relative to.

    `expected` is the verdict trusted tools agree on, where the table says.
    """

    benchmark: str
    onnx: str
    vnnlib: str
    timeout: float | None
    expected: str
    folder: Path

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the row in a results file."""
        return (self.benchmark, self.onnx, self.vnnlib)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The answer to one instance. `reason`: why it is not decided, or what went wrong."""

    verdict: SatWord
    seconds: float
    method: str
    witness: Witness | None = None
    reason: str | None = None

    def row(self, instance: Instance) -> tuple[str, ...]:
        """The row of a results file."""
        return (*instance.key, self.verdict, f"{self.seconds:.3f}", self.method, "")


@dataclass(slots=True)
class Networks:
    """The network imported last: the rows of a table mostly use one after another."""

    _path: Path | None = None
    _network: ImportedNetwork | None = None

    def load(self, path: Path) -> ImportedNetwork:
        """Raises SpecError where the file cannot be read or imported."""
        from specdsl.graph.onnx_import.load import load_onnx

        if self._network is None or self._path != path:
            self._network, self._path = load_onnx(read_bytes(path), path.name), path
        return self._network


def solve(
    onnx: Path,
    vnnlib: Path,
    backend: Backend,
    timeout: float | None,
    networks: Networks | None = None,
) -> Outcome:
    """Decide one instance; the time for reading counts.

    Raises SpecError for files that cannot be read, and E0855 where the backend has no rule.
    """
    start = time.monotonic()
    network = (networks or Networks()).load(onnx)
    query = read_query(read_bytes(vnnlib), network, vnnlib.name)
    left = None if timeout is None else timeout - (time.monotonic() - start)
    if left is not None and left <= 0:
        reason = f"timeout after {timeout:g} s, all of it spent on reading"
        return Outcome("timeout", time.monotonic() - start, "reading", reason=reason)
    try:
        answer = answer_query(query, backend, left)
    except Unsupported as error:
        message = f"`{error.method}` does not support {error.what}"
        raise SpecError.of("E0855", message, help=error.advice) from error
    seconds = time.monotonic() - start
    match answer.verdict:
        case Verified():
            return Outcome("unsat", seconds, answer.method)
        case Falsified(witness):
            return Outcome("sat", seconds, answer.method, witness)
        case Unknown(reason, timeout=timed_out):
            word = "timeout" if timed_out else "unknown"
            return Outcome(word, seconds, answer.method, reason=reason)


def solve_row(
    instance: Instance, backend: Backend, timeout: float | None, networks: Networks
) -> Outcome:
    """As `solve`; what cannot be read or asked is an outcome `error` with its reason."""
    start = time.monotonic()
    try:
        onnx, vnnlib = instance.folder / instance.onnx, instance.folder / instance.vnnlib
        return solve(onnx, vnnlib, backend, timeout, networks)
    except SpecError as error:
        first = error.diagnostics[0]
        reason = f"{first.code}: {first.message}"
        return Outcome("error", time.monotonic() - start, first.code, reason=reason)


# --- tables -------------------------------------------------------------------------------------


def read_instances(path: Path) -> tuple[Instance, ...]:
    """The rows of an instances file. Raises SpecError: E05xx, E0857 naming the line."""
    source = read_source(path)
    reader = csv.DictReader(io.StringIO(source.text))
    missing = {"benchmark", "onnx", "vnnlib"} - set(reader.fieldnames or ())
    if missing:
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        help = "the first line names the columns: benchmark,onnx,vnnlib,timeout_s,verdict"
        raise SpecError.of("E0857", f"`{path}` has no column {names}", help=help)
    return tuple(_instance(row, path, reader.line_num) for row in reader)


def _instance(row: Mapping[str, str | None], path: Path, line: int) -> Instance:
    texts = {name: (row.get(name) or "").strip() for name in ("benchmark", "onnx", "vnnlib")}
    empty = [name for name, text in texts.items() if not text]
    if empty:
        raise SpecError.of("E0857", f"`{path}`, line {line}: `{empty[0]}` is empty")
    timeout = (row.get("timeout_s") or "").strip()
    try:
        seconds = float(timeout) if timeout else None
    except ValueError as error:
        message = f"`{path}`, line {line}: `{timeout}` is no number of seconds"
        raise SpecError.of("E0857", message) from error
    expected = (row.get("verdict") or "").strip()
    return Instance(**texts, timeout=seconds, expected=expected, folder=path.parent)


def read_results(path: Path) -> dict[tuple[str, str, str], SatWord]:
    """The verdicts already in a results file; empty where there is none yet.

    A last line that was cut off by a kill has too few columns and is not counted as done.
    Raises SpecError E0857 where the file is something else.
    """
    if not path.exists():
        return {}
    reader = csv.reader(io.StringIO(read_source(path).text))
    header = next(reader, None)
    if header is None:
        return {}
    if tuple(header) != COLUMNS:
        message = f"`{path}` is no results file: its first line is not `{','.join(COLUMNS)}`"
        raise SpecError.of("E0857", message, help="choose another name with `-o`")
    done: dict[tuple[str, str, str], SatWord] = {}
    for row in reader:
        if len(row) == len(COLUMNS) and row[3] in ("unsat", "sat", "unknown", "timeout", "error"):
            done[row[0], row[1], row[2]] = row[3]
    return done


@dataclass(slots=True)
class Tally:
    """Counts of one benchmark; `contradictions` are rows against the trusted verdict."""

    verdicts: dict[str, int] = field(default_factory=dict)
    contradictions: list[Instance] = field(default_factory=list)

    @property
    def decided(self) -> int:
        """Rows answered `sat` or `unsat`."""
        return self.verdicts.get("sat", 0) + self.verdicts.get("unsat", 0)


def tally(
    instances: Iterable[Instance], verdicts: Mapping[tuple[str, str, str], str]
) -> dict[str, Tally]:
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


# --- witnesses ----------------------------------------------------------------------------------


def result_text(outcome: Outcome) -> str:
    """The content of a results file of `solve`: the verdict, then the witness after `sat`."""
    if outcome.verdict != "sat" or outcome.witness is None:
        return f"{outcome.verdict}\n"
    return "sat\n(" + "\n".join(_assignments(outcome.witness)) + ")\n"


def _assignments(witness: Witness) -> Iterator[str]:
    for i, value in enumerate(witness.point.tolist()):
        yield f"(X_{i} {decimal(value)})"
    # A query of version 2.0 may leave its network out, or call it more than once.
    for call in witness.calls[:1]:
        yield from (f"(Y_{i} {value!r})" for i, value in enumerate(call.outputs.tolist()))


def decimal(value: Fraction) -> str:
    """The exact decimal expansion where it is finite and short, else the nearest float64."""
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places > DECIMALS:
        return repr(float(value))
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    return ("-" if value < 0 else "") + (f"{whole}.{decimals}" if places else f"{whole}.0")

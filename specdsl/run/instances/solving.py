"""Deciding instances in this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from specdsl.backend import Backend, Deadline, Unsupported
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.query.query import Query
from specdsl.query.vnnlib.read import read_query
from specdsl.run.answering import answer_query
from specdsl.run.certifying import certified, deadline_for
from specdsl.run.instances.outcome import Instance, Outcome
from specdsl.run.instances.witness import witness_text
from specdsl.verdict import Answer, Falsified, Unknown, Verified

if TYPE_CHECKING:
    from specdsl.graph.onnx_import.load import ImportedNetwork
    from specdsl.verdict import Semantics

KEPT_BYTES = 256 * 2**20
"""Of ONNX files: the networks of most tables together, yet not two of the largest."""


@dataclass(slots=True)
class Networks:
    """Imported networks, the least recently used dropped first where they are too large together.

    A table goes through its networks once for each property.
    """

    capacity: int = KEPT_BYTES
    _kept: OrderedDict[Path, ImportedNetwork] = field(default_factory=OrderedDict)

    def load(self, path: Path) -> ImportedNetwork:
        """Raises SpecError where the file cannot be read or imported."""
        from specdsl.graph.onnx_import.load import load_onnx

        if path not in self._kept:
            self._kept[path] = load_onnx(read_bytes(path), path.name)
        self._kept.move_to_end(path)
        while len(self._kept) > 1 and self._size() > self.capacity:
            self._kept.popitem(last=False)
        return self._kept[path]

    def _size(self) -> int:
        return sum(len(network.model) for network in self._kept.values())


@dataclass(slots=True)
class _Clock:
    """Seconds since `start`, of the wall clock, and what each part of them was."""

    start: float
    parts: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def part(self, name: str) -> None:
        """What has passed since the last part belongs to `name`."""
        self.parts[name] = self.seconds - sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Asked:
    """How instances are decided. `timeout`: seconds for each. `semantics`: what a certificate of
    `unsat` is about; without it there is none.
    """

    backend: Backend
    timeout: float | None
    semantics: Semantics | None = None


def solve(
    onnx: Path,
    vnnlib: Path,
    asked: Asked,
    *,
    networks: Networks | None = None,
    start: float | None = None,
) -> Outcome:
    """Decide one instance; the time for reading counts, from `start` on (of `time.monotonic`).

    Raises SpecError for files that cannot be read, and E0855 where the backend has no rule.
    """
    clock = _Clock(time.monotonic() if start is None else start)
    if start is not None:
        clock.part("start_seconds")
    network = (networks or Networks()).load(onnx)
    clock.part("import_seconds")
    query = read_query(read_bytes(vnnlib), network, vnnlib.name)
    clock.part("query_seconds")
    left = None if asked.timeout is None else asked.timeout - clock.seconds
    if left is not None and left <= 0:
        reason = f"timeout after {asked.timeout:g} s, all of it spent on reading"
        return Outcome("timeout", clock.seconds, "reading", reason=reason, statistics=clock.parts)
    deadline = Deadline.after(left)
    answer = _answer(query, asked.backend, left)
    clock.part("answer_seconds")
    if asked.semantics is not None:
        until = deadline_for(answer, deadline)
        answer = certified(query, answer, asked.semantics, until)
        clock.part("certificate_seconds")
    outcome = _outcome(answer, clock.seconds)
    verdict = answer.verdict
    content = verdict.certificate.content if isinstance(verdict, Verified) else None
    statistics = {**clock.parts, **answer.statistics}
    return replace(outcome, statistics=statistics, certificate=content)


def solve_row(
    instance: Instance, backend: Backend, timeout: float | None, networks: Networks
) -> Outcome:
    """As `solve`; what cannot be read or asked is an outcome `error` with its reason."""
    start, cpu = time.monotonic(), time.process_time()
    try:
        asked = Asked(backend, timeout)
        outcome = solve(instance.network, instance.query, asked, networks=networks)
    except SpecError as error:
        outcome = refused(error, time.monotonic() - start)
    return replace(outcome, cpu_seconds=time.process_time() - cpu)


def refused(error: SpecError, seconds: float) -> Outcome:
    """The outcome of an instance that cannot be read or asked."""
    first = error.diagnostics[0]
    return Outcome("error", seconds, first.code, reason=f"{first.code}: {first.message}")


def _answer(query: Query, backend: Backend, timeout: float | None) -> Answer:
    try:
        return answer_query(query, backend, timeout)
    except Unsupported as error:
        message = f"`{error.method}` does not support {error.what}"
        raise SpecError.of("E0855", message, help=error.advice) from error


def _outcome(answer: Answer, seconds: float) -> Outcome:
    match answer.verdict:
        case Verified(certificate):
            return Outcome("unsat", seconds, answer.method, bound=certificate.margin)
        case Falsified(witness):
            return Outcome("sat", seconds, answer.method, witness_text(witness))
        case Unknown(reason, bound, timeout=timed_out):
            word = "timeout" if timed_out else "unknown"
            return Outcome(word, seconds, answer.method, reason=reason, bound=bound)

"""One row of a table of instances, and the answer to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SatWord = Literal["unsat", "sat", "unknown", "timeout", "error"]

WORDS: tuple[SatWord, ...] = ("unsat", "sat", "unknown", "timeout", "error")
"""Every verdict, the decided ones first. `error`: the instance could not be read or asked."""

VERDICTS: dict[str, SatWord] = {word: word for word in WORDS}
"""To find a verdict by a text that may be none."""

Key = tuple[str, str, str]
"""Benchmark, network and query, as the table writes them."""


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
    def key(self) -> Key:
        """What identifies the row in a results file."""
        return (self.benchmark, self.onnx, self.vnnlib)

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.folder / self.onnx

    @property
    def query(self) -> Path:
        """The VNN-LIB file."""
        return self.folder / self.vnnlib


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The answer to one instance, and what it cost.

    `seconds`: of the wall clock. `witness`: in VNN-COMP's form, after `sat`. `reason`: why it is
    not decided, or what went wrong. `bound`: the best proven lower bound on the deciding margin.
    `cpu_seconds`, `peak_mib`: where they could be measured for this instance alone; the latter of a
    process of its own only. `statistics`: of the method, and the seconds that each part took.
    `certificate`: the content of a file that proves `unsat`, where one was asked for.
    """

    verdict: SatWord
    seconds: float
    method: str
    witness: str | None = None
    reason: str | None = None
    bound: float | None = None
    cpu_seconds: float | None = None
    peak_mib: float | None = None
    statistics: Mapping[str, float] = field(default_factory=dict[str, float])
    certificate: bytes | None = field(default=None, repr=False)

    @property
    def decided(self) -> bool:
        """Whether it is `sat` or `unsat`."""
        return self.verdict in ("sat", "unsat")

    def contradicts(self, expected: str) -> bool:
        """Whether one of the two must be wrong."""
        return {self.verdict, expected} == {"sat", "unsat"}

    def record(self) -> dict[str, Any]:
        """What JSON can say of it, without the witness: that has a file of its own."""
        return {
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": _number(self.cpu_seconds),
            "peak_mib": _number(self.peak_mib),
            "method": self.method,
            "reason": self.reason,
            "bound": _finite(self.bound),
            "certificate": None,
            "statistics": {name: _finite(value) for name, value in self.statistics.items()},
        }


def result_text(outcome: Outcome) -> str:
    """The content of a results file of `solve`: the verdict, then the witness after `sat`."""
    if outcome.verdict != "sat" or outcome.witness is None:
        return f"{outcome.verdict}\n"
    return f"sat\n{outcome.witness}\n"


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _finite(value: float | None) -> float | None:
    """JSON has no infinities."""
    return None if value is None or not math.isfinite(value) else float(value)

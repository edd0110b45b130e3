"""What a `maximize`, `minimize`, `largest` or `smallest` gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from specdsl.diagnostics import Diagnostic
from specdsl.language.spec import ReportRequest, Value
from specdsl.run.exit_codes import ExitCode
from specdsl.run.outcomes import ExpectOutcome, Proven, ShownWitness
from specdsl.source import Span
from specdsl.verdict import Certificate


@dataclass(frozen=True, slots=True, eq=False)
class QueryResult(Proven):
    """Both ends of one optimum; None where nothing is known of an end.

    `maximize`: `upper` is proven, `lower` attained at `argument`; `minimize` the other way round.
    `largest`: `lower` is verified, `upper` falsified by `argument`; `smallest` the other way round.
    `complete`: the ends are as near as was asked for, or there is no optimum (`reason` says why).
    `cached`: every step was answered in an earlier run. `certificate`: of the proven end;
    `content`, `certificate_file`: as of a `Result`.
    """

    id: str
    number: int
    kind: Literal["maximize", "minimize", "largest", "smallest"]
    method: str
    span: Span
    sample: int | None = None
    lower: Fraction | None = None
    upper: Fraction | None = None
    argument: ShownWitness | None = None
    complete: bool = False
    reason: str | None = None
    steps: int = 0
    seconds: float = 0.0
    diagnostics: tuple[Diagnostic, ...] = ()
    cached: bool = False
    certificate: Certificate | None = None
    content: bytes | None = None
    certificate_file: Path | None = None

    @property
    def word(self) -> str:
        """`found` where both ends meet, `none` where there is no optimum, `open`, or `error`."""
        if self.diagnostics:
            return "error"
        if not self.complete:
            return "open"
        return "none" if self.proven is None else "found"

    @property
    def proven(self) -> Fraction | None:
        """The end that is proven: what figures and `expect` are about."""
        return self.lower if self.kind in {"minimize", "largest"} else self.upper

    @property
    def attained(self) -> Fraction | None:
        """The end that a witness shows."""
        return self.upper if self.kind in {"minimize", "largest"} else self.lower


@dataclass(frozen=True, slots=True, eq=False)
class QueryOutcome:
    """One query of the file with all members of its `for`. `figures` are exact, by name."""

    name: str
    number: int
    results: tuple[QueryResult, ...]
    figures: Mapping[str, Fraction]
    expects: tuple[ExpectOutcome, ...]
    reports: tuple[ReportRequest, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def exit_codes(self, unknown_fails: bool) -> set[ExitCode]:
        """What this query contributes. With an `expect` nothing but the `expect` counts."""
        codes: set[ExitCode] = set()
        if any(r.diagnostics for r in self.results):
            codes.add(ExitCode.USAGE)
        if any(e.met is False for e in self.expects):
            codes.add(ExitCode.FALSIFIED)
        open_ = any(not r.complete for r in self.results)
        unsure = any(e.met is None for e in self.expects) if self.expects else open_
        if unknown_fails and unsure:
            codes.add(ExitCode.UNKNOWN)
        return codes

"""What a run found: one `Result` an obligation, gathered in a `Report`. Values only, no solving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from specdsl.diagnostics import Diagnostic
from specdsl.language.spec import ReportRequest, Value
from specdsl.run.exit_codes import ExitCode, first_of
from specdsl.run.outcomes import ExpectOutcome, Proven, ShownWitness
from specdsl.run.query_result import QueryOutcome
from specdsl.source import Span
from specdsl.verdict import Certificate, Estimate

VerdictWord = Literal["verified", "falsified", "unknown"]


@dataclass(frozen=True, slots=True, eq=False)
class Result(Proven):
    """The outcome of one obligation.

    `check` is the position of its `check` in the file, `sample` what is in the brackets of the id.
    An `exists` that has a witness is `verified`, one that has a certificate `falsified`.
    `bound`: proven lower bound on the deciding margin, where there is one. `diagnostics`: why it
    could not be asked at all; the verdict is then `unknown`. `warnings`: what is odd about it, for
    example that nothing satisfies its conditions. `sample_holds`: whether the claim
    holds at the unperturbed sample, where that was asked for. `cached`: the answer was kept from an
    earlier run, and so were its `seconds`. `estimate`: what samples say of it, where it is unknown
    and they do. `certificate_file`: where the independent checker reads
    why it holds, or fails; `content`: bytes of a witness on their way there.
    """

    id: str
    property_name: str
    check: int
    verdict: VerdictWord
    method: str
    seconds: float
    span: Span | None = None
    sample: int | None = None
    reason: str | None = None
    advice: str | None = None
    bound: float | None = None
    estimate: Estimate | None = None
    certificate: Certificate | None = None
    witness: ShownWitness | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    sample_holds: bool | None = None
    cached: bool = False
    certificate_file: Path | None = None
    content: bytes | None = None

    @property
    def word(self) -> str:
        """The verdict, or `error` where the obligation could not be asked."""
        return "error" if self.diagnostics else self.verdict


@dataclass(frozen=True, slots=True, eq=False)
class CheckOutcome:
    """One `check` of the file. `figures` are exact shares, by name.

    `figures` are over the results at hand. `parameters`: the values of those that are swept, for
    which this is the outcome.
    """

    name: str
    index: int
    results: tuple[Result, ...]
    figures: Mapping[str, Fraction]
    expects: tuple[ExpectOutcome, ...]
    reports: tuple[ReportRequest, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def verdict(self) -> VerdictWord:
        """Of all obligations together: a check holds where every one of them does."""
        words = {r.verdict for r in self.results}
        return (
            "falsified" if "falsified" in words else "unknown" if "unknown" in words else "verified"
        )

    def exit_codes(self, unknown_fails: bool) -> set[ExitCode]:
        """What this check contributes. With an `expect` nothing but the `expect` counts."""
        codes: set[ExitCode] = set()
        if any(r.diagnostics for r in self.results):
            codes.add(ExitCode.USAGE)
        if self.expects:
            if any(e.met is False for e in self.expects):
                codes.add(ExitCode.FALSIFIED)
            if unknown_fails and any(e.met is None for e in self.expects):
                codes.add(ExitCode.UNKNOWN)
            return codes
        if any(r.verdict == "falsified" for r in self.results):
            codes.add(ExitCode.FALSIFIED)
        if unknown_fails and any(r.verdict == "unknown" for r in self.results):
            codes.add(ExitCode.UNKNOWN)
        return codes


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything one spec file gave. `diagnostics` hold what concerns the file as a whole.

    `parameters`: their values, of a swept one all as a tuple; each combination has its own checks.

    `deselected`: obligations that `-k` left out; `skipped`: those not started because the run
    stopped early (`-x` or an interrupt).
    """

    path: Path
    parameters: Mapping[str, Value]
    checks: tuple[CheckOutcome, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    seconds: float = 0.0
    deselected: int = 0
    skipped: int = 0
    interrupted: bool = False
    unknown_fails: bool = True
    queries: tuple[QueryOutcome, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """All results, in the order of the file."""
        return tuple(result for check in self.checks for result in check.results)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many results have each verdict."""
        found = Counter(result.verdict for result in self.results)
        return {word: found[word] for word in ("verified", "falsified", "unknown")}

    @property
    def exit_code(self) -> int:
        """What the process returns for this file alone."""
        return combined_exit_code([self])

    def codes(self) -> set[ExitCode]:
        """Every exit code that applies; empty where all passed."""
        outcomes = (*self.checks, *self.queries)
        codes = {c for outcome in outcomes for c in outcome.exit_codes(self.unknown_fails)}
        if any(d.severity == "error" for d in self.diagnostics):
            codes.add(ExitCode.USAGE)
        if self.interrupted:
            codes.add(ExitCode.INTERRUPTED)
        return codes


def combined_exit_code(reports: Iterable[Report]) -> int:
    """The exit code of several reports together, by precedence; 5 where nothing was collected."""
    reports = list(reports)
    codes: set[ExitCode] = set().union(*(report.codes() for report in reports))
    if codes or any(report.results or report.queries for report in reports):
        return int(first_of(codes))
    return int(ExitCode.NOTHING)

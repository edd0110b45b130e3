"""`specdsl audit`: certificates checked again, from their files alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.files import read_bytes
from specdsl.proof import EXACT, FLOAT, Checked, Refused, check, read_certificate
from specdsl.report.wording import plural
from specdsl.run.exit_codes import ExitCode, first_of

if TYPE_CHECKING:
    from specdsl.run.proven import Asked, Questions


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of one file: `found`, or the reason why it was refused."""

    path: Path
    seconds: float
    found: Checked | None
    reason: str | None

    @property
    def code(self) -> ExitCode:
        """What it alone would end with."""
        return ExitCode.UNKNOWN if self.found is None else ExitCode.PASSED

    def line(self, about: Sequence[Asked] | None) -> str:
        """For people. `about`: obligations, where some are asked for."""
        if self.found is None:
            return f"{self.path}: refused: {self.reason}"
        count = self.found.leaves
        leaves = "1 leaf" if count == 1 else f"{count:,} leaves" if count else "a witness"
        trusted = f"; trusted: {', '.join(self.found.trusted)}" if self.found.trusted else ""
        what = f"{self.found.semantics}, {leaves}, question {self.found.question[:12]}"
        line = f"{self.path}: accepted ({what}{trusted}; {self.seconds:.2f} s)"
        if about is None:
            return line
        said = ", ".join(f"{each.id} {self.verdict(each)}" for each in about)
        return f"{line}: {said or 'no obligation of the spec asks this'}"

    def verdict(self, asked: Asked) -> str:
        """On an obligation that asks its question."""
        assert self.found is not None
        return asked.verdict(witness=self.found.leaves is None)

    def record(self, about: Sequence[Asked] | None) -> dict[str, object]:
        """For programs."""
        found = self.found
        verdicts = {each.id: self.verdict(each) for each in about or ()}
        named = {} if about is None else {"verdicts": verdicts}
        return {
            "certificate": str(self.path),
            "accepted": found is not None,
            "reason": self.reason,
            "question": None if found is None else found.question,
            "semantics": None if found is None else found.semantics,
            "leaves": None if found is None else found.leaves,
            "witness": None if found is None else found.leaves is None,
            "trusted": None if found is None else list(found.trusted),
            "seconds": round(self.seconds, 3),
            **named,
        }


@click.command("audit")
@click.argument("certificates", nargs=-1, required=True, type=options.FILE)
@click.option("--exact", is_flag=True, help="In rationals: slow, for small networks.")
@click.option(
    "--spec",
    type=options.FILE,
    metavar="FILE.spec",
    help="Compile it, and say which of its obligations the certificates decide.",
)
@options.parameters
@options.allowed
@click.option(
    "--output-format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Lines for people (default), or one JSON object a line.",
)
def audit_command(
    certificates: tuple[Path, ...],
    exact: bool,
    spec: Path | None,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    output_format: str,
) -> int:
    """Check CERTIFICATES (*.sdcert) again. Exit code 0 where all are accepted, else 4.

    Nothing is loaded but the checker: no solver, no compiler, no network but what the file holds.
    With --spec the compiler as well, since a certificate proves what it asks: also 4 where an
    obligation has no certificate, 1 where one is falsified.
    """
    text = output_format == "text"
    audits = (_audit(path, exact=exact) for path in certificates)
    if spec is not None:
        return _of_spec(spec, parameters, allowed, list(audits), text=text)
    codes = {ExitCode.PASSED}
    for audit in audits:
        click.echo(audit.line(None) if text else json.dumps(audit.record(None)))
        codes.add(audit.code)
    return first_of(codes)


def _of_spec(
    spec: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    audits: Sequence[Audit],
    *,
    text: bool,
) -> ExitCode:
    """Files with the obligations that they decide, and obligations that none does."""
    questions = _questions(spec, parameters, allowed, audits)
    codes = {audit.code for audit in audits}
    verdicts: dict[str, str] = {}
    for audit in audits:
        about = questions.asked.get(audit.found.question, []) if audit.found else []
        click.echo(audit.line(about) if text else json.dumps(audit.record(about)))
        verdicts |= {each.id: audit.verdict(each) for each in about}
    for id in questions.ids:
        if id not in verdicts:
            codes.add(ExitCode.UNKNOWN)
            record = {"certificate": None, "obligation": id}
            click.echo(f"{id}: no certificate" if text else json.dumps(record))
    counts = Counter(verdicts.values())
    codes |= {ExitCode.FALSIFIED} if counts["falsified"] else set()
    if text:
        total = plural(len(questions.ids), "obligation", "obligations")
        click.echo(f"{total}: {counts['verified']} verified, {counts['falsified']} falsified")
    return first_of(codes)


def _questions(
    spec: Path, parameters: tuple[str, ...], allowed: tuple[Path, ...], audits: Sequence[Audit]
) -> Questions:
    """Of a spec, under the semantics that some accepted certificate has."""
    from specdsl.run.pipeline import load_combinations
    from specdsl.run.proven import questions_of

    known = {audit.found.semantics for audit in audits if audit.found is not None}
    combinations = load_combinations(spec, options.parse_parameters(parameters), allowed)
    print_diagnostics(dict.fromkeys(w for c in combinations for w in c.spec.warnings))
    return questions_of(combinations, known)


def _audit(path: Path, *, exact: bool) -> Audit:
    content, start = read_bytes(path), time.monotonic()
    try:
        found = check(read_certificate(content), EXACT if exact else FLOAT)
    except Refused as refusal:
        return Audit(path, time.monotonic() - start, None, str(refusal))
    return Audit(path, time.monotonic() - start, found, None)

"""`specdsl audit`: certificates checked again, from their files alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import click

from specdsl.cli import options
from specdsl.files import read_bytes
from specdsl.proof import EXACT, FLOAT, Checked, Refused, check, read_certificate
from specdsl.run.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of one file: `found`, or the reason why it was refused."""

    path: Path
    seconds: float
    found: Checked | None
    reason: str | None

    def line(self) -> str:
        """For people."""
        if self.found is None:
            return f"{self.path}: refused: {self.reason}"
        count = self.found.leaves
        leaves = "1 leaf" if count == 1 else f"{count:,} leaves" if count else "a witness"
        trusted = f"; trusted: {', '.join(self.found.trusted)}" if self.found.trusted else ""
        what = f"{self.found.semantics}, {leaves}, question {self.found.question[:12]}"
        return f"{self.path}: accepted ({what}{trusted}; {self.seconds:.2f} s)"

    def record(self) -> dict[str, object]:
        """For programs."""
        found = self.found
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
        }


@click.command("audit")
@click.argument("certificates", nargs=-1, required=True, type=options.FILE)
@click.option("--exact", is_flag=True, help="In rationals: slow, for small networks.")
@click.option(
    "--output-format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Lines for people (default), or one JSON object a line.",
)
def audit_command(certificates: tuple[Path, ...], exact: bool, output_format: str) -> int:
    """Check CERTIFICATES (*.sdcert) again. Exit code 0 where all are accepted, else 4.

    Nothing is loaded but the checker: no solver, no compiler, no network but what the file holds.
    """
    refused = False
    for path in certificates:
        audit = _audit(path, exact=exact)
        refused |= audit.found is None
        click.echo(audit.line() if output_format == "text" else json.dumps(audit.record()))
    return ExitCode.UNKNOWN if refused else ExitCode.PASSED


def _audit(path: Path, *, exact: bool) -> Audit:
    content, start = read_bytes(path), time.monotonic()
    try:
        found = check(read_certificate(content), EXACT if exact else FLOAT)
    except Refused as refusal:
        return Audit(path, time.monotonic() - start, None, str(refusal))
    return Audit(path, time.monotonic() - start, found, None)

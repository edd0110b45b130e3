"""`specdsl solve`: one VNN-COMP instance."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specdsl.cli import options
from specdsl.diagnostics import SpecError
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.run.instances.outcome import Outcome
    from specdsl.verdict import Semantics


@dataclass(frozen=True, slots=True)
class Settings:
    """How the instance is decided, within what, and where the answer goes. `memory` in GiB."""

    timeout: float | None
    memory: float | None
    using: str
    seed: int | None
    device: str
    results: Path | None
    record: Path | None
    certificate: Path | None
    semantics: Semantics


@click.command("solve")
@click.argument("network", type=options.FILE)
@click.argument("query", type=options.FILE)
@options.timeout
@options.memory
@options.using
@options.seed
@options.device
@click.option("--results", type=options.FILE, metavar="FILE", help="Write the result there too.")
@click.option(
    "--record",
    type=options.FILE,
    metavar="FILE",
    help="Write there, as JSON, the verdict, how it came about and what it cost.",
)
@click.option(
    "--certificate",
    type=options.FILE,
    metavar="FILE",
    help="Answer `unsat` only with a certificate that the independent checker accepts; write it.",
)
@click.option(
    "--semantics",
    type=click.Choice(["real", "float32_any_order"]),
    default="real",
    help="Of the certificate: real numbers (default), or float32 in any order of summation.",
)
def solve_command(network: Path, query: Path, **given: Any) -> int:
    """Decide one instance: NETWORK.onnx and QUERY.vnnlib (1.0 or 2.0), either gzipped.

    Prints `unsat` (the property holds), `sat`, `unknown` or `timeout`; after `sat` the witness.
    """
    # Before anything heavy is imported: that counts as well.
    start = time.monotonic()
    settings = Settings(**given)
    if settings.memory is not None:
        _limit_memory(settings.memory)
    from specdsl.run.start_up import quick_imports

    with quick_imports():
        from specdsl.run.answering import DEFAULT_TIMEOUT
        from specdsl.run.asked_backend import asked_backend
        from specdsl.run.instances.outcome import result_text
        from specdsl.run.instances.solving import Asked, refused, solve

        chosen = asked_backend(settings.using)
        backend = chosen.create(settings.seed, settings.device)
        limit = settings.timeout or chosen.timeout or DEFAULT_TIMEOUT
        semantics = None if settings.certificate is None else settings.semantics
        asked = Asked(backend, limit, semantics)
    try:
        outcome = solve(network, query, asked, start=start)
    except SpecError as error:
        _record(settings.record, refused(error, time.monotonic() - start))
        raise
    click.echo(result_text(outcome), nl=False)
    if outcome.reason:
        click.echo(outcome.reason, err=True)
    _write(settings.results, result_text(outcome))
    if settings.certificate is not None and outcome.certificate is not None:
        from specdsl.writing import write_bytes

        write_bytes(settings.certificate, outcome.certificate)
    _record(settings.record, outcome, settings.certificate)
    return ExitCode.PASSED


def _record(path: Path | None, outcome: Outcome, certificate: Path | None = None) -> None:
    record = outcome.record()
    if outcome.certificate is not None:
        record["certificate"] = str(certificate)
    _write(path, json.dumps(record))


def _write(path: Path | None, text: str) -> None:
    from specdsl.writing import write_text

    if path is not None:
        write_text(path, text)


def _limit_memory(gib: float) -> None:
    """What goes beyond the limit fails to be allocated, in this process."""
    from specdsl.run.memory import can_limit, limit_memory

    if not can_limit():
        raise click.UsageError("--memory needs a system with resource limits")
    limit_memory(gib)

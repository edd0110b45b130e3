"""`specdsl solve` and `specdsl bench`: VNN-COMP instances."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.backend import Backend
    from specdsl.run.instances import Instance, Outcome, Tally

using = click.option("--using", default="portfolio", show_default=True, metavar="BACKEND")
seed = click.option("--seed", type=click.IntRange(min=0))


@click.command("solve")
@click.argument("network", type=options.FILE)
@click.argument("query", type=options.FILE)
@options.timeout
@using
@seed
@click.option("--results", type=options.FILE, metavar="FILE", help="Write the result there too.")
def solve_command(
    network: Path,
    query: Path,
    timeout: float | None,
    using: str,
    seed: int | None,
    results: Path | None,
) -> int:
    """Decide one instance: NETWORK.onnx and QUERY.vnnlib (1.0 or 2.0), either gzipped.

    Prints `unsat` (the property holds), `sat`, `unknown` or `timeout`; after `sat` the witness.
    """
    from specdsl.backends.registry import create
    from specdsl.report.tables import write_text
    from specdsl.run.decide import DEFAULT_TIMEOUT
    from specdsl.run.instances import result_text, solve

    backend = create(using, {}, seed)
    outcome = solve(network, query, backend, timeout or DEFAULT_TIMEOUT)
    text = result_text(outcome)
    click.echo(text, nl=False)
    if outcome.reason:
        click.echo(outcome.reason, err=True)
    if results is not None:
        write_text(results, text)
    return ExitCode.PASSED


@click.command("bench")
@click.argument("instances", type=options.FILE)
@click.option("-o", "output", type=options.FILE, metavar="FILE", help="Results, row by row.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For each instance; goes before the table's timeout_s. Default: 60.",
)
@click.option(
    "-k",
    "selection",
    metavar="EXPR",
    help="Only rows whose benchmark, onnx or vnnlib match, for example -k 'acasxu and prop_2'.",
)
@using
@seed
def bench_command(
    instances: Path,
    output: Path | None,
    timeout: float | None,
    selection: str | None,
    using: str,
    seed: int | None,
) -> int:
    """Decide the rows of INSTANCES.csv, in one process.

    With -o every row is written as soon as it is known, and rows already there are skipped, so
    that a run can be stopped and resumed. Ends with 1 where a verdict contradicts the table's
    own `verdict` column.
    """
    from specdsl.backends.registry import create
    from specdsl.run.instances import read_instances, read_results, tally

    chosen = options.parse_optional_selection(selection)
    rows = [r for r in read_instances(instances) if not chosen or chosen.matches(" ".join(r.key))]
    backend = create(using, {}, seed)
    verdicts = {} if output is None else dict(read_results(output))
    left = [row for row in rows if row.key not in verdicts]
    if len(left) < len(rows):
        click.echo(f"{len(rows) - len(left)} of {len(rows)} rows are done already", err=True)
    interrupted = False
    with _results_file(output) as file:
        try:
            for row, outcome in _solve_rows(left, backend, timeout, file):
                verdicts[row.key] = outcome.verdict
        except KeyboardInterrupt:
            interrupted = True
    counts = tally(rows, verdicts)
    click.echo(_summary(counts))
    if interrupted:
        return ExitCode.INTERRUPTED
    if any(entry.contradictions for entry in counts.values()):
        return ExitCode.FALSIFIED
    return ExitCode.PASSED if rows else ExitCode.NOTHING


def _solve_rows(
    rows: list[Instance], backend: Backend, timeout: float | None, file: IO[str]
) -> Iterator[tuple[Instance, Outcome]]:
    """Each row with its outcome, written and told as soon as it is known."""
    from specdsl.run.decide import DEFAULT_TIMEOUT
    from specdsl.run.instances import Networks, solve_row

    networks = Networks()
    for number, row in enumerate(rows, 1):
        limit = timeout or row.timeout or DEFAULT_TIMEOUT
        outcome = solve_row(row, backend, limit, networks)
        _write_row(file, row, outcome)
        _tell(f"[{number}/{len(rows)}]", row, outcome)
        yield row, outcome


def _results_file(output: Path | None) -> IO[str]:
    """The results file, opened for more rows, with its header; stdout without `-o`."""
    from specdsl.diagnostics import SpecError
    from specdsl.run.instances import COLUMNS

    if output is None:
        file = click.open_file("-", "w")
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        return file
    try:
        file = output.open("a+", encoding="utf-8", newline="")
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{output}`: {error.strerror}") from error
    file.seek(0)
    content = file.read()
    if not content:
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)
    elif not content.endswith("\n"):
        file.write("\n")  # a kill cut the last row off
    file.flush()
    return file


def _write_row(file: IO[str], instance: Instance, outcome: Outcome) -> None:
    csv.writer(file, lineterminator="\n").writerow(outcome.row(instance))
    file.flush()


def _tell(position: str, instance: Instance, outcome: Outcome) -> None:
    line = f"{position} {' '.join(instance.key)}: {outcome.verdict} ({outcome.seconds:.2f} s)"
    if {outcome.verdict, instance.expected} == {"sat", "unsat"}:
        line += f"  CONTRADICTS {instance.expected}"
    if outcome.reason:
        line += f"  {outcome.reason}"
    click.echo(line, err=True)


def _summary(counts: dict[str, Tally]) -> str:
    """A line for each benchmark: what was decided, what not, what contradicts the table."""
    columns = ("unsat", "sat", "unknown", "timeout", "error")
    width = max((len(name) for name in counts), default=0)
    width = max(width, len("benchmark"))
    head = ("decided", *columns, "contradictions")
    lines = [f"{'benchmark':<{width}}  " + "  ".join(f"{c:>7}" for c in head)]
    for name, entry in counts.items():
        total = sum(entry.verdicts.values())
        cells = [f"{entry.decided}/{total}"]
        cells += [str(entry.verdicts.get(word, 0)) for word in columns]
        cells.append(str(len(entry.contradictions)))
        lines.append(f"{name:<{width}}  " + "  ".join(f"{c:>7}" for c in cells))
    lines += [
        f"contradicts `{row.expected}`: {' '.join(row.key)}"
        for entry in counts.values()
        for row in entry.contradictions
    ]
    return "\n".join(lines)

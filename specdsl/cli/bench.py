"""`specdsl bench`: many VNN-COMP instances, in one process or in one each."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specdsl.cli import options
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.run.instances.outcome import Instance, Outcome
    from specdsl.run.instances.tables import Tally


@dataclass(frozen=True, slots=True)
class Settings:
    """How the rows are decided. `memory` in GiB, of each process where they have their own."""

    using: str
    seed: int | None
    device: str
    timeout: float | None
    isolate: bool
    memory: float | None
    jobs: int

    def limit(self, instance: Instance) -> float:
        """Seconds that the row may take."""
        from specdsl.run.answering import DEFAULT_TIMEOUT

        return self.timeout or instance.timeout or DEFAULT_TIMEOUT


@click.command("bench")
@click.argument("instances", type=options.FILE)
@click.option(
    "-o",
    "output",
    type=options.FILE,
    metavar="FILE",
    help="Results, row by row: CSV, or with all that was measured where it ends in .jsonl.",
)
@click.option(
    "--witnesses",
    type=options.FILE,
    metavar="DIR",
    help="Write the witness of every `sat` row there, as `solve` prints it.",
)
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
@click.option(
    "--isolate",
    is_flag=True,
    help="Each row in a process of its own, start-up included, ended where it overruns.",
)
@options.memory
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Rows decided at a time; more than one needs --isolate.",
)
@options.using
@options.seed
@options.device
def bench_command(
    instances: Path,
    output: Path | None,
    witnesses: Path | None,
    selection: str | None,
    **given: Any,
) -> int:
    """Decide the rows of INSTANCES.csv, in one process or in one each.

    With -o every row is written as soon as it is known, and rows already there are skipped, so
    that a run can be stopped and resumed. Ends with 1 where a verdict contradicts the table's
    own `verdict` column.
    """
    from specdsl.run.asked_backend import asked_backend
    from specdsl.run.instances.results import How, open_results, read_results
    from specdsl.run.instances.tables import read_instances, tally

    settings = Settings(**given)
    _require_isolation(settings)
    asked = asked_backend(settings.using)
    settings = replace(settings, timeout=settings.timeout or asked.timeout)
    if settings.device == "cuda":
        # Once, not for each row anew; it loads torch, which `--isolate` leaves to children else.
        from specdsl.bounds.devices import require_device

        require_device(settings.device)
    chosen = options.parse_optional_selection(selection)
    rows = [r for r in read_instances(instances) if not chosen or chosen.matches(" ".join(r.key))]
    verdicts = {} if output is None else dict(read_results(output))
    left = [row for row in rows if row.key not in verdicts]
    if len(left) < len(rows):
        click.echo(f"{len(rows) - len(left)} of {len(rows)} rows are done already", err=True)
    how = How(settings.using, settings.isolate)
    interrupted = False
    with open_results(output, how) as file:
        try:
            with closing(_solve(left, settings)) as answers:
                for number, (row, outcome) in enumerate(answers, 1):
                    _keep_witness(witnesses, row, outcome)
                    file.append(row, outcome, settings.limit(row))
                    _tell(f"[{number}/{len(left)}]", row, outcome)
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


def _require_isolation(settings: Settings) -> None:
    """Bad usage where an option means nothing in one process."""
    if settings.isolate and sys.platform == "win32":
        raise click.UsageError("--isolate needs a POSIX system")
    for name, is_given in (("--memory", settings.memory), ("--jobs", settings.jobs > 1)):
        if is_given and not settings.isolate:
            raise click.UsageError(f"{name} is about processes of their own: add --isolate")


def _solve(rows: list[Instance], settings: Settings) -> Generator[tuple[Instance, Outcome]]:
    """Each row with its outcome as soon as it is known."""
    if settings.isolate:
        # Nothing heavy is imported here: the memory of this process would count for each child's.
        from specdsl.run.instances.isolated import Limits, Question, solve_isolated

        questions = [
            Question(
                row,
                Limits(settings.limit(row), settings.memory),
                settings.using,
                settings.seed,
                settings.device,
            )
            for row in rows
        ]
        with closing(solve_isolated(questions, settings.jobs)) as answers:
            for question, outcome in answers:
                yield question.instance, outcome
        return
    from specdsl.run.asked_backend import asked_backend
    from specdsl.run.instances.solving import Networks, solve_row

    backend = asked_backend(settings.using).create(settings.seed, settings.device)
    networks = Networks()
    for row in rows:
        yield row, solve_row(row, backend, settings.limit(row), networks)


def _keep_witness(folder: Path | None, instance: Instance, outcome: Outcome) -> None:
    from specdsl.run.instances.outcome import result_text
    from specdsl.run.instances.results import witness_name
    from specdsl.writing import write_text

    if folder is None or outcome.verdict != "sat":
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / witness_name(instance), result_text(outcome))


def _tell(position: str, instance: Instance, outcome: Outcome) -> None:
    line = f"{position} {' '.join(instance.key)}: {outcome.verdict} ({outcome.seconds:.2f} s)"
    if outcome.contradicts(instance.expected):
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

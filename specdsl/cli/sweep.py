"""`specdsl sweep`: a training for many values of its parameters, and their Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.training.sweep.journal import Trial
    from specdsl.training.sweep.run import SamplerName
    from specdsl.training.sweep.space import Values
    from specdsl.training.sweep.trainings import Task

FOLDER_ENDING = ".sweep"


@click.command("sweep")
@options.path
@click.option(
    "-D",
    "parameters",
    multiple=True,
    metavar="NAME=VALUES",
    help="What varies: -D alpha=1/100..1/2 (with `:log` by ratios, with `:1/10` in steps), "
    "-D 'alpha=one_of(1/10, 1/2)', or the preset of the block, -D 'method=one_of(...)'. One value "
    "sets a parameter. Repeatable.",
)
@options.allowed
@click.option("--network", metavar="NAME", help="Whose training, where the spec has several.")
@click.option(
    "--on",
    metavar="PART",
    help="Samples that trials are judged by, as 'data[1200:1500]': neither trained on nor tested. "
    "Default: those of `keep best`.",
)
@click.option(
    "--sampler",
    type=click.Choice(["grid", "random", "tpe"]),
    help="Default: grid where all values are listed, else random; tpe needs optuna.",
)
@click.option("--trials", type=click.IntRange(1, 1000), help="For random and tpe. Default: 20.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Default: one for each core.")
@click.option(
    "-o", "folder", type=options.FILE, metavar="DIR", help="Default: f.sweep beside f.spec."
)
@click.option(
    "--picture",
    type=options.FILE,
    metavar="FILE",
    help="An .svg or .png file. Default: sweep.svg in the folder.",
)
@click.option("--resume", is_flag=True, help="Go on with the sweep in the folder.")
@click.option("--dry-run", is_flag=True, help="List the trials, after all checks; train nothing.")
def sweep_command(  # noqa: PLR0913, PLR0917 - one argument for each option
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    network: str | None,
    on: str | None,
    sampler: SamplerName | None,
    trials: int | None,
    seed: int,
    workers: int | None,
    folder: Path | None,
    picture: Path | None,
    resume: bool,
    dry_run: bool,
) -> int:
    """Train for many values of parameters, and find the best of clean and certified accuracy.

    \b
    specdsl sweep specs/mnist.spec -D alpha=1/100..1/2 --trials 20

    Every trial is the script that `specdsl train` runs, on one thread, in a folder of its own.
    A line a trial goes to sweep.jsonl, the picture to sweep.svg.
    """
    from specdsl.training.sweep.ranges import split
    from specdsl.training.sweep.run import JOURNAL, Options, planned, sweep
    from specdsl.training.sweep.space import corners
    from specdsl.training.sweep.table import table
    from specdsl.training.sweep.trainings import read_trainings

    place = path.with_suffix(FOLDER_ENDING) if folder is None else folder
    open_ = read_trainings(path, {}, network=network, on=on, folder=place, allow=allowed)
    trainings, space = split(open_, options.parse_parameters(parameters))
    print_diagnostics(trainings.spec(next(corners(space))).warnings)
    chosen = Options(sampler, trials, seed, workers, resume, picture)
    if dry_run:
        click.echo(_listed(planned(trainings, space, chosen)))
        return ExitCode.PASSED
    try:
        found = sweep(trainings, space, chosen, _Lines())
    except KeyboardInterrupt:
        again = "the same command with `--resume` goes on"
        click.echo(
            f"interrupted: `{place / JOURNAL}` has the trials that are done; {again}", err=True
        )
        return ExitCode.INTERRUPTED
    click.echo(table(found))
    return ExitCode.PASSED if any(trial.accuracies for trial in found) else ExitCode.USAGE


def _listed(points: Sequence[Values] | None) -> str:
    """The trials of a sweep that is not run."""
    from specdsl.training.sweep.table import label

    if points is None:
        return "each trial depends on those before it"
    return "\n".join(f"trial {number}: {label(each)}" for number, each in enumerate(points, 1))


class _Lines:
    """A line on stderr for each trial."""

    def started(self, task: Task) -> None:
        """Nothing: the line comes at the end."""

    def finished(self, trial: Trial, *, known: bool) -> None:
        """Say what came of it."""
        from specdsl.training.sweep.table import label

        if trial.clean is None or trial.certified is None:
            said = f"failed: {trial.failed}"
        else:
            said = f"clean {100 * trial.clean:.2f} %, certified {100 * trial.certified:.2f} %"
        again = " (known)" if known else ""
        click.echo(f"trial {trial.trial}: {label(trial.parameters)}: {said}{again}", err=True)

"""`specdsl cache`: the answers that `check` keeps."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.run.store.database import Database

folder = click.option(
    "--cache-dir",
    "folder",
    type=options.FILE,
    metavar="DIR",
    envvar="SPECDSL_CACHE_DIR",
    default=options.CACHE,
    show_default=True,
    help="The folder that answers are kept in.",
)


@click.group("cache")
def cache_command() -> None:
    """Look at, or throw away, the answers that `check` keeps.

    They lie in `.specdsl_cache` where it ran. An answer is found again by what was asked, to the
    last digit of every weight and bound, by the backend with its options, and by the versions of
    specdsl and of the solvers. Nothing else needs to be kept: the folder may be deleted.
    """


@cache_command.command("verify")
@click.argument("paths", nargs=-1, type=options.FILE, metavar="[PATH...]")
@folder
@options.allowed
def verify_command(paths: tuple[Path, ...], folder: Path, allowed: tuple[Path, ...]) -> int:
    """Is every answer what was written, and does its evidence hold?

    Witnesses are replayed on the networks as they are now, where the spec that an answer is from
    is one of PATH... or below it (default: below the current folder). Nothing is solved. Ends with
    1 where something is wrong.
    """
    from specdsl.run.store.audit import audit

    database = _opened(folder)
    if database is None:
        return ExitCode.PASSED
    try:
        found = audit(database, paths or (Path(),), allowed)
    except sqlite3.Error as error:
        raise _unusable(folder, error) from error
    for finding in found.wrong:
        click.echo(f"{finding.where}: {finding.problem}")
    counts = ", ".join(f"{count} {word}" for word, count in sorted(found.words.items()))
    click.echo(f"{folder}: {found.rows} answers" + f" ({counts})" * bool(counts))
    click.echo(f"{found.replayed} witnesses replayed, {found.proofs} proofs looked at")
    if found.elsewhere:
        click.echo(
            f"{found.elsewhere} are as written, but nobody asks for them here: their specs have "
            "changed, lie elsewhere,\nor optimise"
        )
    click.echo(f"{len(found.wrong)} wrong")
    return ExitCode.FALSIFIED if found.wrong else ExitCode.PASSED


@cache_command.command("prune")
@folder
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Also answers that are older.",
)
@click.option("--undecided", is_flag=True, help="Also those that say `unknown`.")
@click.option("--all", "everything", is_flag=True, help="All, and a file that is damaged too.")
def prune_command(folder: Path, days: float | None, undecided: bool, everything: bool) -> int:
    """Throw away answers of other versions, which are never found again, and damaged ones."""
    from specdsl.run.store.pruning import Pruning, prune

    try:
        database = _opened(folder)
        if database is None:
            return ExitCode.PASSED
        gone, kept = prune(database, Pruning(days, undecided, everything))
    except (sqlite3.Error, click.ClickException) as error:
        if not everything:
            raise _unusable(folder, error) from error
        from specdsl.run.store.database import remove

        remove(folder)
        click.echo(f"{folder}: the file is damaged, and gone")
        return ExitCode.PASSED
    click.echo(f"{folder}: {gone} gone, {kept} left")
    return ExitCode.PASSED


def _opened(folder: Path) -> Database | None:
    """The store; None where there is none, which is said. Raises ClickException."""
    from specdsl.run.store.database import FILE, Database

    if not (folder / FILE).exists():
        click.echo(f"{folder}: no answers are kept there")
        return None
    try:
        return Database(folder)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> click.ClickException:
    help = "`specdsl cache prune --all` takes it away"
    return click.ClickException(f"`{folder}` cannot be used: {error}; {help}")

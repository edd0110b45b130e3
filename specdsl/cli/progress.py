"""Progress on stderr: a moving line on a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import click

from specdsl.cli.output import is_rich

if TYPE_CHECKING:
    from rich.progress import TaskID

    from specdsl.run.query_result import QueryResult
    from specdsl.run.result import Result


class Progress(Protocol):
    """An observer of the run that is closed at its end."""

    def planned(self, path: Path, obligations: int) -> None: ...
    def started(self, id: str) -> None: ...
    def finished(self, result: Result | QueryResult) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def progress() -> Progress:
    """The kind that suits stderr."""
    return MovingProgress() if is_rich(sys.stderr) else PlainProgress()


class PlainProgress:
    """One line when an obligation is done."""

    def __init__(self) -> None:
        self._done = 0
        self._total = 0

    def planned(self, path: Path, obligations: int) -> None:
        """Remember how many there are."""
        self._done, self._total = 0, obligations
        click.echo(f"{path}: {obligations} obligation{'s' * (obligations != 1)}", err=True)

    def started(self, id: str) -> None:
        """Nothing: the line comes at the end."""

    def finished(self, result: Result | QueryResult) -> None:
        """Print the verdict."""
        self._done += 1
        took = "cached" if result.cached else f"{result.seconds:.2f} s"
        line = f"[{self._done}/{self._total}] {result.id}: {result.word} ({took})"
        click.echo(line, err=True)

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""


class MovingProgress:
    """A bar with the obligation being solved and the counts so far; gone at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            # Ids hold brackets, which rich would take for markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def planned(self, path: Path, obligations: int) -> None:
        """Start a bar for the file."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(str(path), total=obligations)

    def started(self, id: str) -> None:
        """Name the obligation."""
        if self._task is not None:
            self._bar.update(self._task, description=id.rpartition("::")[2])

    def finished(self, result: Result | QueryResult) -> None:
        """Move on; what is falsified is told at once."""
        if self._task is not None:
            self._bar.advance(self._task)
        if result.word == "falsified":
            from rich.text import Text

            self._bar.console.print(Text.assemble(("falsified", "bold red"), f" {result.id}"))

    def __enter__(self) -> MovingProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the bar."""
        self._bar.stop()

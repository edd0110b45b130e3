"""`specdsl format`: the canonical form of spec files, written, shown, or only asked for."""

from __future__ import annotations

import difflib
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.files import MAX_SPEC_BYTES, read_bytes, source_of
from specdsl.language.printing.formatter import format_source
from specdsl.run.exit_codes import ExitCode

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class _Change:
    """A file before and after; `name` is how people call it."""

    path: Path
    name: str
    before: bytes
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after.encode()


@click.command("format")
@options.paths
@click.option("--check", is_flag=True, help="Write nothing; list what would change, and exit 1.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def format_command(paths: tuple[Path, ...], check: bool, diff: bool) -> int:
    """Rewrite spec files in the one canonical form. `-` reads stdin and writes stdout.

    There is nothing to choose. Words, comments and single empty lines stay; a file with a syntax
    error stays as it is.
    """
    files = options.spec_files(paths)
    if not files:
        return ExitCode.NOTHING
    changes: list[_Change] = []
    errors: list[Diagnostic] = []
    for path in files:
        try:
            changes.append(_read(path))
        except SpecError as error:
            errors += error.diagnostics
    print_diagnostics(errors)
    changed = [change for change in changes if change.changed]
    if diff:
        for change in changed:
            click.echo(_diff(change), nl=False)
    if not check and not diff:
        _write_all(changes)
    elif check and not diff:
        for change in changed:
            click.echo(change.name)
    if any(path != STDIN for path in files):
        click.echo(_summary(len(changed), len(changes), check or diff), err=True)
    if errors:
        return ExitCode.USAGE
    return ExitCode.FALSIFIED if check and changed else ExitCode.PASSED


def _read(path: Path) -> _Change:
    if path == STDIN:
        name, content = "<stdin>", sys.stdin.buffer.read(MAX_SPEC_BYTES + 1)
        if len(content) > MAX_SPEC_BYTES:
            raise SpecError.of("E0503", f"stdin holds more than {MAX_SPEC_BYTES // 2**20} MiB")
    elif path.suffix == ".gz":
        raise SpecError.of("E0854", f"`{path}` is compressed, and is not rewritten")
    else:
        name, content = str(path), read_bytes(path, limit=MAX_SPEC_BYTES)
    return _Change(path, name, content, format_source(source_of(name, content)))


def _write_all(changes: list[_Change]) -> None:
    for change in changes:
        if change.path == STDIN:
            click.echo(change.after, nl=False)
        elif change.changed:
            _replace(change.path, change.after)


def _replace(path: Path, text: str) -> None:
    """Put `text` into the file at once: whoever reads it sees the old content or the new one.

    A link stays one, and the file keeps its permissions. Raises SpecError E0854 where the folder
    cannot be written.
    """
    target = path.resolve()
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise SpecError.of("E0854", f"cannot write `{path}`: {error.strerror}") from error


def _diff(change: _Change) -> str:
    before = change.before.decode().splitlines(keepends=True)
    after = change.after.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, change.name, f"{change.name} (formatted)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ no line end\n" for line in lines)


def _summary(changed: int, total: int, only_asked: bool) -> str:
    verb = "would be reformatted" if only_asked else "reformatted"
    return f"{changed} of {total} file{'s' * (total != 1)} {verb}"

"""Writing a file that a user asked for, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.source import Span


def write_text(path: Path, text: str, span: Span | None = None) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode(), span)


def make_folder(path: Path) -> None:
    """A folder for files that a user asked for, if there is none. Raises SpecError E0854."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot make `{path}`: {error.strerror}") from error


def write_bytes(path: Path, content: bytes, span: Span | None = None) -> None:
    """Replace a file in one step, so that no reader sees half of it. Raises SpecError E0854."""
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(content)
        # Temporary files are private; a report is as readable as any new file.
        mask = os.umask(0)
        os.umask(mask)
        Path(file.name).chmod(0o666 & ~mask)
        Path(file.name).replace(path)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{path}`: {error.strerror}", span) from error

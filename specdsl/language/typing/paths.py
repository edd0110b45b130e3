"""Files that a spec names: relative to its folder, and not outside of it unless allowed."""

from __future__ import annotations

from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language.paths import locate
from specdsl.language.typing.names import Context
from specdsl.source import Span


def resolve_path(
    text: str, external: bool, span: Span, context: Context, written: Span | None = None
) -> Path | None:
    """The file that `text` names; None after E0810 or E0811. Whether it exists is asked later.

    `span`: where the file is asked for. `written`: the literal that holds the text, where that is
    elsewhere; its file's folder counts. A path from the command line (`external`) is relative to
    the working directory and may lie anywhere: who runs the check wrote it.
    """
    session = context.session
    base = session.folder(written or span)
    folder = session.working_directory if external else base
    homes = None if external else (base, *session.allow)
    help = f"allow it with `--allow-path {Path(text).parent}`, or give the file with `-D`"
    try:
        return locate(text, folder, homes, help)
    except SpecError as error:
        for found in error.diagnostics:
            context.error(found.code, found.message, span, help=found.help)
        return None


def check_output(text: str, span: Span, context: Context) -> bool:
    """Whether a report may be written under this name: inside the output folder, wherever it is."""
    path = Path(text)
    if not text.strip() or "\0" in text:
        context.error("E0811", "a file name is empty or holds a zero byte", span)
        return False
    if path.is_absolute() or ".." in path.parts:
        context.error(
            "E0810",
            f"`{text}` leaves the output folder",
            span,
            help=f'write `"{path.name}"` and choose the folder on the command line',
        )
        return False
    return True

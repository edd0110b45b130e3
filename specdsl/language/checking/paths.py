"""Files that a spec names: relative to its folder, and not outside of it unless allowed."""

from __future__ import annotations

from pathlib import Path

from specdsl.language.checking.names import Context
from specdsl.source import Span


def resolve_path(text: str, external: bool, span: Span, context: Context) -> Path | None:
    """The file that `text` names; None after E0810 or E0811. Whether it exists is asked later.

    A path from the command line (`external`) is relative to the working directory and may lie
    anywhere: who runs the check wrote it. Links are followed before the folder is compared.
    """
    session = context.session
    if not text.strip() or "\0" in text:
        context.error("E0811", "a file name is empty or holds a zero byte", span)
        return None
    folder = session.working_directory if external else session.base
    try:
        path = (folder / text).resolve()
        homes = [session.base.resolve(), *(a.resolve() for a in session.allow)]
    except (OSError, RuntimeError) as error:  # a loop of links
        context.error("E0811", f"`{text}` cannot be followed: {error}", span)
        return None
    if external or any(path.is_relative_to(home) for home in homes):
        return path
    context.error(
        "E0810",
        f"`{text}` leaves the folder of the spec",
        span,
        help=f"allow it with `--allow-path {_folder(text)}`, or give the file with `-D`",
    )
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


def _folder(text: str) -> str:
    return str(Path(text).parent)

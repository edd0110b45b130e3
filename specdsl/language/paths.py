"""Where a path written in a file leads: relative to its folder, and not out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specdsl.diagnostics import SpecError


def locate(text: str, folder: Path, homes: Sequence[Path] | None, help: str) -> Path:
    """The file that `text`, written in `folder`, names. Links are followed before it is judged.

    `homes`: the folders it must lie in, or None where it may lie anywhere. Raises SpecError
    without a span: E0811 where the text can name no file, E0810, with `help`, where it leaves the
    homes.
    """
    if not text.strip() or "\0" in text:
        raise SpecError.of("E0811", "a file name is empty or holds a zero byte")
    try:
        path = (folder / text).resolve()
        allowed = None if homes is None else [home.resolve() for home in homes]
    except (OSError, RuntimeError) as error:  # a loop of links, or a name too long
        raise SpecError.of("E0811", f"`{text}` cannot be followed: {error}") from error
    if allowed is None or any(path.is_relative_to(home) for home in allowed):
        return path
    raise SpecError.of("E0810", f"`{text}` leaves the folder of the spec", help=help)

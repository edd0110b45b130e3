"""What both versions of VNN-LIB need of a file: its text, its version, and time."""

from __future__ import annotations

import gc
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from specdsl.diagnostics import SpecError
from specdsl.source import Source

_SECOND = re.compile(r"(?:\s|;[^\n]*\n)*\(\s*(?:vnnlib-version|declare-network)\b")


def decode(content: bytes | str, name: str) -> Source:
    """The text of a file. Raises SpecError E0505 where it is not UTF-8."""
    if isinstance(content, str):
        return Source(name, content)
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        message = f"`{name}` is not UTF-8 text (byte {error.start})"
        raise SpecError.of("E0505", message) from error


def version_of(source: Source) -> Literal[1, 2]:
    """The version by the first command: only 2 states its version and declares networks."""
    return 2 if _SECOND.match(source.text) else 1


@contextmanager
def without_collection() -> Generator[None]:
    """Python's cyclic collector off: it takes half of the time among millions of new objects.

    Readers make no cycles, so there is nothing to collect.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

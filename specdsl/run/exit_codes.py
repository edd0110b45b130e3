"""Exit codes of the command line. Imports nothing heavy: `specdsl --help` needs them too."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum


class ExitCode(IntEnum):
    """What `specdsl check` returns to the shell."""

    PASSED = 0
    FALSIFIED = 1
    USAGE = 2
    INTERNAL = 3
    UNKNOWN = 4
    NOTHING = 5
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.INTERNAL,
    ExitCode.FALSIFIED,
    ExitCode.UNKNOWN,
)
"""Where several apply, the first of these wins."""


def first_of(codes: Collection[ExitCode]) -> ExitCode:
    """The one that a command ends with where these apply."""
    return next((code for code in PRECEDENCE if code in codes), ExitCode.PASSED)

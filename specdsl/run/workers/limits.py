"""What a worker may take, and what becomes of work that takes more."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workers:
    """`jobs`: how many processes at a time; `memory`: GiB of address space for each, None without
    limit.
    """

    jobs: int = 1
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Work that ended with its process. `reason` as in `Unknown`; `seconds` since it began."""

    reason: str
    seconds: float
    advice: str | None = None


def can_fork() -> bool:
    """Whether workers can be had: processes that go on from here with all that is loaded.

    macOS has libraries that do not survive this, Windows has nothing like it.
    """
    return sys.platform.startswith("linux")


def lost(exit_code: int, seconds: float) -> Lost:
    """What to say of a process that ended by itself; a negative code is a signal."""
    if exit_code >= 0:
        return Lost(f"solver crashed (exit status {exit_code})", seconds)
    reason = f"solver crashed (signal {-exit_code})"
    if -exit_code == signal.SIGKILL:
        advice = "the system kills what takes too much memory: give less with `--memory`"
        return Lost(reason, seconds, advice)
    return Lost(reason, seconds)

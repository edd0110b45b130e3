"""Memory as a limit: set it for a process, and recognise what runs into it."""

from __future__ import annotations

import sys
from pathlib import Path

GIB = 2**30
LEAST = 16 * 2**20
"""Bytes: what an allocator asks for at a time."""

_WORDS = (
    "can't allocate memory",  # torch on the host
    "not enough memory",
    "out of memory",  # torch on a device, Z3
    "bad_alloc",  # C++
    "failed to allocate memory",  # ONNX Runtime
    "cannot allocate memory",  # the system
    "failed to map segment",  # its loader of libraries
)
"""How libraries that raise errors of their own say that memory could not be had."""


def can_limit() -> bool:
    """Whether the system has limits for a process."""
    return sys.platform != "win32"


def limit_memory(gib: float) -> None:
    """From now on, address space of this process beyond `gib` GiB fails to be allocated."""
    import resource

    size = int(gib * GIB)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, or came when there was none left.

    Without memory Python itself fails in odd places, with a `SystemError` for example.
    """
    if isinstance(error, MemoryError) or cramped():
        return True
    text = str(error).lower()
    return any(words in text for words in _WORDS)


def cramped() -> bool:
    """Whether this process has used up its limit, but for what is too little to work with."""
    limit = _limit()
    used = Path("/proc/self/statm")
    if limit is None or not used.exists():
        return False
    import resource

    pages = int(used.read_text().split()[0])
    return pages * resource.getpagesize() + LEAST > limit


def out_of_memory() -> str:
    """How a reason says it, with the limit of this process where there is one."""
    limit = _limit()
    return "out of memory" + ("" if limit is None else f" (limit {limit / GIB:.3g} GiB)")


def more_memory() -> str | None:
    """What to try, where it was a limit of ours."""
    return None if _limit() is None else "give more with `--memory`"


def _limit() -> int | None:
    """Bytes of address space; None without a limit."""
    if not can_limit():
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit

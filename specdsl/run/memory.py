"""Memory as a limit: set it for a process, and recognise what runs into it."""

from __future__ import annotations

import sys

GIB = 2**30

_WORDS = (
    "can't allocate memory",  # torch on the host
    "not enough memory",
    "out of memory",  # torch on a device, Z3
    "bad_alloc",  # C++
    "failed to allocate memory",  # ONNX Runtime
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
    """Whether an error says that memory could not be had."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _WORDS)


def out_of_memory() -> str:
    """How a reason says it, with the limit of this process where there is one."""
    if not can_limit():
        return "out of memory"
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    none = limit == resource.RLIM_INFINITY
    return "out of memory" if none else f"out of memory (limit {limit / GIB:.3g} GiB)"

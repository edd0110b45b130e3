"""What a run may not do: open files elsewhere, start something, take too much time or memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# Of processor time, which does not depend on what else the machine does.
MAX_SECONDS = 5
# Above what the process has after it has read every input to begin with.
MAX_MEMORY = 2**30
# Address space is reserved in larger pieces than are used; what asks for this much is stopped.
MAX_ADDRESS_SPACE = 3 * 2**30

# Events whose first argument is a path.
PATHS = frozenset({"open", "os.remove", "os.rename", "os.mkdir", "os.truncate", "sqlite3.connect"})
# What no reader of files has a reason to do.
FORBIDDEN = ("subprocess.", "socket.", "os.exec", "os.fork", "os.system", "os.posix_spawn", "pty.")
# Modules that Python imports when they are first needed.
CODE = frozenset({".py", ".pyc", ".so", ".pyd"})
# `sklearn("digits")` reads from this folder of scikit-learn.
DATASETS = "datasets"
PROJECT = Path(__file__).resolve().parents[2]
LIBRARIES = tuple(
    dict.fromkeys(Path(p).resolve() for p in (sys.prefix, sys.base_prefix, PROJECT / "specdsl"))
)


class Watch:
    """An audit hook that notes what is opened outside of a folder, and what starts something.

    Hooks cannot be taken away: it belongs into a process that does nothing else. `also`: folders of
    those who watch.
    """

    def __init__(self, folder: Path, also: Sequence[Path] = ()) -> None:
        self.folders = tuple(path.resolve() for path in (folder, *also))
        self.trespasses: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in PATHS and isinstance(arguments[0], str | bytes | os.PathLike):
            path = Path(os.fsdecode(arguments[0])).resolve()
            if not any(path.is_relative_to(f) for f in self.folders) and not _is_ours(path):
                self.trespasses.append(f"{event} {path}")
        elif event.startswith(FORBIDDEN):
            self.trespasses.append(event)


def _is_ours(path: Path) -> bool:
    """Whether it is code, or data that a package ships and the language can name."""
    return any(path.is_relative_to(home) for home in LIBRARIES) and (
        path.suffix in CODE or DATASETS in path.parts
    )


class Hang(BaseException):
    """The time is over. Not an `Exception`, so that nothing that is watched can take it for one."""


def _expire(_signal: int, _frame: FrameType | None) -> None:
    raise Hang(f"more than {MAX_SECONDS} s of processor time")


@contextmanager
def limited() -> Generator[None]:
    """Raises Hang inside the block once it has taken `MAX_SECONDS`, where Python code runs then."""
    signal.signal(signal.SIGPROF, _expire)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_address_space() -> None:
    """From here on, asking for far too much memory is a MemoryError instead of a dead machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_memory() -> int:
    """The most that this process has had at once, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

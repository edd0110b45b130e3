"""Loading sooner what a short-lived process needs. See docs/decisions/024-start-up.md."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Generator[None]:
    """Imports inside collect no garbage, and what they made is never looked at for garbage again.

    Modules stay until the process ends, and torch makes so many objects that looking through them
    for nothing takes a tenth of a second. For processes that are ours: a library does not decide
    what is collected.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()

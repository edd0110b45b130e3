"""Smaller inputs with the same finding."""

from __future__ import annotations

import time
from collections.abc import Callable

# A finding is looked at by people: a minute more of the machine is worth less than one of theirs.
MAX_SECONDS = 10.0
MAX_RUNS = 2_000


def minimise(content: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """The content without pieces that do not matter for `fails`.

    Pieces are halves first, then quarters, down to single bytes. Source: Zeller and Hildebrandt
    2002 (delta debugging), without the tests of subsets.
    """
    end = time.monotonic() + MAX_SECONDS
    size, runs = max(1, len(content) // 2), 0
    while True:
        start, shrunk = 0, False
        while start < len(content):
            if runs == MAX_RUNS or time.monotonic() > end:
                return content
            smaller = content[:start] + content[start + size :]
            runs += 1
            if fails(smaller):
                content, shrunk = smaller, True
            else:
                start += size
        if size == 1 and not shrunk:
            return content
        size = max(1, size // 2)

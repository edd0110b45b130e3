"""Who runs, and whose child it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    fields = _fields(Path("/proc") / str(pid))
    return fields is not None and fields[0] not in "ZX"


def children_of(parent: int) -> Iterator[int]:
    """Processes that run."""
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _fields(folder)
        if fields is not None and int(fields[1]) == parent and fields[0] not in "ZX":
            yield int(folder.name)


def _fields(folder: Path) -> list[str] | None:
    """State, parent and what follows; None of a process that has gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None

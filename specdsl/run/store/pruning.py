"""What may go from a store."""

from __future__ import annotations

import time
from dataclasses import dataclass

from specdsl.run.store.database import Damaged, Database
from specdsl.run.store.encoding import Undecodable, decode
from specdsl.run.store.key import versions
from specdsl.run.store.row import Row
from specdsl.verdict import Unknown

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which rows go: those made by other versions, which nobody finds any more, and those that
    cannot be read go in any case. `days`: also those that are older; `undecided`: also those that
    say nothing; `everything`: all.
    """

    days: float | None = None
    undecided: bool = False
    everything: bool = False

    def takes(self, row: Row, current: str, now: float) -> bool:
        """Whether the row goes; `current`: the versions of now."""
        if self.everything or row.key.versions != current:
            return True
        if self.days is not None and row.made < now - self.days * DAY:
            return True
        try:
            return self.undecided and isinstance(decode(row.answer).verdict, Unknown)
        except Undecodable:
            return True


def prune(database: Database, pruning: Pruning) -> tuple[int, int]:
    """(rows that went, rows that stay)."""
    current, now = versions(), time.time()
    gone: list[str] = []
    kept = 0
    for row in database.rows():
        if isinstance(row, Damaged):
            gone.append(row.key)
        elif pruning.takes(row, current, now):
            gone.append(row.key.text)
        else:
            kept += 1
    database.delete(gone)
    return len(gone), kept

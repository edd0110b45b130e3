"""In which processes a run decides, and whether it keeps what it finds. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specdsl.run.workers.limits import Workers


@dataclass(frozen=True, slots=True)
class Execution:
    """`workers`: None decides in this process, which then has no limits but those of backends.
    `cache`: the folder that answers are kept in, if they are.
    """

    workers: Workers | None = None
    cache: Path | None = None

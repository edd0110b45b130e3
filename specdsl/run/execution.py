"""In which processes a run decides, what counts as proven, and whether answers are kept. Imports
nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from specdsl.run.demand import Demand
from specdsl.run.workers.limits import Workers


@dataclass(frozen=True, slots=True)
class Execution:
    """`workers`: None decides in this process, which then has no limits but those of backends.
    `cache`: the folder that answers are kept in, if they are. `demand`: what `verified` comes with;
    `certificates`: the folder that those of obligations are written to, if they are.
    """

    workers: Workers | None = None
    cache: Path | None = None
    demand: Demand = field(default_factory=Demand)
    certificates: Path | None = None

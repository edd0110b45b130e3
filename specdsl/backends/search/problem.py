"""What a search is given, and what it knows at any time."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from specdsl.backends.prepared import Prepared
from specdsl.backends.search.options import SearchOptions
from specdsl.bounds.compiled import CompiledGraph
from specdsl.certificates.part_records import NeuronProof
from specdsl.certificates.recording import TreeRecord
from specdsl.graph.graph import NodeId
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Query

Outcome = Literal["verified", "falsified", "timeout", "exhausted", "jump"]
"""`verified`: every part was refuted for every case; `falsified`: a point was confirmed; `timeout`;
`exhausted`: all that is left cannot be split any further; `jump`: the claim changes across a jump
where bounds never tell, and no witness was met in a while.
"""

Searching = Generator[None, None, Outcome]
"""A search that stops after every batch, so that others may take turns with it."""


@dataclass(slots=True)
class Progress:
    """What a search knows at any time; updated after every batch.

    `bound`: the smallest margin bound of a refuted domain so far; `unmeasured`: whether parts were
    cut away or judged exactly, of which nothing but a positive margin is known;
    `open_bound`: the worst bound of a domain still open, `open_domains` their number; `domains` and
    `leaves`: boxes bounded and boxes refuted. `coarse`, `unraised`: layers with looser bounds than
    were meant, as of `Propagated`. `neurons`: how inner values were split.
    """

    domains: int = 0
    leaves: int = 0
    bound: float = float("inf")
    unmeasured: bool = False
    open_bound: float = -float("inf")
    open_domains: int = 0
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    unraised: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    neurons: NeuronProof | None = None

    def refute(self, count: int, *, bounded: bool = True) -> None:
        """Count refuted boxes; `bounded` where they were not counted as bounded before."""
        self.leaves += count
        self.domains += count if bounded else 0

    def note_open(self, count: int, worst: float) -> None:
        """What is left to do: so many domains, the worst with this bound."""
        self.open_domains, self.open_bound = count, worst


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One group of a prepared query. A margin counts as positive above `slack` only. `record`: of
    how boxes are cut.
    """

    prepared: Prepared
    group: CaseGroup
    slack: float
    options: SearchOptions = field(default_factory=SearchOptions)
    record: TreeRecord = field(default_factory=TreeRecord)

    @property
    def compiled(self) -> CompiledGraph:
        """The graph that is searched."""
        return self.prepared.compiled

    @property
    def query(self) -> Query:
        """What is asked."""
        return self.prepared.query

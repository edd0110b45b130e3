"""The `sampling` backend: draws, counts, and says how sure that makes it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from specdsl.backend import Capabilities, Deadline
from specdsl.backends.prepared import Prepared
from specdsl.backends.sampling.options import Effort
from specdsl.backends.sampling.scenario import Scenario
from specdsl.backends.sampling.smoothing import Smoothed, Votes
from specdsl.query.query import Query, Smoothing
from specdsl.verdict import Answer


@dataclass(frozen=True, slots=True)
class Sampling:
    """Randomised smoothing for smoothed classifiers, random points of the set for networks.

    `samples` are drawn, `batch` at a time, pseudo-random by `seed`; whoever draws anew is wrong
    with a probability of at most `alpha`. Of a smoothed classifier `selection` draws tell first
    whether the class has the majority. `device`: of `bounds.devices`.
    """

    samples: int = 100_000
    alpha: Fraction = Fraction(1, 1000)
    selection: int = 100
    batch: int = 1_000
    seed: int = 0
    timeout: float | None = None
    device: str = "cpu"
    name: ClassVar[str] = "sampling"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=False,
        falsifies=True,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
        smoothed=True,
    )

    def __post_init__(self) -> None:
        self._effort().check()

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Unknown, with an estimate where samples speak for the claim; of a network itself
        Falsified where a draw is a confirmed witness. Never Verified.
        """
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        prepared = Prepared(query, self.device)
        if query.smoothing is not None:
            return self._smoothed(prepared, query.smoothing, deadline, start)
        scenario = Scenario(prepared, self._effort())
        verdict = scenario.verdict(deadline)
        statistics = {
            "samples": sum(count.drawn for count in scenario.counts),
            "violations": sum(count.violating for count in scenario.counts),
        }
        return Answer(verdict, "sampling/scenario", time.monotonic() - start, statistics)

    def _smoothed(
        self, prepared: Prepared, smoothing: Smoothing, deadline: Deadline, start: float
    ) -> Answer:
        asked = Smoothed(prepared, smoothing, self._effort(), Votes())
        verdict = asked.verdict(deadline)
        statistics = {"samples": asked.votes.drawn, "agreeing": asked.votes.agreeing}
        return Answer(verdict, "sampling/smoothing", time.monotonic() - start, statistics)

    def _effort(self) -> Effort:
        return Effort(self.samples, self.alpha, self.selection, self.batch, self.seed)

"""Of a network itself: at what share of the points drawn a claim may fail.

With `n` draws and `k` violations the probability that a draw violates is at most the bound of
Clopper and Pearson, with confidence `1 - alpha`. That is a statement about draws, not about every
point: a claim that fails in a corner of its set passes any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from specdsl.backend import Deadline, OutOfTime
from specdsl.backends.prepared import Prepared
from specdsl.backends.sampling.binomial import most_probability
from specdsl.backends.sampling.drawing import Uniform, generator_of, sizes
from specdsl.backends.sampling.options import Effort
from specdsl.backends.sampling.voting import Voting
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import input_region
from specdsl.evidence import Replayer
from specdsl.query.groups import CaseGroup
from specdsl.verdict import Estimate, Falsified, Unknown, Verdict, Witness

# An exact confirmation costs up to seconds on large networks; what these many points do not
# violate beyond doubt, others do not either.
MAX_CONFIRMATIONS = 20
PROVES = "use `portfolio`, which speaks of every point"


@dataclass(slots=True)
class _Count:
    """Draws of one input set so far, and how many of them violate."""

    drawn: int = 0
    violating: int = 0


class Scenario:
    """Draws for one query. A violation that the exact replay confirms ends them."""

    def __init__(self, prepared: Prepared, effort: Effort) -> None:
        self.prepared = prepared
        self.effort = effort
        self.counts = [_Count() for _ in prepared.groups]
        self._replayer = Replayer(prepared.query)
        self._confirmations = 0

    def verdict(self, deadline: Deadline) -> Verdict:
        """Falsified with a witness, else Unknown: with an estimate where all draws were made."""
        generator = generator_of(self.effort.seed)
        try:
            for group, count in zip(self.prepared.groups, self.counts, strict=True):
                witness = self._drawn(group, count, generator, deadline)
                if witness is not None:
                    return Falsified(witness)
        except OutOfTime:
            drawn = sum(count.drawn for count in self.counts)
            return Unknown(f"{deadline.expiry} after {drawn} draws", timeout=True)
        return self._unknown()

    def _drawn(
        self, group: CaseGroup, count: _Count, generator: torch.Generator, deadline: Deadline
    ) -> Witness | None:
        prepared = self.prepared
        region = input_region(group.inputs, torch.empty(0, dtype=torch.float64))
        integers = torch.as_tensor(prepared.query.integers)
        points_of = Uniform(Projector(region, integers), generator)
        cases = [prepared.query.cases[member] for member in group.members]
        voting = Voting(prepared.compiled, group.members, cases)
        for size in sizes(self.effort.samples, self.effort.batch, deadline):
            points = points_of.draw(size)
            met = voting.violations(points)
            count.drawn += size
            count.violating += int((met >= 0).sum())
            for place in torch.nonzero(met >= 0).flatten().tolist():
                witness = self._confirmed(points[place], int(met[place]))
                if witness is not None:
                    return witness
        return None

    def _confirmed(self, point: torch.Tensor, case: int) -> Witness | None:
        if self._confirmations >= MAX_CONFIRMATIONS:
            return None
        self._confirmations += 1
        found = self._replayer.confirm(point.numpy(), [case])
        return found if isinstance(found, Witness) else None

    def _unknown(self) -> Unknown:
        effort, exists = self.effort, self.prepared.query.kind == "exists"
        if not self.counts:
            return Unknown("the set holds no point that could be drawn")
        if exists:
            reason = f"no draw of {effort.samples} is an example, and others may be"
            return Unknown(reason, advice=PROVES)
        # Each set gets its part of what may go wrong, so that all together keep `alpha`.
        alpha = float(effort.alpha / len(self.counts))
        share = max(most_probability(c.violating, c.drawn, alpha) for c in self.counts)
        violating = sum(count.violating for count in self.counts)
        found = f"{violating} of" if violating else "none of"
        sets = f" in each of {len(self.counts)} sets" if len(self.counts) > 1 else ""
        reason = (
            f"{found} {effort.samples} points drawn at random{sets} violates it: with confidence "
            f"{float(effort.confidence):.6g}, at most a share of {share:.3g} of such points does. "
            "That is no statement about all points"
        )
        if violating:
            reason = f"{reason}; no violation is beyond doubt in exact numbers"
        return Unknown(reason, advice=PROVES, estimate=Estimate(effort.confidence, share))

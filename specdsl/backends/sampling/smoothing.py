"""Of a smoothed classifier: up to which distance it gives a class, with which confidence.

CERTIFY of Cohen, Rosenfeld, Kolter 2019, arXiv:1902.02918: `n` noisy copies of the center bound the
probability of the class from below by Clopper and Pearson, and that bound gives the radius
`sigma Phi^-1(p)`. There a first round of draws selects the class, so that the draws that count are
independent of the choice. Here the claim names the class, and the first round only tells whether
the others are worth while.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log, nextafter

import torch
from scipy.special import log_ndtr

from specdsl.backend import Deadline, OutOfTime
from specdsl.backends.prepared import Prepared
from specdsl.backends.sampling.binomial import distance_of, least_probability
from specdsl.backends.sampling.drawing import Noise, generator_of, sizes
from specdsl.backends.sampling.enclosing import Around, enclosing
from specdsl.backends.sampling.options import Effort
from specdsl.backends.sampling.voting import Voting
from specdsl.query.query import Query, Smoothing
from specdsl.verdict import Estimate, Unknown

# Nobody draws more for one obligation.
MOST_SAMPLES = 10**8
OTHERWISE = "another `sigma`, or a network that was trained under such noise"


@dataclass(slots=True)
class Votes:
    """Of `drawn` noisy copies of the center, how many are of the class asked for."""

    drawn: int = 0
    agreeing: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """The question whether a smoothed classifier gives one class on one set."""

    prepared: Prepared
    smoothing: Smoothing
    effort: Effort
    votes: Votes

    @property
    def sigma(self) -> float:
        """The size of the noise, rounded down: a radius that follows is too small, if anything."""
        near = float(self.smoothing.sigma)
        return near if near <= self.smoothing.sigma else nextafter(near, -inf)

    def verdict(self, deadline: Deadline) -> Unknown:
        """With an estimate where the class is certain all over the set; never decided."""
        around = _around(self.prepared.query)
        noise = Noise(torch.as_tensor(around.center), self.sigma, generator_of(self.effort.seed))
        try:
            first = Votes()
            self._count(first, self.effort.selection, noise, deadline)
            if 2 * first.agreeing <= first.drawn:
                return _no_majority(first, OTHERWISE)
            self._count(self.votes, self.effort.samples, noise, deadline)
        except OutOfTime:
            reason = f"{deadline.expiry} after {self.votes.drawn} of {self.effort.samples} draws"
            return Unknown(reason, advice="a larger `batch`, or fewer `samples`", timeout=True)
        return self._judged(around.radius)

    def _count(self, votes: Votes, total: int, noise: Noise, deadline: Deadline) -> None:
        query = self.prepared.query
        voting = Voting(self.prepared.compiled, range(len(query.cases)), query.cases)
        for size in sizes(total, self.effort.batch, deadline):
            met = voting.violations(noise.draw(size))
            votes.drawn += size
            votes.agreeing += int((met < 0).sum())

    def _judged(self, asked: float) -> Unknown:
        votes, effort = self.votes, self.effort
        least = least_probability(votes.agreeing, votes.drawn, float(effort.alpha))
        if least <= 0.5:
            return _no_majority(votes, self._advice(asked))
        radius = distance_of(least, self.sigma)
        said = (
            f"{votes.agreeing} of {votes.drawn} noisy copies of the center are of the class: with "
            f"confidence {float(effort.confidence):.6g}, and no proof, the smoothed classifier "
            f"gives it to all points nearer than {radius:.6g} in l2 ({asked:.6g} is asked for)"
        )
        bound = nextafter(radius - asked, -inf)
        # Strictly: the theorem is about points nearer than the radius, and the ball is closed.
        if bound > 0:
            return Unknown(said, bound, estimate=Estimate(effort.confidence))
        return Unknown(said, bound, advice=self._advice(asked))

    def _advice(self, asked: float) -> str:
        """How many votes, all for the class, would do; more of them help only where they can."""
        # alpha^(1/n) > Phi(asked / sigma), as n votes of n bound the probability by alpha^(1/n).
        beyond = -float(log_ndtr(asked / self.sigma))
        needed = ceil(-log(float(self.effort.alpha)) / beyond) + 1 if beyond > 0 else MOST_SAMPLES
        if self.effort.samples < needed < MOST_SAMPLES:
            return f"`samples = {needed}`, which do where all votes are for the class"
        return OTHERWISE


def _no_majority(votes: Votes, advice: str) -> Unknown:
    reason = (
        f"the class has {votes.agreeing} of {votes.drawn} votes at the center: no sure majority"
    )
    return Unknown(reason, advice=advice)


def _around(query: Query) -> Around:
    """The ball that is asked for: the cases of such a query have one set."""
    (inputs,) = {id(case.inputs): case.inputs for case in query.cases}.values()
    return enclosing(inputs)

"""Trying every input on a few boxes, now and then: which one is worth halving is learned.

Slopes of linear bounds say how far margins move along an edge. What splitting gains is what
relaxations lose there, and that need not go with slopes: an input that products or unstable neurons
read gains more than its slope says. A trial bounds both halves of some boxes for every input, and
what they gained for what slopes had promised serves all boxes until the next trial.

Source: trying before branching and remembering what it gained are strong branching and
pseudo-costs, Achterberg, Koch and Martin 2005, "Branching rules revisited" (Operations Research
Letters 33); here they are kept for inputs of boxes, and in parts of what slopes promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backends.search.inputs.domains import Domains, Lattice

# Inputs are tried after so many boxes, and again each time there were twice as many: boxes become
# smaller, and what is worth halving changes with them. Searches that end sooner need no advice.
FIRST, GROWTH = 4096, 2
# Boxes bounded in a trial at most, and inputs that may vary: with more, each gets few boxes. With
# the 30 inputs of safenlp trials decide in 1 to 4 s what had taken 40 and more.
MAX_TRIED, MAX_INPUTS = 1024, 32
# An input that gained nothing may yet gain later: it counts for so much of the best at least.
LEAST_WORTH = 0.05

Bound = Callable[[Domains], Tensor]
"""The worst bound of any open case of every domain, infinite where all are refuted: (domains,)."""


@dataclass(slots=True)
class Trials:
    """`worth`: what each input gained for what slopes promised, 1 for the best, (inputs,), or None
    before the first trial. `due`: after how many boxes the next trial is.
    """

    worth: Tensor | None = None
    due: int = FIRST

    def are_due(self, boxes: int) -> bool:
        """Whether to try inputs again after so many boxes."""
        return boxes >= self.due

    def run(self, domains: Domains, slopes: Tensor, lattice: Lattice, bound: Bound) -> int:
        """Try inputs on some of the domains, all open; slopes (domains, inputs) are those that
        `bisect` goes by. How many boxes were bounded for it.
        """
        self.due *= GROWTH
        edges = domains.upper - domains.lower
        inputs = lattice.cuttable(domains).any(0).nonzero()[:, 0]
        if not 1 < len(inputs) <= MAX_INPUTS:
            return 0
        some = _spread(len(domains), MAX_TRIED // (2 * len(inputs))).to(edges.device)
        tried, scores = domains.take(some), (slopes * edges)[some]
        halves = [half for i in inputs.tolist() for half in _halves(tried, i, lattice)]
        found = bound(Domains.joined(halves)).reshape(len(inputs), 2, len(tried))
        gained = _gains(tried.bound, found)
        promised = (scores / scores.amax(1, keepdim=True)).nan_to_num(nan=0.0).mean(0)[inputs]
        worth = gained / promised.clamp(min=torch.finfo(gained.dtype).tiny)
        best = float(worth.max())
        if 0 < best < float("inf"):
            self.worth = torch.ones_like(edges[0])
            self.worth[inputs] = (worth / best).clamp(min=LEAST_WORTH)
        return 2 * len(inputs) * len(tried)


def _gains(start: Tensor, found: Tensor) -> Tensor:
    """What halves (inputs, 2, domains) gained over whole domains, in parts of the way to 0, where
    they are refuted: the mean for every input.
    """
    start = start.clamp(max=-torch.finfo(start.dtype).tiny)
    return ((found - start) / -start).nan_to_num(nan=0.0, posinf=1.0).clamp(0, 1).mean((1, 2))


def _spread(count: int, wanted: int) -> Tensor:
    """Positions of at most `wanted` of `count`, evenly spread."""
    return torch.arange(0, count, max(1, -(-count // wanted)))


def _halves(domains: Domains, at: int, lattice: Lattice) -> tuple[Domains, Domains]:
    """Both halves of every domain along one input; where it cannot be cut, the whole one twice."""
    cut = lattice.cuttable(domains)[:, at]
    below, above = (ends[:, at] for ends in lattice.ends(domains))
    upper, lower = domains.upper.clone(), domains.lower.clone()
    upper[:, at] = below.where(cut, upper[:, at])
    lower[:, at] = above.where(cut, lower[:, at])
    return domains.within(domains.lower, upper), domains.within(lower, domains.upper)

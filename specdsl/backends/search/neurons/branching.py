"""Which entry of a part to split, and where.

A rule ranks the entries of a part, and tries the first of them: both halves are bounded without
ascent, and the one whose worse half gains most is taken (filtered smart branching). Entries are
ranked by how much their relaxation takes off the bound at most (BaBSR), or by the widths of their
intervals times the sizes of the bound's coefficients there.

With `auto` the first parts are split by all rules in turns, and the others by the one that gained
most for its work. That seldom pays (docs/performance.md): first splits matter most.

Sources: Bunel et al. 2020, arXiv:1909.06588; De Palma et al. 2021, arXiv:2104.06718. Choosing rules
while searching: what a rule gained on some parts stands for what it will on others, a bandit that
explores once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from specdsl.backends.search.neurons.bounding import Bounder
from specdsl.backends.search.neurons.parts import Batch, Part
from specdsl.backends.search.options import RuleChoice, RuleName
from specdsl.bounds.parts.gaps import Gaps

# What the better half counts beside the worse one.
BETTER_PART = 0.5
# Parts that each rule splits before the best is kept, of the search of one set of inputs.
PROBED = 32
# Entries of a part that are kept to be tried, by each order.
TRIED = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """`order`: which of a part's lists of candidates; `tried`: how many of these."""

    order: int
    tried: int


RULES: Mapping[RuleName, Rule] = {
    "gap": Rule(0, 1),
    "filtered": Rule(0, TRIED),
    "width": Rule(1, TRIED),
}
"""`gap`: the largest gap, nothing tried; `filtered`: the best of the largest gaps; `width`: the
best of the largest widths times coefficients.
"""


@dataclass(slots=True)
class Record:
    """What a rule came to: `parts` it split, `gained` of their distances to a refutation, added up,
    and the `work` of that, in passes of one row through the network.
    """

    parts: int = 0
    gained: float = 0.0
    work: float = 0.0


@dataclass(slots=True)
class Chooser:
    """Which rule splits the next batch. Work is counted, not timed: two runs choose alike."""

    choice: RuleChoice
    records: dict[RuleName, Record] = field(init=False)

    def __post_init__(self) -> None:
        names: list[RuleName] = list(RULES) if self.choice == "auto" else [self.choice]
        self.records = {name: Record() for name in names}

    @property
    def current(self) -> RuleName:
        """The rule that has split fewest parts until all have been probed, then the best one."""
        least = min(self.records, key=lambda name: self.records[name].parts)
        if len(self.records) == 1 or self.records[least].parts < PROBED:
            return least
        return max(self.records, key=lambda n: self.records[n].gained / self.records[n].work)

    @property
    def most(self) -> float:
        """Parts that may be split next: rules that are probed split no more than the others."""
        left = PROBED - self.records[self.current].parts
        return left if len(self.records) > 1 and left > 0 else inf

    def note(self, rule: RuleName, parts: int, gained: float, work: float) -> None:
        """A batch of so many parts was split."""
        record = self.records[rule]
        record.parts += parts
        record.gained += gained
        record.work += work


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Both halves of each part, side by side: parts 2i and 2i + 1. `glance`: about their bounds;
    `passes`: what finding them took, in passes of one row. `cuts`: entry and point of each part.
    """

    batch: Batch
    cuts: list[tuple[int, float]]
    glance: Tensor
    passes: int


def candidates(gaps: Gaps) -> list[tuple[Tensor, ...]]:
    """The entries that matter most for each part, by each order; none where no relaxation is off.

    `gaps`: (batch, entries).
    """
    orders: list[list[Tensor]] = []
    for scores in (gaps.off, gaps.spans):
        best = scores.topk(min(TRIED, scores.shape[1]), dim=1)
        pairs = zip(best.indices, best.values, strict=True)
        orders.append([indices[values > 0] for indices, values in pairs])
    return list(zip(*orders, strict=True))


def halves(bounder: Bounder, batch: Batch, chosen: Sequence[Part], rule: Rule) -> Halves:
    """Split every part of a batch, which was gathered from `chosen`, where it looks best."""
    own = [part.candidates[rule.order][: rule.tried] for part in chosen]
    tried, device = max(len(numbers) for numbers in own), batch.cases.device
    # A part with fewer candidates tries its last one again.
    index = torch.arange(tried, device=device)
    guesses = torch.stack([numbers[index.clamp(max=len(numbers) - 1)] for numbers in own])
    owner = torch.arange(len(batch), device=device).repeat_interleave(2 * tried)
    numbers = guesses.flatten().repeat_interleave(2)
    upper_half = torch.tensor([False, True], device=device).repeat(len(batch) * tried)
    parts = batch.take(owner)
    points = _points(bounder, parts, numbers)
    every = parts.split(numbers, points, upper_half)
    found = bounder.glance(every)
    # What is beyond the claim is no use.
    both = found.clamp(max=bounder.problem.slack).reshape(len(batch), tried, 2)
    best = (both.amin(2) + BETTER_PART * both.amax(2)).argmax(1)
    first = (torch.arange(len(batch), device=device) * tried + best) * 2
    kept = torch.stack([first, first + 1], 1).flatten()
    cuts = list(zip(numbers[first].tolist(), points[first].tolist(), strict=True))
    return Halves(every.take(kept).compact(), cuts, found[kept], len(every))


def gained(before: Tensor, halves: Tensor) -> float:
    """How much of the way to 0 the worse half of each part came, and the better one for
    `BETTER_PART`, added up. `before`: bounds of the parts (parts,), negative; `halves`:
    (2 parts,), side by side.
    """
    both = halves.clamp(max=0.0).reshape(-1, 2)
    risen = (both.amin(1) - before) + BETTER_PART * (both.amax(1) - before)
    return float((risen / -before).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).sum())


def _points(bounder: Bounder, batch: Batch, numbers: Tensor) -> Tensor:
    """Where to cut entry `numbers` of each part."""
    row = torch.arange(len(batch), device=numbers.device)
    at = torch.searchsorted(batch.parts.numbers, numbers)
    low, high = batch.parts.lower[row, at], batch.parts.upper[row, at]
    return bounder.cuts.points(numbers, low, high)

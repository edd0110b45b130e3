"""Which entry of a part to split, and where.

Entries are guessed by how much their relaxation takes off the bound at most (BaBSR); of the best
guesses, both halves are bounded without ascent, and the one whose worse half gains most is taken
(filtered smart branching).

Sources: Bunel et al. 2020, arXiv:1909.06588; De Palma et al. 2021, arXiv:2104.06718.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backends.search.neurons.bounding import TRIED, Bounder
from specdsl.backends.search.neurons.parts import Batch, Part

# What the better half counts beside the worse one.
BETTER_PART = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Both halves of each part, side by side: parts 2i and 2i + 1. `glance`: about their bounds."""

    batch: Batch
    glance: Tensor


def candidates(gaps: Tensor) -> list[Tensor]:
    """The entries that matter most for each part, best first; none where no relaxation is off."""
    best = gaps.topk(min(TRIED, gaps.shape[1]), dim=1)
    return [indices[values > 0] for indices, values in zip(best.indices, best.values, strict=True)]


def halves(bounder: Bounder, batch: Batch, chosen: Sequence[Part]) -> Halves:
    """Split every part of a batch, which was gathered from `chosen`, where it looks best."""
    tried, device = max(len(part.candidates) for part in chosen), batch.cases.device
    # A part with fewer candidates tries its last one again.
    guesses = torch.stack(
        [
            p.candidates[torch.arange(tried, device=device).clamp(max=len(p.candidates) - 1)]
            for p in chosen
        ]
    )
    owner = torch.arange(len(batch), device=device).repeat_interleave(2 * tried)
    numbers = guesses.flatten().repeat_interleave(2)
    upper_half = torch.tensor([False, True], device=device).repeat(len(batch) * tried)
    parts = batch.take(owner)
    every = parts.split(numbers, _points(bounder, parts, numbers), upper_half)
    found = bounder.glance(every)
    # What is beyond the claim is no use.
    both = found.clamp(max=bounder.problem.slack).reshape(len(batch), tried, 2)
    best = (both.amin(2) + BETTER_PART * both.amax(2)).argmax(1)
    first = (torch.arange(len(batch), device=device) * tried + best) * 2
    kept = torch.stack([first, first + 1], 1).flatten()
    return Halves(every.take(kept).compact(), found[kept])


def _points(bounder: Bounder, batch: Batch, numbers: Tensor) -> Tensor:
    """Where to cut entry `numbers` of each part."""
    row = torch.arange(len(batch), device=numbers.device)
    at = torch.searchsorted(batch.parts.numbers, numbers)
    low, high = batch.parts.lower[row, at], batch.parts.upper[row, at]
    return bounder.cuts.points(numbers, low, high)

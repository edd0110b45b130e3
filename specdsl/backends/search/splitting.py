"""Which input to halve: where the margins' linear bounds vary most across the box."""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.backends.search.domains import Domains
from specdsl.bounds.crown import LinearLower


def bisect(domains: Domains, linear: LinearLower, levels: int = 1) -> Domains:
    """Every domain cut in two along its best input, `levels` times: 2**levels children each.

    The score of an input is its edge times the summed size of its coefficients, plus a little of
    the relative edge so that inputs the linear bound ignores are split in the end. Midpoints are
    shared by both halves, so nothing between them is lost.
    """
    slopes = linear.coefficients.abs().sum(1)
    for _ in range(levels):
        edges = domains.upper - domains.lower
        score = edges * (slopes + EDGE_PART * slopes.amax(1, keepdim=True))
        score = score.where(edges > 0, torch.full_like(score, -1.0))
        domains = _halve(domains, score.argmax(1))
        slopes = slopes.repeat(2, 1)
    return domains


EDGE_PART = 0.05


def _halve(domains: Domains, inputs: Tensor) -> Domains:
    index = inputs[:, None]
    middle = (domains.lower.gather(1, index) + domains.upper.gather(1, index)) / 2
    left = Domains(
        domains.lower,
        domains.upper.scatter(1, index, middle),
        domains.bound,
        domains.open_cases,
    )
    right = Domains(
        domains.lower.scatter(1, index, middle),
        domains.upper,
        domains.bound,
        domains.open_cases,
    )
    return left.join(right)


def splittable(domains: Domains) -> Tensor:
    """Whether some edge still has a float64 strictly inside: (domains,)."""
    middle = (domains.lower + domains.upper) / 2
    return ((domains.lower < middle) & (middle < domains.upper)).any(1)

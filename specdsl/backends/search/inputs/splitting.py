"""Which input to halve: where the margins' linear bounds vary most across the box."""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.backends.search.inputs.domains import Domains, Lattice
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import LinearLower
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion
from specdsl.certificates.recording import TreeRecord
from specdsl.query.groups import CaseGroup


def sensitivity(compiled: CompiledGraph, group: CaseGroup, root: InputRegion) -> Tensor:
    """How much the group's margins react to each input on average: mean sizes of gradients.

    Taken at fixed pseudo-random points of the root box and divided by the largest, so it is in
    parts per user's unit and makes splitting independent of units. Where a gradient is not finite,
    beside a pole or outside of a domain, the point does not count. Shape: (inputs,), all positive.
    """
    box = root.box
    generator = torch.Generator().manual_seed(0)
    widest = max(compiled.graph.size(node) for node in compiled.graph.order)
    samples = min(SAMPLES, max(LEAST_SAMPLES, MAX_VALUES // widest))
    unit = torch.rand(samples, box.lower.shape[1], generator=generator, dtype=box.lower.dtype)
    unit = unit.to(box.lower.device)
    points = (box.lower + unit * (box.upper - box.lower)).requires_grad_(True)
    margins = evaluate(compiled, points)[:, torch.as_tensor(group.rows, device=unit.device)]
    total = torch.zeros_like(box.lower[0])
    if margins.requires_grad:  # else no margin depends on the input
        for column in margins.unbind(1):
            (gradient,) = torch.autograd.grad(column.sum(), points, retain_graph=True)
            total = total + gradient.abs().nan_to_num(nan=0.0, posinf=0.0).mean(0)
    largest = float(total.max())
    return (total / largest).clamp(min=LEAST_PART) if largest > 0 else torch.ones_like(total)


SAMPLES, LEAST_SAMPLES = 256, 16
# Values of the widest node at all points: 16 MiB of float64.
MAX_VALUES = 2**21
# An input that matters a thousand times less than another is treated as mattering that much.
LEAST_PART = 1e-3


def steepness(linear: LinearLower, sensitivities: Tensor) -> Tensor:
    """How much the margins' linear bounds change with every input: (domains, inputs), positive.

    Since these bounds are flat where relaxations are loose, every slope counts at least a part of
    what the input's sensitivity suggests (`sensitivities`: (inputs,), from `sensitivity`). Where
    all bounds are flat, or not finite, the sensitivities alone decide.
    """
    slopes = linear.coefficients.abs().sum(1).nan_to_num(nan=0.0, posinf=0.0)
    level = (slopes / sensitivities).amax(1, keepdim=True)
    level = level.where(level > 0, torch.ones_like(level))
    return slopes + SENSITIVITY_PART * level * sensitivities


# Boxes bounded on the 42 provable ACAS Xu instances: 17,663 at 0.2, 19,795 at 0.05; without this
# term 48,609 and one of them not decided in 20 s.
SENSITIVITY_PART = 0.2


def bisect(
    domains: Domains,
    slopes: Tensor,
    lattice: Lattice,
    levels: int = 1,
    record: TreeRecord | None = None,
) -> Domains:
    """Every domain cut in two along its best input, `levels` times: at most 2**levels children.

    The score of an input is its edge times its slope (domains, inputs). A domain without an edge to
    cut stays as it is.
    """
    for _ in range(levels):
        edges = domains.upper - domains.lower
        score = (edges * slopes).where(lattice.cuttable(domains), torch.full_like(edges, -1.0))
        best = score.max(1)
        cut = best.values >= 0
        domains = _halve(domains, best.indices, cut, lattice, record)
        slopes = torch.cat([slopes, slopes[cut]])
    return domains


def _halve(
    domains: Domains, inputs: Tensor, cut: Tensor, lattice: Lattice, record: TreeRecord | None
) -> Domains:
    """The lower halves (and the domains that are not cut), then the upper ones."""
    index = inputs[:, None]
    below, above = (ends.gather(1, index) for ends in lattice.ends(domains))
    upper_numbers = domains.numbers
    if record is not None:
        points = (below + (above - below) / 2)[cut, 0]
        parts = record.cut(*(t.cpu().numpy() for t in (domains.numbers[cut], inputs[cut], points)))
        numbers = domains.numbers.clone()
        numbers[cut] = torch.as_tensor(parts, device=numbers.device)
        domains, upper_numbers = domains.numbered(numbers), numbers + 1
    below = below.where(cut[:, None], domains.upper.gather(1, index))
    left = domains.within(domains.lower, domains.upper.scatter(1, index, below))
    right = domains.within(domains.lower.scatter(1, index, above), domains.upper)
    return left.join(right.numbered(upper_numbers).take(cut))


def splittable(domains: Domains, lattice: Lattice) -> Tensor:
    """Whether some edge can still be cut: (domains,)."""
    return lattice.cuttable(domains).any(1)

"""How much relaxations take off the bounds of rows, entry by entry: what splitting could give back.

Source, for ReLUs: Bunel et al. 2020, arXiv:1909.06588.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.nonlinear import NonlinearRule
from specdsl.bounds.kinds.relaxation import LinearRelaxation, Relaxation
from specdsl.bounds.passes.parts import Known
from specdsl.graph.graph import NodeId

# Points of an interval at which lines are held against what they bound.
SAMPLES = 9
# A gap below a function counts less than one above: places move the line there, and often close it.
# In full, 256x4 networks of mnist_fc are searched worse (docs/performance.md).
BELOW_PART = 0.3


def gaps(
    known: Known,
    bounds: Mapping[NodeId, Interval],
    lines: Mapping[NodeId, Relaxation],
    coefficients: Mapping[NodeId, Tensor],
    like: Tensor,
) -> Tensor:
    """How far the usual lines of ops that read an entry may be off, times rows' coefficients there.

    `bounds`: of the nodes that are narrower than on the whole region; `coefficients`: of rows at
    nonlinear nodes, (batch, rows, *node). `like` (batch, rows): what the result is shaped by, which
    is (batch, rows, entries).
    """
    entries, compiled = known.entries, known.compiled
    found = like.new_zeros(*like.shape, entries.count)
    for node, passing in coefficients.items():
        operands, line = compiled.graph.operands(node), lines[node]
        if len(operands) != 1 or operands[0] not in entries.nodes:
            continue
        if not isinstance(line, LinearRelaxation):
            continue
        index = entries.nodes.index(operands[0])
        columns, start = entries.columns[index], entries.offsets[index]
        z = bounds.get(operands[0], known.bounds[operands[0]])
        ends = Interval(z.lower.flatten(1)[:, columns], z.upper.flatten(1)[:, columns])
        below, above = _largest(compiled.rules[node], line, ends, columns)
        read = passing.flatten(2)[..., columns]
        off = read.clamp(min=0) * below[:, None] - read.clamp(max=0) * above[:, None]
        found[..., start : start + columns.numel()] += off
    return found


def _largest(
    rule: NonlinearRule, line: LinearRelaxation, z: Interval, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the lines are from the function at most, below and above: (batch, columns)."""
    parts = (line.lower_slope, line.upper_slope, line.upper_intercept)
    slope, above_slope, above_intercept = (p.flatten(1)[:, columns] for p in parts)
    if line.lower_intercept is None:
        intercept = torch.zeros_like(slope)
    else:
        intercept = line.lower_intercept.flatten(1)[:, columns]
    shares = torch.linspace(0.0, 1.0, SAMPLES, dtype=z.lower.dtype)
    points = [z.lower + share * (z.upper - z.lower) for share in shares]
    points.append(torch.zeros_like(z.lower).clamp(z.lower, z.upper))
    below = above = torch.zeros_like(z.lower)
    for at in points:
        value = rule.evaluate([at])
        below = below.maximum(value - slope * at - intercept)
        above = above.maximum(above_slope * at + above_intercept - value)
    return BELOW_PART * below, above

"""From lower bounds on margins to decided cases, on a batch of regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import LinearLower, Propagated, lower_rows
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.query.groups import CaseGroup


@dataclass(frozen=True, slots=True, eq=False)
class MarginBounds:
    """Linear lower bounds of a group's margins on a batch of regions.

    `proven` is the lower bound less what rounding may have added. Shapes: proven (batch, rows);
    linear as in LinearLower.
    """

    linear: LinearLower
    proven: Tensor


def margin_rows(compiled: CompiledGraph, group: CaseGroup) -> Tensor:
    """Selects the group's margins from the graph's output: (1, rows, outputs)."""
    size = compiled.graph.size(compiled.graph.output)
    rows = compiled.like.new_zeros(1, len(group.rows), size)
    chosen = torch.as_tensor(group.rows, device=rows.device)
    rows[0, torch.arange(len(group.rows), device=rows.device), chosen] = 1.0
    return rows


def bound_margins(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, propagated: Propagated
) -> MarginBounds:
    """CROWN bounds of the margins; `rows` from `margin_rows`."""
    output = compiled.graph.output
    shaped = rows.reshape(1, rows.shape[1], *compiled.graph.shapes[output])
    linear = lower_rows(compiled, output, shaped, region, propagated.relaxations)
    return less_rounding(linear, region)


def less_rounding(linear: LinearLower, region: InputRegion) -> MarginBounds:
    """Linear bounds with what they prove: less what rounding may have added."""
    size = (linear.coefficients.abs() @ region.farthest[:, :, None])[..., 0]
    size = size + linear.constant.abs()
    return MarginBounds(linear, linear.lower - ROUNDING_PART * size)


def interval_margins(group: CaseGroup, compiled: CompiledGraph, propagated: Propagated) -> Tensor:
    """Lower bounds of the margins by intervals alone, less rounding: (batch, rows)."""
    bounds = propagated.bounds[compiled.graph.output]
    chosen = torch.as_tensor(group.rows, device=compiled.like.device)
    lower, upper = bounds.lower.flatten(1)[:, chosen], bounds.upper.flatten(1)[:, chosen]
    return lower - ROUNDING_PART * torch.maximum(lower.abs(), upper.abs())


def deciding_margins(group: CaseGroup, margins: Tensor) -> Tensor:
    """The largest margin among the atoms of each case, which all must hold at once.

    Of lower bounds: positive means that the case has no point in the region. Of values at points:
    not positive means that the point is in the case. A case without atoms gives -inf.
    Shapes: (n, rows) to (n, cases).
    """
    columns = [
        margins[:, margins.new_tensor([a.index for a in atoms], dtype=torch.long)].amax(1)
        if atoms
        else margins.new_full((margins.shape[0],), -torch.inf)
        for atoms in group.atoms
    ]
    return torch.stack(columns, dim=1)

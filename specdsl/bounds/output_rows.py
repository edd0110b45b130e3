"""Rows of the output bounded backward, some at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.crown import Propagated, lower_rows, rows_per_chunk
from specdsl.bounds.region import InputRegion


def backward_rows(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, propagated: Propagated
) -> Tensor:
    """Lower bounds of `rows . output`, on the relaxations of a pass, in memory that does not grow
    with the number of rows. Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    found = [
        lower_rows(compiled, compiled.graph.output, part, region, propagated.relaxations).lower
        for part in rows.split(2 * rows_per_chunk(compiled, region.batch), dim=1)
    ]
    return torch.cat(found, dim=1)

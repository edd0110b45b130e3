"""Rows of the output bounded backward, some at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import Propagated, lower_rows, rows_per_chunk
from specdsl.bounds.regions.region import InputRegion


def backward_rows(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, propagated: Propagated
) -> Tensor:
    """Lower bounds of `rows . output`, on the relaxations of a pass.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    output, relaxations = compiled.graph.output, propagated.relaxations

    def lower(part: Tensor) -> Tensor:
        return lower_rows(compiled, output, part, region, relaxations).lower

    return in_chunks(lower, compiled, rows, region)


def in_chunks(
    lower: Callable[[Tensor], Tensor], compiled: CompiledGraph, rows: Tensor, region: InputRegion
) -> Tensor:
    """Rows bounded some at a time, in memory that does not grow with their number."""
    parts = rows.split(rows_per_chunk(compiled, region.batch), dim=1)
    return torch.cat([lower(part) for part in parts], dim=1)

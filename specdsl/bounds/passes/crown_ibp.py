"""CROWN-IBP: intervals for all that lies inside, one backward pass for the rows.

Nearly as cheap as intervals and much tighter where networks are trained for it; the mixture with
interval bounds is what training moves along.

Source: Zhang et al. 2020, arXiv:1906.06316.
"""

from __future__ import annotations

from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.bounds.passes.merging import interval_rows
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.output_rows import backward_rows


def crown_ibp_lower(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, *, beta: float = 1.0
) -> Tensor:
    """Lower bounds of `rows . output`: `beta` parts CROWN-IBP, `1 - beta` parts intervals.

    A mixture of two lower bounds is one. Differentiable in inputs and in the parameters that
    kernels hold (`bounds.parameters`). Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    Raises ValueError for a beta outside [0, 1], else as `propagate`.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is a share between 0 and 1, not {beta}")
    found = interval_pass(compiled, region)
    if beta == 0:
        return interval_rows(compiled, rows, region, found.bounds)
    lower = backward_rows(compiled, rows, region, found)
    if beta == 1:
        return lower
    return beta * lower + (1 - beta) * interval_rows(compiled, rows, region, found.bounds)

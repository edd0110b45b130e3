"""Numbers that floats lose: rounding outward pays by parts of magnitudes, and of what has vanished
by underflow there are none.

Where every magnitude is 0 or at least LEAST, what a step loses by underflow is less than the part
of its magnitudes that it pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.affine import AffineKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.outward import magnitude
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Of float64 and float32, and what larger numbers are taken for, so that nothing overflows.
LEAST, LARGE = 2.0**-900, 2.0**100
SINGLE_LEAST, SINGLE_LARGE = 2.0**-90, 2.0**20


def require_numbers(compiled: CompiledGraph, bounds: Mapping[NodeId, Interval]) -> None:
    """Raise Unsupported where weights make numbers smaller than LEAST. `bounds`: of all nodes.

    Curves may have such values, and 0 with what their images are widened by: these count as 0.
    """
    double = compiled.like.dtype == torch.float64
    least, large = (LEAST, LARGE) if double else (SINGLE_LEAST, SINGLE_LARGE)
    sizes: dict[NodeId, Tensor] = {}
    for node, op, operands in compiled.graph:
        # In units of LEAST.
        size, own = magnitude(bounds[node]).clamp(max=large) / least, [sizes[o] for o in operands]
        if node in compiled.kernels:
            made = _affine(compiled.kernels[node], own, large, least)
            lost = (made > 0) & (made < 1)
        elif isinstance(op, ops.PiecewiseLinear):
            lost = (own[0] > 0) & (size > 0) & (size < 1)
        else:
            lost = (size > 0) & (size < 1) & isinstance(op, ops.Input)
        sizes[node] = size.masked_fill(size < 1, 0.0)
        if bool(lost.any()):
            what = "numbers so small that floats lose them, beside a function that magnifies errors"
            raise Unsupported("bound propagation", what, "scale layers: one down, the next up")


def _affine(kernel: AffineKernel, own: list[Tensor], large: float, least: float) -> Tensor:
    """Magnitudes that are added up, in units of LEAST."""
    parts = [kernel.apply_magnitude(i, x) for i, x in enumerate(own)]
    if kernel.offset is not None:
        parts.append(kernel.offset.abs().clamp(max=large) / least)
    return reduce(torch.add, parts)

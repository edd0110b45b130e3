"""The bounding methods by name: one registry, one signature.

A method is a function from a compiled graph, a batch of regions and rows of the output to lower
bounds of these rows. It stands here and nowhere else; `lower_bounds` takes one or several by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.crown import propagate
from specdsl.bounds.crown_ibp import crown_ibp_lower
from specdsl.bounds.fast_lin import with_parallel_lines
from specdsl.bounds.first_layer import interval_pass
from specdsl.bounds.forward_linear import forward_bounds, forward_lower
from specdsl.bounds.merging import interval_rows
from specdsl.bounds.region import InputRegion
from specdsl.bounds.output_rows import backward_rows


class UnknownMethod(ValueError):
    """A name that no bounding method has."""


class Method(Protocol):
    """Lower bounds of `rows . output` over each region; differentiable.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows). Raises EmptyInterval where something
    is NaN, Unsupported where an op may have no value. -inf where nothing is known.
    """

    def __call__(self, compiled: CompiledGraph, region: InputRegion, rows: Tensor, /) -> Tensor:
        """The bounds."""
        ...


def interval(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """Intervals, balls in the first layer, the last layer merged into the rows."""
    return interval_rows(compiled, rows, region, interval_pass(compiled, region).bounds)


def crown_ibp(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """Intervals inside, one backward pass for the rows."""
    return crown_ibp_lower(compiled, rows, region)


def crown(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """Backward passes for all that intervals leave unstable, and for the rows."""
    return backward_rows(compiled, rows, region, propagate(compiled, region))


def fast_lin(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """CROWN with parallel lines; what lies inside intersected with intervals."""
    return crown(with_parallel_lines(compiled), region, rows)


def forward(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """Linear functions of the inputs carried forward, intersected with intervals."""
    return forward_lower(compiled, rows, region)


def forward_crown(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
    """Forward linear bounds inside, one backward pass for the rows."""
    known = forward_bounds(compiled, region).bounds
    return backward_rows(
        compiled, rows, region, propagate(compiled, region, tighten=False, known=known)
    )


METHODS: Mapping[str, Method] = {
    "interval": interval,
    "forward": forward,
    "crown_ibp": crown_ibp,
    "forward_crown": forward_crown,
    "fast_lin": fast_lin,
    "crown": crown,
}


def lower_bounds(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, *methods: str
) -> Tensor:
    """Lower bounds of `rows . output` by the methods named, the best of each where several are.

    In real arithmetic; what float64 rounding may hide is `rounding.rounding_slack`. Shapes: rows
    (batch or 1, rows, *output) to (batch, rows). Raises UnknownMethod, and as `Method`.
    """
    if not methods:
        raise UnknownMethod("no bounding method is named")
    for name in methods:
        if name not in METHODS:
            raise UnknownMethod(f"`{name}` is no bounding method; there are {', '.join(METHODS)}")
    found = [METHODS[name](compiled, region, rows) for name in methods]
    return torch.stack(found).amax(0)

"""The bounding methods by name: one registry, one signature.

A method bounds rows of the output, and the values inside, of a compiled graph over a batch of
regions. It stands here and nowhere else; `lower_bounds` takes one or several by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.alpha_crown import USUAL_EFFORT, alpha_propagate, alpha_rows
from specdsl.bounds.passes.crown import Propagated, propagate
from specdsl.bounds.passes.fast_lin import with_parallel_lines
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.bounds.passes.forward_linear import forward_bounds, forward_rows
from specdsl.bounds.passes.lagrangian import lagrangian_bound
from specdsl.bounds.passes.merging import interval_rows
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.output_rows import backward_rows, in_chunks
from specdsl.graph.graph import NodeId

RowBounds = Callable[[Tensor], Tensor]
"""Lower bounds of rows of the output: (batch or 1, rows, *output) to (batch, rows); -inf where
nothing is known.
"""

Bounding = Callable[[CompiledGraph, InputRegion], RowBounds]
"""Work out what is known inside, once; then bound any number of rows on it."""

Inside = Callable[[CompiledGraph, InputRegion], Mapping[NodeId, Interval]]
"""Bounds of every node, (batch or 1, *node)."""


class UnknownMethod(ValueError):
    """A name that no bounding method has."""


@dataclass(frozen=True, slots=True)
class BoundMethod:
    """How one method bounds rows of the output, and what it knows inside.

    Both raise EmptyInterval where something is NaN, Unsupported where an op may have no value or
    the method has no rule for it. `climbs`: whether bounds are raised step by step, in a batch
    until most of it is done; others are differentiable in weights and regions. `takes_delicate`:
    whether it bounds graphs that are rounded outward at every node.
    """

    rows: Bounding
    inside: Inside
    climbs: bool = False
    takes_delicate: bool = True

    def lower(self, compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
        """Lower bounds of these rows alone, as `RowBounds` says."""
        return self.rows(compiled, region)(rows)


def _on(inside: Callable[[CompiledGraph, InputRegion], Propagated]) -> BoundMethod:
    """One backward pass for the rows, on relaxations of a pass."""

    def rows(compiled: CompiledGraph, region: InputRegion) -> RowBounds:
        found = inside(compiled, region)
        return lambda rows: backward_rows(compiled, rows, region, found)

    return BoundMethod(rows, lambda compiled, region: inside(compiled, region).bounds)


def _intervals(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Interval]:
    return interval_pass(compiled, region).bounds


def _interval_rows(compiled: CompiledGraph, region: InputRegion) -> RowBounds:
    bounds = _intervals(compiled, region)
    return lambda rows: interval_rows(compiled, rows, region, bounds)


def _forward_inside(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Interval]:
    return forward_bounds(compiled, region).bounds


def _forward_pass(compiled: CompiledGraph, region: InputRegion) -> Propagated:
    return propagate(compiled, region, tighten=False, known=_forward_inside(compiled, region))


def _parallel_pass(compiled: CompiledGraph, region: InputRegion) -> Propagated:
    return propagate(with_parallel_lines(compiled), region)


def _alpha_rows(compiled: CompiledGraph, region: InputRegion) -> RowBounds:
    found = alpha_propagate(compiled, region)
    limits = USUAL_EFFORT.output
    return lambda rows: alpha_rows(compiled, rows, region, found, limits).linear.lower


def _lagrangian_rows(compiled: CompiledGraph, region: InputRegion) -> RowBounds:
    propagated = propagate(compiled, region)

    def lower(part: Tensor) -> Tensor:
        return lagrangian_bound(compiled, part, region, propagated).lower

    return lambda rows: in_chunks(lower, compiled, rows, region)


METHODS: Mapping[str, BoundMethod] = MappingProxyType(
    {
        # Intervals, balls in the first layer, the last layer merged into the rows.
        "interval": BoundMethod(_interval_rows, _intervals),
        # Linear functions of the inputs carried forward, intersected with intervals.
        "forward": BoundMethod(forward_rows, _forward_inside),
        # Intervals inside, one backward pass for the rows.
        "crown_ibp": _on(interval_pass),
        # Forward linear bounds inside, one backward pass for the rows.
        "forward_crown": _on(_forward_pass),
        # CROWN with parallel lines; what lies inside intersected with intervals.
        "fast_lin": _on(_parallel_pass),
        # Backward passes for all that intervals leave unstable, and for the rows.
        "crown": _on(propagate),
        # CROWN with lines that every row chooses for itself, inside as well.
        "alpha_crown": BoundMethod(
            _alpha_rows,
            lambda compiled, region: alpha_propagate(compiled, region).bounds,
            climbs=True,
        ),
        # From CROWN's bound of the rows on towards that of the linear program.
        "lagrangian": BoundMethod(
            _lagrangian_rows,
            lambda compiled, region: propagate(compiled, region).bounds,
            climbs=True,
            takes_delicate=False,
        ),
    }
)


def lower_bounds(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, *methods: str
) -> Tensor:
    """Lower bounds of `rows . output` by the methods named, the best of each where several are.

    In real arithmetic; what float64 rounding may hide is `rounding.rounding_slack`. Shapes: rows
    (batch or 1, rows, *output) to (batch, rows). Raises UnknownMethod, and as `BoundMethod`.
    """
    if not methods:
        raise UnknownMethod("no bounding method is named")
    for name in methods:
        if name not in METHODS:
            raise UnknownMethod(f"`{name}` is no bounding method; there are {', '.join(METHODS)}")
    found = [METHODS[name].lower(compiled, region, rows) for name in methods]
    return torch.stack(found).amax(0)

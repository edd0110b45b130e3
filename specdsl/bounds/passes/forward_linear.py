"""Forward linear bounds: every node between two linear functions of the input.

Like a zonotope whose generators are the inputs: the functions below and above a node are carried
forward, through affine ops by the signs of the weights, through nonlinear ops by their linear
relaxation. What is carried grows with the number of inputs that vary, not with the depth or the
number of rows: the cheaper way where few inputs vary.

Source: Xu et al. 2020, arXiv:2002.12920, section 3.1 (forward mode); for ReLU networks Weng et al.
2018, arXiv:1804.09699.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from specdsl.bounds import outward
from specdsl.bounds.affine import RearrangeKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import Relaxation
from specdsl.bounds.outward import Outward
from specdsl.bounds.passes.forward import interval_step
from specdsl.bounds.passes.linear_functions import (
    LinearBounds,
    LinearFunction,
    through_affine,
    through_lines,
)
from specdsl.bounds.passes.merging import interval_rows, known_or_unbounded, merge_rows, row_ends
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape

# Coefficients at the widest node, of as many regions as are bounded at a time, stay below this many
# (128 MiB of float64) where one region alone does; so do those that balls are asked about.
MAX_COEFFICIENTS = 2**24
# Halves of sums and differences of two functions add up twice what either does.
BOTH_ENDS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class ForwardBounds:
    """Intervals of every node, and linear bounds of those that rows of the output end at.

    `columns`: the inputs that vary somewhere in the batch, which coefficients speak of.
    """

    bounds: Mapping[NodeId, Interval]
    linear: Mapping[NodeId, LinearBounds]
    columns: Tensor


def forward_bounds(
    compiled: CompiledGraph,
    region: InputRegion,
    *,
    checked: bool = False,
    known: Mapping[NodeId, Interval] = MappingProxyType({}),
) -> ForwardBounds:
    """Linear bounds node by node, inputs first, each concretised and intersected with intervals.

    `known`: bounds of some nodes that hold already, from an enclosing region; they are intersected
    as well, and functions pass by what is left. Memory: (batch, varying inputs) coefficients for
    each entry of the nodes still to be read. Raises EmptyInterval where something is NaN,
    Unsupported where an op may have no value (not with `checked`, for parts of a region that
    passed) or its relaxation has no rule here.
    """
    step = _Pass(compiled, region, varying_inputs(region))
    bounds: dict[NodeId, Interval] = {}
    linear: dict[NodeId, LinearBounds] = {}
    last_reader = last_readers(compiled)
    kept = row_ends(compiled)
    for position, (node, op, operands) in enumerate(compiled.graph):
        if isinstance(op, ops.Input):
            bounds[node], linear[node] = region.interval(op.extent), step.at_input(op.extent)
            continue
        rule = compiled.rules.get(node)
        if rule is not None and not checked:
            rule.require_domain([bounds[o] for o in operands])
        bounds[node] = interval_step(compiled, node, bounds, region.batch)
        linear[node] = step.linear(node, bounds, linear)
        if not isinstance(compiled.kernels.get(node), RearrangeKernel):
            bounds[node] = bounds[node].intersect(step.concretised(linear[node], bounds[node]))
        if node in known:
            bounds[node] = bounds[node].intersect(known[node])
        for operand in operands:
            if last_reader[operand] == position and operand not in kept:
                linear.pop(operand, None)
    return ForwardBounds(bounds, {node: linear[node] for node in kept}, step.columns)


def forward_lower(compiled: CompiledGraph, rows: Tensor, region: InputRegion) -> Tensor:
    """Lower bounds of `rows . output`, rows merged with the last affine ops; never looser than
    intervals. Regions are taken some at a time, so that memory is bounded where one fits.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows). Raises as `forward_bounds`.
    """
    return forward_rows(compiled, region)(rows)


def forward_rows(compiled: CompiledGraph, region: InputRegion) -> Callable[[Tensor], Tensor]:
    """`forward_lower` for any rows; where all regions fit at a time, the graph is passed once."""
    columns = varying_inputs(region).numel()
    widest = max(compiled.graph.size(node) for node in compiled.graph.order)
    at_a_time = max(1, MAX_COEFFICIENTS // (columns * widest))
    if region.batch <= at_a_time:
        known = forward_bounds(compiled, region)
        return lambda rows: _rows_lower(compiled, rows, region, known)
    parts = torch.arange(region.batch, device=compiled.like.device).split(at_a_time)

    def lower(rows: Tensor) -> Tensor:
        found: list[Tensor] = []
        for part in parts:
            some = region.take(part)
            own = rows if len(rows) == 1 else rows[part]
            found.append(_rows_lower(compiled, own, some, forward_bounds(compiled, some)))
        return torch.cat(found)

    return lower


def forward_proven(compiled: CompiledGraph, rows: Tensor, region: InputRegion) -> Tensor:
    """`forward_lower` of regions whose functions are known to have values, all at a time, less what
    rounding may have added to the rows' own sums.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    found = forward_bounds(compiled, region, checked=True)
    size = outward.magnitude(found.bounds[compiled.graph.output]).flatten(1)
    size = (rows.flatten(2).abs() @ size[:, :, None])[..., 0]
    return _rows_lower(compiled, rows, region, found) - ROUNDING_PART * size


def _rows_lower(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, found: ForwardBounds
) -> Tensor:
    merged = merge_rows(compiled, rows, found.bounds)
    step = _Pass(compiled, region, found.columns)
    coefficients = rows.new_zeros(1, rows.shape[1], found.columns.numel())
    constant = merged.constant
    for node, weights in merged.coefficients.items():
        ends = found.linear[node]
        passed = _rows_of(weights, ends)
        coefficients = coefficients + passed.coefficients
        constant = constant + passed.constant
        if compiled.outward is not None:
            size = BOTH_ENDS * step.size(ends, found.bounds[node])
            constant = constant - compiled.outward.part * _times(weights.abs(), size)
    # The rows count as entries of a node.
    function = LinearFunction(coefficients.transpose(1, 2), constant)
    lower = known_or_unbounded(compiled, step.least(function))
    return torch.maximum(lower, interval_rows(compiled, rows, region, found.bounds))


def _rows_of(weights: Tensor, ends: LinearBounds) -> LinearFunction:
    """The function below `weights . node`: coefficients (batch, rows, columns)."""
    one, other = ends.lower, ends.upper
    if ends.is_exact:
        return LinearFunction(_times(weights, one.coefficients), _times(weights, one.constant))
    positive = weights.clamp(min=0)
    negative = weights - positive
    return LinearFunction(
        _times(positive, one.coefficients) + _times(negative, other.coefficients),
        _times(positive, one.constant) + _times(negative, other.constant),
    )


def _times(weights: Tensor, value: Tensor) -> Tensor:
    """(batch or 1, rows, *shape) with (batch or 1, [columns], *shape) to (batch or 1, rows,
    [columns]). What is infinite makes NaN, which `known_or_unbounded` turns into -inf.
    """
    if value.ndim == weights.ndim:
        return weights.flatten(2) @ value.flatten(2).transpose(1, 2)
    return (weights.flatten(2) @ value.flatten(1)[:, :, None])[..., 0]


def varying_inputs(region: InputRegion) -> Tensor:
    """Positions of the inputs that vary in some region; at least one, for the shapes' sake."""
    varies = (region.box.lower < region.box.upper).any(0)
    found = varies.nonzero()[:, 0]
    return found if found.numel() else torch.zeros(1, dtype=torch.int64, device=varies.device)


def last_readers(compiled: CompiledGraph) -> dict[NodeId, int]:
    """Position of the last node that reads each node."""
    return {
        operand: position
        for position, (_, _, operands) in enumerate(compiled.graph)
        for operand in operands
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """What all steps of one pass share."""

    compiled: CompiledGraph
    region: InputRegion
    columns: Tensor

    def at_input(self, shape: Shape) -> LinearBounds:
        """The input itself: a column for each entry that varies, the others fixed."""
        lower = self.region.box.lower
        count = self.columns.numel()
        places = torch.arange(count, device=lower.device)
        coefficients = lower.new_zeros(1, count, lower.shape[1])
        coefficients[0, places, self.columns] = 1.0
        varies = torch.zeros_like(lower[0], dtype=torch.bool)
        varies[self.columns] = True
        function = LinearFunction(
            coefficients.reshape(1, count, *shape),
            lower.masked_fill(varies, 0.0).reshape(-1, *shape),
        )
        return LinearBounds(function, function)

    def linear(
        self,
        node: NodeId,
        bounds: Mapping[NodeId, Interval],
        linear: Mapping[NodeId, LinearBounds],
    ) -> LinearBounds:
        """Linear bounds of a node (not an input) from those of its operands."""
        compiled = self.compiled
        operands = compiled.graph.operands(node)
        taken = [linear[o] for o in operands]
        # Only rounding outward looks at magnitudes.
        sizes = (
            [] if compiled.outward is None else [self.size(linear[o], bounds[o]) for o in operands]
        )
        lines: Relaxation | None = None
        if node in compiled.constants:
            found = self._constant(compiled.constants[node])
        elif node in compiled.kernels:
            found = through_affine(compiled.kernels[node], taken)
        else:
            lines = compiled.rules[node].relax([bounds[o] for o in operands])
            if compiled.outward is not None:
                drift = tuple(compiled.outward.part * size for size in sizes)
                lines = lines.flattened(bounds[node], drift)
            found = through_lines(lines, taken)
        if compiled.outward is None:
            return found
        size = self._step_size(node, lines, sizes)
        return _rounded(found, compiled.outward, size, bounds[node])

    def _constant(self, value: Tensor) -> LinearBounds:
        coefficients = value.new_zeros(1, self.columns.numel(), *value.shape[1:])
        function = LinearFunction(coefficients, value)
        return LinearBounds(function, function)

    def _step_size(self, node: NodeId, lines: Relaxation | None, sizes: list[Tensor]) -> Tensor:
        """Magnitudes that the step to a node adds up, from those of its operands."""
        compiled = self.compiled
        if node in compiled.constants:
            return compiled.constants[node].abs()
        if lines is None:
            return BOTH_ENDS * outward.affine_size(compiled.kernels[node], sizes)
        rule = compiled.rules[node]
        return lines.size(*sizes) if rule.is_delicate else rule.size(sizes)

    def size(self, ends: LinearBounds, bounds: Interval) -> Tensor:
        """The largest magnitudes that either function, or the interval, is added up from."""
        farthest = self.region.farthest[:, self.columns]
        functions = (ends.lower,) if ends.is_exact else (ends.lower, ends.upper)
        found = outward.magnitude(bounds)
        for function in functions:
            spread = _weighted(farthest, function.coefficients.abs()) + function.constant.abs()
            found = found.maximum(spread)
        return found

    def concretised(self, ends: LinearBounds, bounds: Interval) -> Interval:
        """The interval that linear bounds leave; ends that cross by rounding alone are swapped."""
        turned = LinearFunction(-ends.upper.coefficients, -ends.upper.constant)
        lower, upper = self.least(ends.lower), -self.least(turned)
        if self.compiled.outward is not None:
            lower = lower.maximum(bounds.lower).where(lower.isfinite(), bounds.lower)
            upper = upper.minimum(bounds.upper).where(upper.isfinite(), bounds.upper)
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))

    def least(self, function: LinearFunction) -> Tensor:
        """The least values of a function on each region, in delicate graphs less rounding."""
        coefficients, shape = function.coefficients, function.constant.shape[1:]
        if self.region.balls is None:
            box = self.region.box
            center, radius = box.center[:, self.columns], box.radius[:, self.columns]
            spread = _weighted(radius, coefficients.abs())
            lower = _weighted(center, coefficients) - spread + function.constant
        else:
            lower = self._least_in_balls(coefficients.flatten(2)).unflatten(1, shape)
            lower = lower + function.constant
        if self.compiled.outward is None:
            return lower
        part = self.compiled.outward.part if self.region.balls is None else ROUNDING_PART
        farthest = self.region.farthest[:, self.columns]
        size = _weighted(farthest, coefficients.abs()) + function.constant.abs()
        return lower - part * size

    def _least_in_balls(self, coefficients: Tensor) -> Tensor:
        """(batch or 1, columns, entries) to (batch, entries), some entries at a time."""
        inputs = self.region.box.lower.shape[1]
        at_a_time = max(1, MAX_COEFFICIENTS // (self.region.batch * inputs))
        found: list[Tensor] = []
        for part in coefficients.split(at_a_time, dim=2):
            rows = part.new_zeros(part.shape[0], part.shape[2], inputs)
            rows[..., self.columns] = part.transpose(1, 2)
            found.append(self.region.minimum(rows))
        return torch.cat(found, dim=1)


def _weighted(weights: Tensor, coefficients: Tensor) -> Tensor:
    """(batch, columns) with (batch or 1, columns, *shape) to (batch, *shape)."""
    total = weights[:, None] @ coefficients.flatten(2)
    return total[:, 0].unflatten(1, coefficients.shape[2:])


def _rounded(
    found: LinearBounds, rounding: Outward, size: Tensor, bounds: Interval
) -> LinearBounds:
    """Both functions moved apart by what the step may have rounded; the interval's ends where one
    is not finite.
    """
    error = rounding.part * size
    below = replace(found.lower, constant=found.lower.constant - error)
    above = replace(found.upper, constant=found.upper.constant + error)
    return LinearBounds(_finite(below, bounds.lower), _finite(above, bounds.upper))


def _finite(function: LinearFunction, end: Tensor) -> LinearFunction:
    known = (function.coefficients.sum(1) + function.constant).isfinite()
    if bool(known.all()):
        return function
    return LinearFunction(
        function.coefficients.where(known[:, None], torch.zeros_like(end)[:, None]),
        function.constant.where(known, end),
    )

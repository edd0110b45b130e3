"""Rows walked back to the input for training: CROWN on intervals, and rows merged with layers.

It gives what `bounds.passes.crown_ibp` gives, but for rounding, in less time: one product a ReLU
instead of one for each sign, its gradient written out, and transposed convolutions by phases
(`spread`).

Source: Zhang et al. 2020, arXiv:1906.06316.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from specdsl.bounds.affine import AffineKernel, ConvKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.rows import DenseRows
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.training.runtime.bounds.centered import Centered
from specdsl.training.runtime.bounds.spread import spread_rows

Bounds = Mapping[NodeId, Centered]


def merged_lower(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Bounds
) -> Tensor:
    """Lower bounds of rows of the output, merged with the affine ops that lead to it, by intervals.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    walk = _Walk(compiled, bounds, merges_only=True)
    if not region.is_box:
        return walk.lower(rows, region)
    # Centres go through affine ops as points do: only radii need the merged rows.
    center = _dot(rows, bounds[compiled.graph.output].center)
    return center - walk.spread(rows)


def merged_interval(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Bounds
) -> Centered:
    """Both ends of what `merged_lower` gives the lower ones of: (batch, rows)."""
    walk = _Walk(compiled, bounds, merges_only=True)
    if region.is_box:
        return Centered(_dot(rows, bounds[compiled.graph.output].center), walk.spread(rows))
    lower, upper = walk.lower(rows, region), -walk.lower(-rows, region)
    # Of a point both are the same but for rounding.
    return Centered((lower + upper) / 2, ((upper - lower) / 2).clamp(min=0))


def relaxed_lower(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Bounds
) -> Tensor:
    """Lower bounds of rows of the output, walked back to the input through relaxations."""
    walk = _Walk(compiled, bounds, merges_only=False)
    return walk.lower(rows, region)


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """`merges_only`: rows end at the first nonlinear op, which its interval bounds."""

    compiled: CompiledGraph
    bounds: Bounds
    merges_only: bool

    def lower(self, rows: Tensor, region: InputRegion) -> Tensor:
        graph = self.compiled.graph
        pending: dict[NodeId, Tensor] = {graph.output: rows}
        total = rows.new_zeros(region.batch, rows.shape[1])
        for node in reversed(graph.order):
            if node not in pending:
                continue
            passing = pending.pop(node)
            if node == graph.input:
                total = total + region.minimum(passing.flatten(2))
            elif node in self.compiled.constants:
                total = total + _dot(passing, self.compiled.constants[node])
            elif node in self.compiled.kernels:
                total = total + self._affine(node, passing, pending)
            elif self.merges_only:
                total = total + _at(passing, self.bounds[node])
            else:
                total = total + self._relaxed(node, passing, pending)
        return total

    def spread(self, rows: Tensor) -> Tensor:
        """How far the rows reach from their values at the centres: (batch or 1, rows)."""
        graph = self.compiled.graph
        pending: dict[NodeId, Tensor] = {graph.output: rows}
        total = rows.new_zeros(1, rows.shape[1])
        for node in reversed(graph.order):
            if node not in pending:
                continue
            passing = pending.pop(node)
            if node in self.compiled.kernels:
                self._affine(node, passing, pending)
            else:
                total = total + _dot(passing.abs(), self.bounds[node].radius)
        return total

    def _affine(self, node: NodeId, rows: Tensor, pending: dict[NodeId, Tensor]) -> Tensor:
        kernel = self.compiled.kernels[node]
        (first, *others) = self.compiled.graph.operands(node)
        passed, gained = _transposed(kernel, rows)
        _add(pending, first, passed)
        for i, operand in enumerate(others, 1):
            stacked = kernel.transpose(i, rows.flatten(0, 1))
            _add(pending, operand, stacked.unflatten(0, rows.shape[:2]))
        return gained

    def _relaxed(self, node: NodeId, rows: Tensor, pending: dict[NodeId, Tensor]) -> Tensor:
        operands = self.compiled.graph.operands(node)
        ends = [self.bounds[o] for o in operands]
        if type(self.compiled.graph.op(node)) is ops.Relu:
            passed, gained = _through_relu(rows, ends[0])
            _add(pending, operands[0], passed)
            return gained
        intervals = [Interval(z.lower, z.upper) for z in ends]
        found = self.compiled.rules[node].relax(intervals).through(DenseRows(rows))
        for operand, part in zip(operands, found.rows, strict=True):
            _add(pending, operand, part.dense().coefficients)
        return found.constant


def _add(pending: dict[NodeId, Tensor], node: NodeId, rows: Tensor) -> None:
    pending[node] = pending[node] + rows if node in pending else rows


def _dot(rows: Tensor, value: Tensor) -> Tensor:
    """(batch or 1, rows, *shape) with (batch or 1, *shape) to (batch or 1, rows)."""
    return (rows.flatten(2) @ value.flatten(1)[:, :, None])[..., 0]


def _at(rows: Tensor, z: Centered) -> Tensor:
    """Least values over an interval."""
    return _dot(rows, z.center) - _dot(rows.abs(), z.radius)


def _transposed(kernel: AffineKernel, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows on the first operand, and what the offset adds."""
    if isinstance(kernel, ConvKernel):
        return spread_rows(kernel, rows)
    passed = kernel.transpose(0, rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    if kernel.offset is None:
        return passed, rows.new_zeros(1, 1)
    return passed, _dot(rows, kernel.offset.expand(rows.shape[2:])[None])


# --- ReLU ----------------------------------------------------------------------------------------


def _through_relu(rows: Tensor, z: Centered) -> tuple[Tensor, Tensor]:
    """By lines as in `bounds.kinds.piecewise`: the chord above, 0 or the identity below."""
    batch = max(len(rows), len(z.center))
    center, radius = (part.expand(batch, *part.shape[1:]) for part in (z.center, z.radius))
    return _Lines.apply(rows, center, radius)


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """Of the chord, `above (z - off)`, and of the line below: (batch, *shape). `width`: between the
    parts of the interval at or above 0 and at or below.
    """

    above: Tensor
    below: Tensor
    off: Tensor
    width: Tensor

    @classmethod
    def of(cls, lower: Tensor, upper: Tensor) -> _Slopes:
        on, off = upper.relu(), lower.clamp(max=0)
        # 0 only where the pre-activation is 0 throughout: any slope is right.
        width = (on - off).clamp_(min=torch.finfo(on.dtype).tiny)
        return cls(on / width, (on > -off).to(on.dtype), off, width)


class _Lines(torch.autograd.Function):
    """Positive coefficients take the line below, negative ones the chord above.

    Coefficients are by far the largest tensors of a pass; this reads them a handful of times, in
    products that need no masks. Where a neuron is stable, its slope has no gradient, however near
    to 0 it is. Shapes: rows (batch or 1, rows, *shape), center and radius (batch, *shape) to
    (batch, rows, *shape) and (batch, rows).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = center - radius, center + radius
        ctx.save_for_backward(rows, lower, upper)
        lines = _Slopes.of(lower, upper)
        negative = rows.clamp(max=0)
        intercept = (lines.above * lines.off).neg_()
        gained = (negative.flatten(2) @ intercept.flatten(1)[:, :, None])[..., 0]
        steeper = (lines.above - lines.below)[:, None]
        return (rows * lines.below[:, None]).addcmul_(negative, steeper), gained

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, at_passed: Tensor, at_gained: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, lower, upper = ctx.saved_tensors
        lines = _Slopes.of(lower, upper)
        at_lower, at_upper = _at_ends(lines, lower, upper, rows, at_passed, at_gained)
        at_rows = None
        if ctx.needs_input_grad[0]:
            at_rows = _at_rows(lines, rows, at_passed, at_gained)
        return at_rows, at_lower + at_upper, at_upper - at_lower


def _at_rows(lines: _Slopes, rows: Tensor, at_passed: Tensor, at_gained: Tensor) -> Tensor:
    """`at_passed above + at_gained intercept` where negative, elsewhere `at_passed below`."""
    gained = at_gained.reshape(*at_gained.shape, *(1 for _ in lines.off.shape[1:]))
    intercept = (lines.above * lines.off).neg_()
    found = (at_passed * lines.above[:, None]).addcmul_(gained, intercept[:, None])
    other = (at_passed * lines.below[:, None]).sub_(found)
    found += torch.ops.aten.threshold_backward(other, rows.expand_as(other), 0)
    return found.sum_to_size(rows.shape)


def _at_ends(
    lines: _Slopes,
    lower: Tensor,
    upper: Tensor,
    rows: Tensor,
    at_passed: Tensor,
    at_gained: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of the chord's slope and intercept with regard to the ends of the interval."""
    negative = rows.clamp(max=0)
    at_intercept = (at_gained[:, None] @ negative.flatten(2)).reshape(lower.shape)
    at_slope = (negative * at_passed).sum(1)
    through = torch.ops.aten.threshold_backward
    change = at_slope.addcmul_(lines.off, at_intercept, value=-1).div_(lines.width)
    at_upper = through(change - change * lines.above, upper, 0)
    at_lower = through(lines.above * (change - at_intercept), -lower, 0)
    return at_lower, at_upper

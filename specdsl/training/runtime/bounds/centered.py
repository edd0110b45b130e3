"""Intervals for training: as centre and radius, with one step for ReLU and no checks on the way.

It gives what `bounds.passes.first_layer.interval_pass` gives, but for rounding, in less time. That
a bound is a number is the matter of whoever takes it: in training a loss shows where it is not.

Source: Gowal et al. 2018, arXiv:1810.12715 (centre and radius, the last layer merged into rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from specdsl.bounds.affine import AffineKernel, ConvKernel, RearrangeKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.first_layer import first_layer
from specdsl.bounds.passes.forward import affine_value
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Centered:
    """`center - radius <= value <= center + radius`, entry by entry: (batch or 1, *shape)."""

    center: Tensor
    radius: Tensor

    @property
    def lower(self) -> Tensor:
        """The lower end."""
        return self.center - self.radius

    @property
    def upper(self) -> Tensor:
        """The upper end."""
        return self.center + self.radius

    @classmethod
    def of(cls, interval: Interval) -> Centered:
        """The same interval."""
        return cls(interval.center, interval.radius)


def centered_pass(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Centered]:
    """Intervals of every node; over balls those of the first layer are by dual norms.

    Shapes: (batch or 1, *node). For graphs that need no rounding outward. Raises Unsupported where
    an op may have no value.
    """
    graph = compiled.graph
    known = first_layer(compiled, region)
    found: dict[NodeId, Centered] = {}
    for node, op, operands in graph:
        if node in known:
            found[node] = Centered.of(known[node])
        elif isinstance(op, ops.Input):
            center, radius = region.box.center, region.box.radius
            shape = (region.batch, *op.extent)
            found[node] = Centered(center.reshape(shape), radius.reshape(shape))
        elif isinstance(op, ops.Constant):
            value = compiled.constants[node]
            found[node] = Centered(value, torch.zeros_like(value))
        elif node in compiled.kernels:
            found[node] = _affine(compiled.kernels[node], [found[o] for o in operands])
        elif type(op) is ops.Relu:
            (z,) = (found[o] for o in operands)
            found[node] = Centered(*_Relu.apply(z.center, z.radius))
        else:
            ends = [Interval(found[o].lower, found[o].upper) for o in operands]
            compiled.rules[node].require_domain(ends)
            found[node] = Centered.of(compiled.rules[node].image(ends))
    return found


def output_at(compiled: CompiledGraph, points: Tensor) -> Tensor:
    """The output at flat points, (points, inputs) to (points, outputs); attacks take many steps.

    As `bounds.passes.forward.evaluate`, without padded copies.
    """
    graph, count = compiled.graph, points.shape[0]
    found: dict[NodeId, Tensor] = {}
    for node, op, operands in graph:
        kernel = compiled.kernels.get(node)
        values = [found[o] for o in operands]
        if isinstance(op, ops.Input):
            found[node] = points.reshape(count, *op.extent)
        elif isinstance(op, ops.Constant):
            found[node] = compiled.constants[node].expand(count, *op.value.shape)
        elif kernel is None:
            found[node] = compiled.rules[node].evaluate(values)
        elif isinstance(kernel, ConvKernel) and len(kernel.op.strides) == 2:
            found[node] = _convolved(kernel, values[0], kernel.weight, kernel.offset)
        else:
            found[node] = affine_value(kernel, values)
    return found[graph.output].flatten(1)


def _affine(kernel: AffineKernel, operands: list[Centered]) -> Centered:
    if isinstance(kernel, ConvKernel) and len(kernel.op.strides) == 2:
        (z,) = operands
        return Centered(
            _convolved(kernel, z.center, kernel.weight, kernel.offset),
            _convolved(kernel, z.radius, kernel.magnitude, None),
        )
    center = kernel.apply(0, operands[0].center)
    radius = kernel.apply_magnitude(0, operands[0].radius)
    for i, z in enumerate(operands[1:], 1):
        center = center + kernel.apply(i, z.center)
        radius = radius + kernel.apply_magnitude(i, z.radius)
    if kernel.offset is not None and not isinstance(kernel, RearrangeKernel):
        center = center + kernel.offset
    return Centered(center, radius)


def _convolved(kernel: ConvKernel, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Without an axis for the model's own batch, and without a padded copy where pads are even."""
    op = kernel.op
    flat = x.reshape(-1, *kernel.operand[1:])
    if any(first != last for first, last in op.pads):
        flat = F.pad(flat, [extent for pad in reversed(op.pads) for extent in pad])
        pads = [0, 0]
    else:
        pads = [first for first, _ in op.pads]
    bias = None if bias is None else bias.flatten()
    y = F.conv2d(flat, weight, bias, op.strides, pads, op.dilations, op.groups)
    return y.reshape(x.shape[0], *kernel.result)


class _Relu(torch.autograd.Function):
    """The image of ReLU and its gradient, in as few passes over memory as there can be.

    At 0 the slope is 0, as torch has it.
    """

    @staticmethod
    def forward(ctx: Any, center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        upper = (center + radius).relu_()
        lower = (center - radius).relu_()
        ctx.save_for_backward(lower, upper)
        half = (upper - lower).mul_(0.5)
        return lower + half, half

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, at_center: Tensor, at_radius: Tensor
    ) -> tuple[Tensor, Tensor]:
        lower, upper = ctx.saved_tensors
        above = _kept_where_positive((at_center + at_radius).mul_(0.5), upper)
        below = _kept_where_positive((at_center - at_radius).mul_(0.5), lower)
        return above + below, above.sub_(below)


def _kept_where_positive(gradient: Tensor, value: Tensor) -> Tensor:
    """In place: a mask to multiply by would be written and read once more."""
    kept = torch.ops.aten.threshold_backward.grad_input
    return kept(gradient, value, 0, grad_input=gradient)

"""Forward passes: values of a graph at many points, and interval bounds.

Source of the interval rules: Gowal et al. 2018, arXiv:1810.12715 (centre and radius form).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from specdsl.bounds import outward
from specdsl.bounds.affine import AffineKernel, RearrangeKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


def evaluate(compiled: CompiledGraph, points: Tensor) -> Tensor:
    """The graph's output at flat input points; differentiable.

    Shapes: (points, inputs) to (points, outputs).
    """
    return node_values(compiled, points)[compiled.graph.output].flatten(1)


def node_values(compiled: CompiledGraph, points: Tensor) -> dict[NodeId, Tensor]:
    """The value of every node at flat input points, (points, *shape) each; differentiable."""
    graph = compiled.graph
    values: dict[NodeId, Tensor] = {}
    n = points.shape[0]
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            values[node] = points.reshape(n, *op.extent)
        elif isinstance(op, ops.Constant):
            values[node] = compiled.constants[node].expand(n, *op.value.shape)
        elif node in compiled.rules:
            values[node] = compiled.rules[node].evaluate([values[o] for o in operands])
        else:
            values[node] = affine_value(compiled.kernels[node], [values[o] for o in operands])
    return values


def affine_value(kernel: AffineKernel, operands: list[Tensor]) -> Tensor:
    """`sum_i A_i x_i + offset`."""
    total = sum(
        (kernel.apply(i, x) for i, x in enumerate(operands)), start=operands[0].new_zeros(())
    )
    return total if kernel.offset is None else total + kernel.offset


def affine_interval(kernel: AffineKernel, operands: list[Interval]) -> Interval:
    """Interval bounds of an affine op: the centre moves, the radius spreads by magnitudes."""
    center = affine_value(kernel, [x.center for x in operands])
    radius = sum(
        (kernel.apply_magnitude(i, x.radius) for i, x in enumerate(operands)),
        start=center.new_zeros(()),
    )
    return Interval(center - radius, center + radius)


def interval_step(
    compiled: CompiledGraph, node: NodeId, bounds: Mapping[NodeId, Interval], batch: int
) -> Interval:
    """Interval bounds of a node (not an input) from those of its operands.

    In a delicate graph rounded outward, and perhaps infinite.
    """
    op = compiled.graph.op(node)
    operands = [bounds[o] for o in compiled.graph.operands(node)]
    rounding = compiled.outward
    if isinstance(op, ops.Constant):
        value = compiled.constants[node].expand(batch, *op.value.shape)
        exact = Interval(value, value)
        return exact if rounding is None else outward.widened(exact)
    rule = compiled.rules.get(node)
    if rule is not None:
        image = rule.image(operands)
        return outward.widened(image) if rounding is not None and rule.rounds_image else image
    kernel = compiled.kernels[node]
    if isinstance(kernel, RearrangeKernel):
        # Entries only move: ends are exact, where a midpoint and a radius would round.
        ends = ([x.lower for x in operands], [x.upper for x in operands])
        return Interval(*(affine_value(kernel, end) for end in ends))
    if rounding is not None:
        return outward.affine_interval(kernel, rounding.signs[node], operands, rounding.part)
    return affine_interval(kernel, operands)

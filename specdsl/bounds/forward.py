"""Forward passes: values of a graph at many points, and interval bounds.

Source of the interval rules: Gowal et al. 2018, arXiv:1810.12715 (centre and radius form).
"""

from __future__ import annotations

from torch import Tensor

from specdsl.bounds import piecewise, polynomial
from specdsl.bounds.affine import AffineKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


def evaluate(compiled: CompiledGraph, points: Tensor) -> Tensor:
    """The graph's output at flat input points; differentiable.

    Shapes: (points, inputs) to (points, outputs).
    """
    graph = compiled.graph
    values: dict[NodeId, Tensor] = {}
    n = points.shape[0]
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            values[node] = points.reshape(n, *op.extent)
        elif isinstance(op, ops.Constant):
            values[node] = compiled.constants[node].expand(n, *op.value.shape)
        elif isinstance(op, ops.PiecewiseLinear):
            values[node] = piecewise.evaluate(op, values[operands[0]])
        elif isinstance(op, ops.Polynomial):
            values[node] = polynomial.evaluate(op, [values[o] for o in operands])
        else:
            values[node] = affine_value(compiled.kernels[node], [values[o] for o in operands])
    return values[graph.output].reshape(n, -1)


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
    compiled: CompiledGraph, node: NodeId, bounds: dict[NodeId, Interval], batch: int
) -> Interval:
    """Interval bounds of a node (not an input) from those of its operands."""
    op, operands = compiled.graph.op(node), compiled.graph.operands(node)
    if isinstance(op, ops.Constant):
        value = compiled.constants[node].expand(batch, *op.value.shape)
        return Interval(value, value)
    if isinstance(op, ops.PiecewiseLinear):
        return piecewise.image(op, bounds[operands[0]])
    if isinstance(op, ops.Polynomial):
        return polynomial.image(op, [bounds[o] for o in operands])
    return affine_interval(compiled.kernels[node], [bounds[o] for o in operands])

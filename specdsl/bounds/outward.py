"""Rounding outward: bounds that hold although float64 rounds, at every node on the way.

Elsewhere one number covers all rounding at the end (`bounds.rounding`). That takes a limit on how
much each op magnifies an error, which a logarithm, a reciprocal or a jump does not have. Graphs
with such an op ("delicate" ones) are bounded so that nothing is left to magnify: every interval is
made larger by what its own sums and products may be off, and every row that walks back to the input
pays, node by node, for the rounding of the step. Where those numbers cancel is of no matter: errors
are measured by magnitudes.

Source: running error analysis, Higham 2002, Accuracy and Stability of Numerical Algorithms,
chapter 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.affine import AffineKernel
from specdsl.bounds.interval import Interval
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId

# Of the unit roundoff, for the few roundings of a step besides those of its longest sum.
FEW = 64.0
UNIT_ROUNDOFF = 2.0**-53
# The ends of a range are computed by some four operations, each off by a unit in the last place.
IMAGE_UNITS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Outward:
    """How a delicate graph is rounded.

    `part`: what part of its magnitudes any one step may be off by; `signs`: of the weights on each
    operand of an affine node, 1 where none is negative, -1 where none is positive, else 0.
    """

    part: float
    signs: Mapping[NodeId, tuple[int, ...]]

    @classmethod
    def of(cls, graph: Graph) -> Outward:
        """No sum in a step, forward or backward, has more terms than the largest node entries."""
        longest = max(graph.size(node) for node in graph.order)
        signs = {n: weight_signs(op, len(o)) for n, op, o in graph if isinstance(op, ops.Affine)}
        return cls(2 * (longest + FEW) * UNIT_ROUNDOFF, signs)


def magnitude(x: Interval) -> Tensor:
    """The largest absolute values."""
    return x.lower.abs().maximum(x.upper.abs())


def widened(x: Interval) -> Interval:
    """The interval with what computing its ends may have hidden; an end at 0 stays there."""
    part = IMAGE_UNITS * torch.finfo(x.lower.dtype).eps
    return Interval(x.lower - part * x.lower.abs(), x.upper + part * x.upper.abs())


def affine_size(kernel: AffineKernel, sizes: list[Tensor]) -> Tensor:
    """Magnitudes that an affine op's result is added up from: `sum_i |A_i| size_i + |offset|`."""
    total = sum(
        (kernel.apply_magnitude(i, x) for i, x in enumerate(sizes)), start=sizes[0].new_zeros(())
    )
    return total if kernel.offset is None else total + kernel.offset.abs()


def affine_interval(
    kernel: AffineKernel, signs: tuple[int, ...], operands: list[Interval], part: float
) -> Interval:
    """Interval bounds of an affine op, rounded outward; unbounded where an operand leaves no other.

    Where all weights on an operand have one sign, an end is the sum of the operand's own ends, and
    the error is in proportion to these: sums of positive numbers stay positive.
    """
    lower, upper = (_Sum(kernel, operands[0].lower) for _ in range(2))
    for i, (x, sign) in enumerate(zip(operands, signs, strict=True)):
        if sign:
            low, high = (x.lower, x.upper) if sign > 0 else (x.upper, x.lower)
            lower.add(kernel.apply(i, low), kernel.apply_magnitude(i, low.abs()))
            upper.add(kernel.apply(i, high), kernel.apply_magnitude(i, high.abs()))
        else:
            center, radius = kernel.apply(i, x.center), kernel.apply_magnitude(i, x.radius)
            size = 2 * kernel.apply_magnitude(i, magnitude(x))
            lower.add(center - radius, size)
            upper.add(center + radius, size)
    least = lower.value - part * lower.size
    most = upper.value + part * upper.size
    known = least <= most  # Fails for NaN.
    return Interval(least.masked_fill(~known, -torch.inf), most.masked_fill(~known, torch.inf))


class _Sum:
    """A sum on the way, with the magnitudes of its terms, from the offset of a kernel on."""

    def __init__(self, kernel: AffineKernel, like: Tensor) -> None:
        self.value = like.new_zeros(()) if kernel.offset is None else kernel.offset
        self.size = self.value.abs()

    def add(self, value: Tensor, size: Tensor) -> None:
        """One term more."""
        self.value, self.size = self.value + value, self.size + size


@singledispatch
def weight_signs(op: ops.Op, operands: int) -> tuple[int, ...]:
    """For each operand 1 where no weight on it is negative, -1 where none is positive, else 0."""
    return (0,) * operands


def _sign(*weights: ops.Array) -> tuple[int, ...]:
    least = min(float(np.min(w, initial=0)) for w in weights)
    most = max(float(np.max(w, initial=0)) for w in weights)
    return (1 if least >= 0 else -1 if most <= 0 else 0,)


@weight_signs.register
def _(op: ops.Dense | ops.Conv | ops.ConvTranspose, operands: int) -> tuple[int, ...]:
    return _sign(op.weight)


@weight_signs.register
def _(op: ops.Scale, operands: int) -> tuple[int, ...]:
    return _sign(op.scale)


@weight_signs.register
def _(op: ops.BatchNorm, operands: int) -> tuple[int, ...]:
    return _sign(op.factor)


@weight_signs.register
def _(op: ops.Sum, operands: int) -> tuple[int, ...]:
    return tuple(1 if c >= 0 else -1 for c in op.coefficients)

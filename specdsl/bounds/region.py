"""Where inputs range, for kernels: a batch of boxes, or one lp ball cut by a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.graph.ops import Shape
from specdsl.query.sets import InputSet, NormBall


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """`norm(x - center) <= radius`; `norm` is l1 or l2. center: (1, inputs)."""

    center: Tensor
    radius: float
    norm: str

    def minimum(self, coefficients: Tensor) -> Tensor:
        """Least value of `coefficients . x` over the ball: Hoelder's inequality, attained.

        Shapes: (batch, rows, inputs) to (batch, rows).
        """
        dual = torch.inf if self.norm == "l1" else 2
        size = torch.linalg.vector_norm(coefficients, ord=dual, dim=-1)
        return coefficients @ self.center[0] - self.radius * size

    def reaches(self, box: Interval) -> Tensor:
        """Whether the ball meets each box, (batch,): by the nearest point to its centre.

        Distances within rounding of the radius count as met.
        """
        nearest = self.center.clamp(box.lower, box.upper)
        order = 1 if self.norm == "l1" else 2
        distance = torch.linalg.vector_norm(nearest - self.center, ord=order, dim=1)
        return distance <= self.radius * (1 + REACH_PART)


# Norms of some thousand float64 entries err by less than 1e-12 of their size.
REACH_PART = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class InputRegion:
    """A batch of boxes (batch, inputs), each cut by the same ball where there is one."""

    box: Interval
    ball: Ball | None = None

    @property
    def batch(self) -> int:
        """Number of boxes."""
        return self.box.lower.shape[0]

    def interval(self, shape: Shape) -> Interval:
        """The boxes in the shape of the graph's input: (batch, *shape)."""
        n = self.batch
        return Interval(self.box.lower.reshape(n, *shape), self.box.upper.reshape(n, *shape))

    def minimum(self, coefficients: Tensor) -> Tensor:
        """A lower bound of `coefficients . x` over each region; exact without a ball.

        The ball and the box are used one at a time and the better bound is kept.
        Shapes: (batch or 1, rows, inputs) to (batch, rows).
        """
        center, radius = self.box.center[:, :, None], self.box.radius[:, :, None]
        lowest = (coefficients @ center - coefficients.abs() @ radius)[..., 0]
        if self.ball is None:
            return lowest
        return torch.maximum(lowest, self.ball.minimum(coefficients))


def input_region(inputs: InputSet, like: Tensor) -> InputRegion:
    """A batch of one that contains the exact set: bounds are rounded outward to float64."""
    lower, upper = inputs.box.float_bounds()
    box = Interval(like.new_tensor(lower)[None], like.new_tensor(upper)[None])
    if not isinstance(inputs, NormBall):
        return InputRegion(box)
    center = like.new_tensor([float(c) for c in inputs.center])[None]
    # The centre is rounded to the nearest float64; the radius grows by more than that error.
    slack = 1e-15 * (float(center.abs().sum()) + float(inputs.radius))
    return InputRegion(box, Ball(center, float(inputs.radius) + slack, inputs.norm))

"""`Interval`: a lower and an upper bound for every entry of a tensor, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class EmptyInterval(ValueError):
    """Lower > upper somewhere, or a bound that is NaN: a bug upstream, never to be ignored."""


class DisjointBounds(EmptyInterval):
    """Two bounds of one value exclude each other. Where they rest on an assumption, nothing meets
    it; else a bug upstream.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """`lower <= value <= upper`, entry by entry, for a batch of input regions.

    Shapes: lower, upper: (batch, *shape) or, where it holds for the whole batch, (1, *shape).
    Raises EmptyInterval where lower > upper or either is NaN.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        # `not (<=).all()` and not `(>).any()`: a NaN must fail.
        if not bool((self.lower <= self.upper).all()):
            raise EmptyInterval("lower > upper or NaN in an interval")

    @property
    def center(self) -> Tensor:
        """Midpoint."""
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width."""
        return (self.upper - self.lower) / 2

    def intersect(self, other: Interval) -> Interval:
        """Both hold. Bounds that cross by rounding alone are swapped, which keeps them sound."""
        lower = torch.maximum(self.lower, other.lower)
        upper = torch.minimum(self.upper, other.upper)
        crossed = lower > upper
        if bool(crossed.any()):
            gap = (lower - upper)[crossed]
            scale = 1 + torch.maximum(lower.abs(), upper.abs())[crossed]
            if bool((gap > CROSSING_TOLERANCE * scale).any()):
                raise DisjointBounds(f"two sound bounds are disjoint by {float(gap.max()):.3g}")
            lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)
        return Interval(lower, upper)

    def numpy(self) -> NumpyInterval:
        """The only region of a batch of one, as float64 arrays of the value's shape."""
        lower, upper = (b.detach().double().cpu().numpy()[0] for b in (self.lower, self.upper))
        return NumpyInterval(lower, upper)


# Two float64 bounds of one number each carry rounding errors of about 1e-13 relative in networks of
# thousands of terms a row; 1e-6 is far above that and far below any real disagreement.
CROSSING_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class NumpyInterval:
    """Bounds of one node for one input region, as float64 arrays in the node's shape."""

    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if not bool((self.lower <= self.upper).all()):
            raise EmptyInterval("lower > upper or NaN in an interval")

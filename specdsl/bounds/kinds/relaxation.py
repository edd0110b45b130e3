"""Linear functions below and above a nonlinear op, and how a backward pass goes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.rows.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """Rows on each operand of a node, none where they go no further, and the `constant` gained:
    (batch or 1, rows or 1).
    """

    rows: tuple[Rows, ...]
    constant: Tensor


class Relaxation(Protocol):
    """Linear bounds of one nonlinear node over a batch of regions."""

    def through(self, rows: Rows) -> Passed:
        """Pass rows on: positive coefficients take what is below, negative ones what is above."""
        ...

    def size(self, *operands: Tensor) -> Tensor:
        """Magnitudes that the lines' values are added up from, where operands have these at most.

        Shapes: (batch, *operand) to (batch, *result).
        """
        ...

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> Self:
        """The same with constant bounds, those of `image`, wherever lines tell nothing.

        That is where they are not finite, or so steep that moving an operand by its `drift` changes
        them by more than the width of the image.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearRelaxation:
    """`lower_slope z + lower_intercept <= f(z) <= upper_slope z + upper_intercept`, on an interval.

    Shapes: (batch, *shape) each; `lower_intercept` is None where it is zero everywhere.
    `unbounded`: some intercepts are infinite.
    """

    lower_slope: Tensor
    lower_intercept: Tensor | None
    upper_slope: Tensor
    upper_intercept: Tensor
    unbounded: bool = False

    def through(self, rows: Rows) -> Passed:
        """As Relaxation says."""
        positive, negative = by_sign(rows)
        constant = self._at(negative, self.upper_intercept)
        if self.lower_intercept is not None:
            constant = constant + self._at(positive, self.lower_intercept)
        passed = _mixed(positive, self.lower_slope, negative, self.upper_slope)
        return Passed((passed,), constant)

    def _at(self, rows: Rows, intercept: Tensor) -> Tensor:
        return rows.at_unbounded(intercept) if self.unbounded else rows.at(intercept)

    def size(self, *operands: Tensor) -> Tensor:
        """As Relaxation says."""
        return _product(self._steepest(), operands[0]) + self._farthest()

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> LinearRelaxation:
        """As Relaxation says."""
        below = self.lower_intercept
        below = torch.zeros_like(self.lower_slope) if below is None else below
        width = image.upper - image.lower
        flat = _tells_nothing(_product(self.lower_slope.abs(), drift[0]), below, width)
        lower_slope, below = self.lower_slope.masked_fill(flat, 0.0), image.lower.where(flat, below)
        above = self.upper_intercept
        flat = _tells_nothing(_product(self.upper_slope.abs(), drift[0]), above, width)
        upper_slope, above = self.upper_slope.masked_fill(flat, 0.0), image.upper.where(flat, above)
        unbounded = not bool((above - below).isfinite().all())
        return LinearRelaxation(lower_slope, below, upper_slope, above, unbounded)

    def _steepest(self) -> Tensor:
        return self.lower_slope.abs().maximum(self.upper_slope.abs())

    def _farthest(self) -> Tensor:
        above = self.upper_intercept.abs()
        return above if self.lower_intercept is None else above.maximum(self.lower_intercept.abs())


@dataclass(frozen=True, slots=True, eq=False)
class PlaneRelaxation:
    """`lower_x x + lower_y y + lower_intercept <= x y <= upper_x x + upper_y y + upper_intercept`.

    On a rectangle for each entry. Shapes: (batch, *shape) each. `unbounded`: some intercepts are
    infinite.
    """

    lower_x: Tensor
    lower_y: Tensor
    lower_intercept: Tensor
    upper_x: Tensor
    upper_y: Tensor
    upper_intercept: Tensor
    unbounded: bool = False

    def through(self, rows: Rows) -> Passed:
        """As Relaxation says."""
        positive, negative = by_sign(rows)
        below, above = self.lower_intercept, self.upper_intercept
        if self.unbounded:
            constant = positive.at_unbounded(below) + negative.at_unbounded(above)
        else:
            constant = positive.at(below) + negative.at(above)
        x = _mixed(positive, self.lower_x, negative, self.upper_x)
        y = _mixed(positive, self.lower_y, negative, self.upper_y)
        return Passed((x, y), constant)

    def size(self, *operands: Tensor) -> Tensor:
        """As Relaxation says."""
        return self._change(operands) + self._farthest()

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> PlaneRelaxation:
        """As Relaxation says."""
        width = image.upper - image.lower
        flat = _tells_nothing(self._change(drift), self._farthest(), width)
        slopes = (self.lower_x, self.lower_y, self.upper_x, self.upper_y)
        lower_x, lower_y, upper_x, upper_y = (s.masked_fill(flat, 0.0) for s in slopes)
        below = image.lower.where(flat, self.lower_intercept)
        above = image.upper.where(flat, self.upper_intercept)
        unbounded = not bool((above - below).isfinite().all())
        return PlaneRelaxation(lower_x, lower_y, below, upper_x, upper_y, above, unbounded)

    def _change(self, moved: tuple[Tensor, ...]) -> Tensor:
        """By how much either plane changes where operands move by this at most."""
        along_x = _product(self.lower_x.abs().maximum(self.upper_x.abs()), moved[0])
        return along_x + _product(self.lower_y.abs().maximum(self.upper_y.abs()), moved[1])

    def _farthest(self) -> Tensor:
        return self.lower_intercept.abs().maximum(self.upper_intercept.abs())


def by_sign(rows: Rows) -> tuple[Rows, Rows]:
    """The positive and the negative parts of all coefficients."""
    positive = rows.coefficients.clamp(min=0)
    return rows.having(positive), rows.having(rows.coefficients - positive)


def _mixed(positive: Rows, below: Tensor, negative: Rows, above: Tensor) -> Rows:
    """Positive coefficients times the slope below plus negative ones times the slope above."""
    part = positive.coefficients * positive.read(below)
    return negative.having(torch.addcmul(part, negative.coefficients, negative.read(above)))


def _product(slope: Tensor, size: Tensor) -> Tensor:
    """Slope times size; a slope of 0 makes nothing of an infinite size."""
    return (slope * size).masked_fill(slope == 0, 0.0)


def _tells_nothing(change: Tensor, intercept: Tensor, width: Tensor) -> Tensor:
    """Where lines are too steep, or not finite. A comparison with NaN fails, so this turns it."""
    return ~((change <= width) & intercept.isfinite())

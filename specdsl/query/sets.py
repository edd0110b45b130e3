"""Input sets: where the quantified variables range. Exact rationals, with float64 views outward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

ExactArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

Norm = Literal["l1", "l2", "linf"]


class EmptySet(ValueError):
    """A set without points (lower > upper somewhere, or a negative radius)."""


def exact(values: Sequence[object] | npt.NDArray[np.generic]) -> ExactArray:
    """A flat array of `Fraction`. Floats are taken at their exact binary value.

    Raises ValueError for NaN or infinite entries.
    """
    flat = np.asarray(values, dtype=object).reshape(-1)
    result = np.empty(flat.shape, dtype=object)
    for i, value in enumerate(flat):
        try:
            result[i] = value if isinstance(value, Fraction) else _fraction(value)
        except (OverflowError, ValueError) as error:
            raise ValueError(f"entry {i} is {value}, not a finite number") from error
    return result


def _fraction(value: Any) -> Fraction:
    # Long doubles are no floats to Python, and have more digits than those.
    long = isinstance(value, np.floating)
    return Fraction(*value.as_integer_ratio()) if long else Fraction(value)


def round_down(values: ExactArray) -> FloatArray:
    """The largest float64 at most each value."""
    nearest = [float(v) for v in values]
    above = [_difference(f, v) > 0 for f, v in zip(nearest, values, strict=True)]
    return np.where(above, np.nextafter(nearest, -np.inf), nearest)


def round_up(values: ExactArray) -> FloatArray:
    """The smallest float64 at least each value."""
    nearest = [float(v) for v in values]
    below = [_difference(f, v) < 0 for f, v in zip(nearest, values, strict=True)]
    return np.where(below, np.nextafter(nearest, np.inf), nearest)


def _difference(number: float, value: Fraction) -> int:
    """Of the sign of `number - value`; a query of many boxes asks this millions of times."""
    numerator, denominator = number.as_integer_ratio()
    return numerator * value.denominator - value.numerator * denominator


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """`lower <= x <= upper`, entry by entry, both ends included. Flat, in row-major order.

    Raises EmptySet where lower > upper.
    """

    lower: ExactArray
    upper: ExactArray

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape or self.lower.ndim != 1:
            raise ValueError("bounds of a box are flat and equally long")
        # A fixed entry often holds one object twice, and it is comparing Fractions that takes time.
        for entry, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if low is not high and low > high:
                raise EmptySet(f"lower > upper at entry {entry}")

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.lower.shape[0]

    @property
    def box(self) -> Box:
        """The smallest box around the set: itself."""
        return self

    @property
    def balls(self) -> tuple[Ball, ...]:
        """The balls that cut the set: none."""
        return ()

    def float_bounds(self) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) as float64, rounded outward: the float box contains the exact one."""
        return round_down(self.lower), round_up(self.upper)

    def __contains__(self, point: ExactArray) -> bool:
        """Whether an exact point lies in the box."""
        return bool((self.lower <= point).all() and (point <= self.upper).all())


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """`norm(scale * (x[positions] - center)) <= radius`, in l1 or l2; a linf ball is a `Box`.

    `positions` are entries of the flat input, each once; `center` and `scale` are as long, `scale`
    is positive and all ones where the norm is not weighted.
    Raises EmptySet for a negative radius.
    """

    positions: IndexArray
    center: ExactArray
    scale: ExactArray
    radius: Fraction
    norm: Norm

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise EmptySet(f"radius {self.radius} is negative")
        if self.norm == "linf":
            raise ValueError("a linf ball is a Box")
        if bool((self.scale <= 0).any()):
            raise ValueError("the weights of a norm are positive")

    def hull(self) -> tuple[ExactArray, ExactArray]:
        """(lower, upper): the smallest box around the ball, over `positions`."""
        reach = self.radius / self.scale
        return self.center - reach, self.center + reach

    def __contains__(self, point: ExactArray) -> bool:
        """Whether an exact point of the whole input lies in the ball, decided in rationals."""
        offset = self.scale * (point[self.positions] - self.center)
        if self.norm == "l1":
            return bool(np.abs(offset).sum() <= self.radius)
        return bool((offset * offset).sum() <= self.radius**2)

    def key(self) -> object:
        """Equal for equal balls."""
        places = self.positions.tobytes()
        return (places, tuple(self.center), tuple(self.scale), self.radius, self.norm)


@dataclass(frozen=True, slots=True, eq=False)
class CutBox:
    """`x` in `box` and in every one of `balls` (at least one). Made by `cut`.

    `box` is already cut to the hulls of the balls. Balls may share entries.
    """

    box: Box
    balls: tuple[Ball, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.box.size

    def __contains__(self, point: ExactArray) -> bool:
        """Whether an exact point lies in the box and in all balls."""
        return point in self.box and all(point in ball for ball in self.balls)


InputSet = Box | CutBox


def cut(box: Box, balls: Sequence[Ball]) -> InputSet:
    """The part of the box inside all balls; the box itself without balls.

    Raises EmptySet where nothing is left of the hull.
    """
    if not balls:
        return box
    lower, upper = box.lower.copy(), box.upper.copy()
    for ball in balls:
        low, high = ball.hull()
        lower[ball.positions] = np.maximum(lower[ball.positions], low)
        upper[ball.positions] = np.minimum(upper[ball.positions], high)
    return CutBox(Box(lower, upper), tuple(balls))


def norm_ball(
    center: ExactArray, radius: Fraction, norm: Norm, clip: Box | None = None
) -> InputSet:
    """The ball around a whole input, intersected with `clip`. A linf ball comes back as a Box.

    Raises EmptySet where nothing is left of the hull.
    """
    if radius < 0:
        raise EmptySet(f"radius {radius} is negative")
    lower, upper = center - radius, center + radius
    if clip is not None:
        lower, upper = np.maximum(lower, clip.lower), np.minimum(upper, clip.upper)
    hull = Box(lower, upper)
    if norm == "linf":
        return hull
    positions = np.arange(center.size, dtype=np.int64)
    ones = exact([1] * center.size)
    return cut(hull, [Ball(positions, center, ones, radius, norm)])

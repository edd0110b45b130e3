"""Input sets: where the quantified variables range. Exact rationals, with float64 views outward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

ExactArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]

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
            result[i] = value if isinstance(value, Fraction) else Fraction(value)
        except (OverflowError, ValueError) as error:
            raise ValueError(f"entry {i} is {value}, not a finite number") from error
    return result


def round_down(values: ExactArray) -> FloatArray:
    """The largest float64 at most each value."""
    nearest = np.array([float(v) for v in values], dtype=np.float64)
    above = np.array([Fraction(f) > v for f, v in zip(nearest.tolist(), values, strict=True)], bool)
    return np.where(above, np.nextafter(nearest, -np.inf), nearest)


def round_up(values: ExactArray) -> FloatArray:
    """The smallest float64 at least each value."""
    return -round_down(-values)


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
        if bool((self.lower > self.upper).any()):
            raise EmptySet(f"lower > upper at entry {int(np.argmax(self.lower > self.upper))}")

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.lower.shape[0]

    @property
    def box(self) -> Box:
        """The smallest box around the set: itself."""
        return self

    def float_bounds(self) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) as float64, rounded outward: the float box contains the exact one."""
        return round_down(self.lower), round_up(self.upper)

    def __contains__(self, point: ExactArray) -> bool:
        """Whether an exact point lies in the box."""
        return bool((self.lower <= point).all() and (point <= self.upper).all())


@dataclass(frozen=True, slots=True, eq=False)
class NormBall:
    """`norm(x - center) <= radius` and `x` in `clip`. l1 or l2; a linf ball is a `Box`.

    `clip` is the box the ball is intersected with, already cut to the ball's own hull.
    Raises EmptySet for a negative radius.
    """

    center: ExactArray
    radius: Fraction
    norm: Norm
    clip: Box

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise EmptySet(f"radius {self.radius} is negative")
        if self.norm == "linf":
            raise ValueError("a linf ball is a Box")

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.center.shape[0]

    @property
    def box(self) -> Box:
        """A box around the set."""
        return self.clip

    def __contains__(self, point: ExactArray) -> bool:
        """Whether an exact point lies in the ball and in the clip box, decided in rationals."""
        if point not in self.clip:
            return False
        offset = point - self.center
        if self.norm == "l1":
            return bool(np.abs(offset).sum() <= self.radius)
        return bool((offset * offset).sum() <= self.radius**2)


InputSet = Box | NormBall


def norm_ball(
    center: ExactArray, radius: Fraction, norm: Norm, clip: Box | None = None
) -> InputSet:
    """The ball, intersected with `clip`. A linf ball comes back as a Box.

    Raises EmptySet where nothing is left of the hull.
    """
    if radius < 0:
        raise EmptySet(f"radius {radius} is negative")
    lower, upper = center - radius, center + radius
    if clip is not None:
        lower, upper = np.maximum(lower, clip.lower), np.minimum(upper, clip.upper)
    hull = Box(lower, upper)
    return hull if norm == "linf" else NormBall(center, radius, norm, hull)

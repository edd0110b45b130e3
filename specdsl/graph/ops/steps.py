"""Elementwise functions that are constant but for jumps.

A method must take both sides of a jump into account wherever rounding may have decided on which
side an argument lies.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, trunc

import numpy as np
import numpy.typing as npt

from specdsl.graph.ops.base import Op, Shape

FloatArray = npt.NDArray[np.floating]


class Step(Op):
    """Elementwise and piecewise constant, with jumps."""

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        return operands[0]

    @abstractmethod
    def value(self, x: FloatArray) -> FloatArray:
        """f(x), in the element type of x."""

    @abstractmethod
    def exact(self, x: Fraction) -> Fraction:
        """f(x) of an exact number."""


class Threshold(Step):
    """Three values: `below` 0, at 0 (`at`), and `above` 0."""

    below: float
    at: float
    above: float

    def value(self, x: FloatArray) -> FloatArray:
        """By the sign of x."""
        high = np.where(x > 0, self.above, self.at)
        return np.where(x < 0, self.below, high).astype(x.dtype)

    def exact(self, x: Fraction) -> Fraction:
        """By the sign of x."""
        return Fraction(self.above if x > 0 else self.below if x < 0 else self.at)


@dataclass(frozen=True, slots=True, eq=False)
class Sign(Threshold):
    """-1, 0 or 1."""

    below: float = -1.0
    at: float = 0.0
    above: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Positive(Threshold):
    """1 where x > 0, else 0."""

    below: float = 0.0
    at: float = 0.0
    above: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class NotNegative(Threshold):
    """1 where x >= 0, else 0."""

    below: float = 0.0
    at: float = 1.0
    above: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class IsZero(Threshold):
    """1 where x = 0, else 0."""

    below: float = 0.0
    at: float = 1.0
    above: float = 0.0


class Rounding(Step):
    """To a whole number beside x: rising, and constant between neighbouring jumps.

    `jump` is one place where it jumps; it jumps at every whole distance from there (`Truncate`:
    but at 0).
    """

    jump: float


@dataclass(frozen=True, slots=True, eq=False)
class Floor(Rounding):
    """The largest whole number that is not larger."""

    jump: float = 0.0

    def value(self, x: FloatArray) -> FloatArray:
        """floor(x)."""
        return np.floor(x)

    def exact(self, x: Fraction) -> Fraction:
        """floor(x)."""
        return Fraction(floor(x))


@dataclass(frozen=True, slots=True, eq=False)
class Ceil(Rounding):
    """The least whole number that is not smaller."""

    jump: float = 0.0

    def value(self, x: FloatArray) -> FloatArray:
        """ceil(x)."""
        return np.ceil(x)

    def exact(self, x: Fraction) -> Fraction:
        """ceil(x)."""
        return Fraction(ceil(x))


@dataclass(frozen=True, slots=True, eq=False)
class Round(Rounding):
    """The nearest whole number, of two the even one."""

    jump: float = 0.5

    def value(self, x: FloatArray) -> FloatArray:
        """rint(x)."""
        return np.rint(x)

    def exact(self, x: Fraction) -> Fraction:
        """Half to even, as Python does."""
        return Fraction(round(x))


@dataclass(frozen=True, slots=True, eq=False)
class Truncate(Rounding):
    """The nearest whole number on the way to 0."""

    jump: float = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """trunc(x)."""
        return np.trunc(x)

    def exact(self, x: Fraction) -> Fraction:
        """trunc(x)."""
        return Fraction(trunc(x))

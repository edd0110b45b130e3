"""What every op has: operands, a shape, parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[np.generic]


def as_float(parameter: Array) -> npt.NDArray[np.float64]:
    """A parameter as float64: exact for float arrays, nearest for arrays of `Fraction`."""
    return np.asarray(parameter, dtype=np.float64)


def broadcasts(shape: Shape, target: Shape) -> bool:
    """Whether a value of `shape` broadcasts to `target`, and not beyond."""
    padded = (1,) * (len(target) - len(shape)) + shape
    return len(padded) == len(target) and all(
        n in {1, m} for n, m in zip(padded, target, strict=True)
    )


class ShapeMismatch(ValueError):
    """Operands whose shapes an op cannot take; the message names both."""


class Op(ABC):
    """What a node computes from its operands."""

    arity: ClassVar[int | None] = 1
    """Number of operands; None where it varies."""

    @abstractmethod
    def shape(self, *operands: Shape) -> Shape:
        """Shape of the result. Raises ShapeMismatch where the operands do not fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Input(Op):
    """A value from outside."""

    arity: ClassVar[int | None] = 0
    extent: Shape

    def shape(self, *operands: Shape) -> Shape:
        """The declared shape."""
        return self.extent


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Op):
    """A fixed tensor that could not be folded into its reader."""

    arity: ClassVar[int | None] = 0
    value: Array

    def shape(self, *operands: Shape) -> Shape:
        """The tensor's shape."""
        return self.value.shape

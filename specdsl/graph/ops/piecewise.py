"""Elementwise functions of finitely many linear pieces."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from specdsl.graph.ops.base import Op, Shape


class PiecewiseLinear(Op):
    """Elementwise and continuous.

    `slopes[i]` holds left of `breakpoints[i]`, `slopes[-1]` right of the last; `anchor` is the
    value at `breakpoints[0]`. Breakpoints rise strictly.
    """

    @property
    @abstractmethod
    def breakpoints(self) -> tuple[float, ...]:
        """Where the slope changes, rising."""

    @property
    @abstractmethod
    def slopes(self) -> tuple[float, ...]:
        """One more than breakpoints, from left to right."""

    @property
    @abstractmethod
    def anchor(self) -> float:
        """The value at the first breakpoint."""

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        return operands[0]


@dataclass(frozen=True, slots=True, eq=False)
class LeakyRelu(PiecewiseLinear):
    """x for x >= 0, else `slope * x`."""

    slope: float

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """(0,)."""
        return (0.0,)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(slope, 1)."""
        return (self.slope, 1.0)

    @property
    def anchor(self) -> float:
        """0."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Relu(LeakyRelu):
    """max(x, 0)."""

    slope: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Abs(PiecewiseLinear):
    """|x|."""

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """(0,)."""
        return (0.0,)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(-1, 1)."""
        return (-1.0, 1.0)

    @property
    def anchor(self) -> float:
        """0."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip(PiecewiseLinear):
    """min(max(x, minimum), maximum), with minimum < maximum."""

    minimum: float
    maximum: float

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Both ends."""
        return (self.minimum, self.maximum)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(0, 1, 0)."""
        return (0.0, 1.0, 0.0)

    @property
    def anchor(self) -> float:
        """The value at `minimum`."""
        return self.minimum

"""Products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specdsl.graph.ops.base import Op, Shape, ShapeMismatch


class Polynomial(Op):
    """Elementwise products of operands of one shape: linear in each, not in all together."""

    def shape(self, *operands: Shape) -> Shape:
        """The common shape."""
        if len(set(operands)) != 1:
            raise ShapeMismatch(f"a product takes operands of one shape, not {operands}")
        return operands[0]


@dataclass(frozen=True, slots=True, eq=False)
class Multiply(Polynomial):
    """x * y, entry by entry."""

    arity: ClassVar[int | None] = 2


@dataclass(frozen=True, slots=True, eq=False)
class Square(Polynomial):
    """x * x, entry by entry; known to be convex and not negative."""

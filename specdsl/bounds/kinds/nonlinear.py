"""What bound propagation knows of a nonlinear op: one rule object for each kind.

A kind plugs in here and nowhere else: a subclass of `NonlinearRule` and its registration with
`nonlinear_rule`. The mathematics lies in a module for each kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import singledispatch
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import elementary, maximum, piecewise, polynomial, smooth, steps
from specdsl.bounds.kinds.choice import Choice, around
from specdsl.bounds.kinds.relaxation import LinearRelaxation, PlaneRelaxation, Relaxation
from specdsl.graph import ops

# What is computed from numbers of some size adds up at most so many terms of that size:
# the error of a product is that of one factor times the other, twice, and a plane's own products;
PRODUCT_TERMS = 3.0
# both errors multiplied count as well: each is so many units of rounding of its size at most
# (`bounds.rounding.ROUNDINGS`, in any dtype);
LARGEST_ERROR = 1e3
# a line along a smooth function its slope times the argument, and an intercept as large and more;
SMOOTH_TERMS = 3.0
# a plane above a maximum members with weights that add up to 1, and an intercept.
MAXIMUM_TERMS = 3.0
# An operand's error counts twice: it passes through the line, and the operand may lie so far
# outside of the interval that the line was made for.
OUTSIDE = 2.0


class NonlinearRule(ABC):
    """How one nonlinear op is evaluated, bounded and relaxed.

    Values are stacked on axis 0: points (n, *shape), intervals and relaxations (batch, *shape).
    """

    is_delicate: bool = False
    """Whether the op may magnify rounding without limit (an infinite slope, a jump): its graph is
    bounded with rounding outward at every node.
    """

    rounds_image: bool = True
    """Whether ends of `image` are off by a unit in the last place or a few."""

    @abstractmethod
    def evaluate(self, operands: list[Tensor]) -> Tensor:
        """Values, differentiable."""

    @abstractmethod
    def image(self, operands: list[Interval]) -> Interval:
        """The range over intervals."""

    @abstractmethod
    def relax(self, operands: list[Interval]) -> Relaxation:
        """Linear functions below and above on intervals."""

    @abstractmethod
    def unstable(self, operand: Interval) -> Tensor:
        """Which entries of an operand a tighter bound could matter for: (batch, *operand)."""

    @abstractmethod
    def size(self, sizes: list[Tensor]) -> Tensor:
        """Magnitudes that the result is computed from, given those of the operands; an error of an
        operand, in units of its size, is no larger in units of this one.
        """

    def error(self, sizes: list[Tensor], values: list[Tensor]) -> Tensor:
        """The same where the operands' values, `values` at most, may be smaller than what they are
        computed from, `sizes`.
        """
        return self.size(sizes)

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice | None:
        """What may stand for `relaxation`, which is what `relax` gave or a part of it made flat.

        None where there is nothing to choose.
        """
        return None

    def require_domain(self, operands: list[Interval]) -> None:  # noqa: B027 - most need nothing
        """Raise Unsupported where the op may have no value."""


@singledispatch
def nonlinear_rule(op: ops.Op) -> NonlinearRule:
    """The rule of a nonlinear op. Raises Unsupported where its kind has none."""
    raise Unsupported("bound propagation", f"the op {type(op).__name__}")


@dataclass(frozen=True, slots=True, eq=False)
class PiecewiseLinearRule(NonlinearRule):
    """Finitely many linear pieces."""

    op: ops.PiecewiseLinear

    def evaluate(self, operands: list[Tensor]) -> Tensor:
        return piecewise.evaluate(self.op, operands[0])

    def image(self, operands: list[Interval]) -> Interval:
        return piecewise.image(self.op, operands[0])

    def relax(self, operands: list[Interval]) -> LinearRelaxation:
        return piecewise.relax(self.op, operands[0])

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice:
        assert isinstance(relaxation, LinearRelaxation)
        return piecewise.choice(self.op, operands[0], relaxation)

    def unstable(self, operand: Interval) -> Tensor:
        return ~piecewise.is_stable(self.op, operand)

    def size(self, sizes: list[Tensor]) -> Tensor:
        steepest = max(1.0, *(abs(s) for s in self.op.slopes))
        corners = max(abs(self.op.anchor), *(abs(p) for p in self.op.breakpoints))
        return steepest * (sizes[0] + corners)


nonlinear_rule.register(ops.PiecewiseLinear, PiecewiseLinearRule)


@dataclass(frozen=True, slots=True, eq=False)
class PolynomialRule(NonlinearRule):
    """Products and squares."""

    op: ops.Polynomial

    def evaluate(self, operands: list[Tensor]) -> Tensor:
        return polynomial.evaluate(self.op, operands)

    def image(self, operands: list[Interval]) -> Interval:
        return polynomial.image(self.op, operands)

    def relax(self, operands: list[Interval]) -> LinearRelaxation | PlaneRelaxation:
        if isinstance(self.op, ops.Square):
            return polynomial.relax_square(operands[0])
        return polynomial.relax_product(operands[0], operands[1])

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice:
        if isinstance(self.op, ops.Square):
            return around(relaxation, polynomial.square_tangents(operands[0]))
        return polynomial.product_choice(operands[0], operands[1])

    def unstable(self, operand: Interval) -> Tensor:
        return operand.lower < operand.upper

    def size(self, sizes: list[Tensor]) -> Tensor:
        return PRODUCT_TERMS * sizes[0] * sizes[-1]

    def error(self, sizes: list[Tensor], values: list[Tensor]) -> Tensor:
        crossed = values[0] * sizes[-1] + sizes[0] * values[-1]
        both = LARGEST_ERROR * torch.finfo(crossed.dtype).eps * sizes[0] * sizes[-1]
        return PRODUCT_TERMS * (crossed + both)


nonlinear_rule.register(ops.Polynomial, PolynomialRule)


@dataclass(frozen=True, slots=True, eq=False)
class SmoothRule(NonlinearRule):
    """Convex and concave pieces."""

    op: ops.Smooth
    form: elementary.Formula
    rounds_image = False

    @property
    def is_delicate(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where no slope bounds all others."""
        return not isfinite(self.op.steepest)

    def evaluate(self, operands: list[Tensor]) -> Tensor:
        return self.form.value(operands[0])

    def image(self, operands: list[Interval]) -> Interval:
        return smooth.image(self.op, operands[0])

    def relax(self, operands: list[Interval]) -> LinearRelaxation:
        return smooth.relax(self.op, operands[0])

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice:
        return around(relaxation, smooth.lines_along(self.op, operands[0]))

    def unstable(self, operand: Interval) -> Tensor:
        return ~smooth.is_straight(self.op, operand)

    def size(self, sizes: list[Tensor]) -> Tensor:
        at_zero = abs(float(self.op.value(np.zeros(1))[0]))
        return SMOOTH_TERMS * max(1.0, self.op.steepest) * (sizes[0] + at_zero)

    def error(self, sizes: list[Tensor], values: list[Tensor]) -> Tensor:
        at_zero = abs(float(self.op.value(np.zeros(1))[0]))
        reached = values[0] + LARGEST_ERROR * torch.finfo(sizes[0].dtype).eps * sizes[0]
        own = SMOOTH_TERMS * (OUTSIDE * self.op.steepest * reached + at_zero)
        return torch.fmin(self.size(sizes), OUTSIDE * self.op.steepest * sizes[0] + own)

    def require_domain(self, operands: list[Interval]) -> None:
        smooth.require_inside(self.op, operands[0])


@nonlinear_rule.register
def _(op: ops.Smooth) -> NonlinearRule:
    return SmoothRule(op, elementary.formula(op))


@dataclass(frozen=True, slots=True, eq=False)
class StepRule(NonlinearRule):
    """Jumps. Intervals come here rounded outward, so nothing is left for rounding to hide."""

    op: ops.Step
    is_delicate = True
    rounds_image = False

    def evaluate(self, operands: list[Tensor]) -> Tensor:
        return steps.evaluate(self.op, operands[0])

    def image(self, operands: list[Interval]) -> Interval:
        return steps.image(self.op, operands[0])

    def relax(self, operands: list[Interval]) -> LinearRelaxation:
        return steps.relax(self.op, operands[0])

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice:
        return around(relaxation, steps.lines_at_ends(self.op, operands[0]))

    def unstable(self, operand: Interval) -> Tensor:
        return ~steps.is_stable(self.op, operand)

    def size(self, sizes: list[Tensor]) -> Tensor:
        raise AssertionError("a step magnifies rounding without limit")


nonlinear_rule.register(ops.Step, StepRule)


@dataclass(frozen=True, slots=True, eq=False)
class GroupMaxRule(NonlinearRule):
    """Largest entries."""

    op: ops.GroupMax
    rounds_image = False

    def evaluate(self, operands: list[Tensor]) -> Tensor:
        return maximum.evaluate(self.op, operands[0])

    def image(self, operands: list[Interval]) -> Interval:
        return maximum.image(self.op, operands[0])

    def relax(self, operands: list[Interval]) -> maximum.GroupRelaxation:
        return maximum.relax(self.op, operands[0])

    def choice(self, operands: list[Interval], relaxation: Relaxation) -> Choice:
        assert isinstance(relaxation, maximum.GroupRelaxation)
        members = maximum.members_after(self.op, operands[0], relaxation.below)
        return around(relaxation, [replace(relaxation, below=below) for below in members])

    def unstable(self, operand: Interval) -> Tensor:
        return maximum.contested(self.op, operand)

    def size(self, sizes: list[Tensor]) -> Tensor:
        return MAXIMUM_TERMS * self.evaluate(sizes)


nonlinear_rule.register(ops.GroupMax, GroupMaxRule)

"""Sets while a property is elaborated: regions a variable ranges over, and finite sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.language.spec import ExactArray, Space
from specdsl.query.elaboration.environment import Local
from specdsl.query.elaboration.formula import Formula, below, conjunction
from specdsl.query.elaboration.symbolic import Tensor
from specdsl.query.sets import Box, EmptySet, InputSet, Norm, NormBall, norm_ball

BoundArray = npt.NDArray[np.object_]
"""Flat: `Fraction`s, and None where there is no bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """`norm(x - center) <= radius` in l1 or l2. center: flat."""

    center: ExactArray
    radius: Fraction
    norm: Norm


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A set of tensors: a box, possibly open on some sides, and at most one ball.

    `shape` is None where the set takes any shape; its bounds then have one entry each.
    """

    shape: tuple[int, ...] | None
    space: Space | None
    lower: BoundArray
    upper: BoundArray
    ball: Ball | None = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape or ())

    def shaped(self, shape: tuple[int, ...], space: Space | None = None) -> Region:
        """A region of any shape with this one; the same region where it has its own."""
        if self.shape is not None:
            return self
        size = prod(shape)
        return Region(shape, space, np.repeat(self.lower, size), np.repeat(self.upper, size))

    def inputs(self, lower: BoundArray, upper: BoundArray) -> InputSet | None:
        """The exact input set within tighter bounds; None where it is empty.

        Raises Unbounded where a side has no bound.
        """
        for side in (lower, upper):
            for position, value in enumerate(side):
                if value is None and self.ball is None:
                    raise Unbounded(position)
        try:
            if self.ball is None:
                return Box(lower, upper)
            radius, center = self.ball.radius, self.ball.center
            low = _or(lower, center - radius)
            high = _or(upper, center + radius)
            found = norm_ball(center, radius, self.ball.norm, Box(low, high))
        except EmptySet:
            return None
        return None if isinstance(found, NormBall) and _misses(found) else found


class Unbounded(ValueError):
    """Entry `position` of a region has no bound."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(f"entry {position} is unbounded")


@dataclass(frozen=True, slots=True, eq=False)
class FiniteSet:
    """Members one by one, each with what stands for it in an id (`7` in `robust[7]`)."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A value that a variable takes, and its text in ids."""

    value: Local
    text: str


def _or(values: BoundArray, others: ExactArray) -> ExactArray:
    return np.array([o if v is None else v for v, o in zip(values, others, strict=True)], object)


def _misses(ball: NormBall) -> bool:
    """Whether even the point of the clip box nearest to the center lies outside the ball.

    The nearest point in a box is the center clipped to it, in l1 and in l2.
    """
    nearest = np.minimum(np.maximum(ball.center, ball.clip.lower), ball.clip.upper)
    return nearest not in ball


# --- making regions ------------------------------------------------------------------------------


def of_space(space: Space) -> Region:
    """All values of a space within its bounds. Raises SpecError E0901 for int and category."""
    lower: list[Fraction | None] = []
    upper: list[Fraction | None] = []
    for field in space.fields:
        if field.kind != "real":
            text = f"variables over `{space.name}` are not supported yet: `{field.name}` is no real"
            raise SpecError.of("E0901", text)
        count = prod(field.type.shape)
        lower += [field.lower] * count
        upper += [field.upper] * count
    return Region(space_shape(space), space, _array(lower), _array(upper))


def space_shape(space: Space) -> tuple[int, ...]:
    """The shape of a value: that of the only field, or one vector of all of them."""
    if len(space.fields) == 1:
        return space.fields[0].type.shape
    return (space.type.size,)


def box(lower: Tensor, upper: Tensor) -> Region:
    """`box(lower, upper)`; two scalars take any shape."""
    low, high = (_constant(corner) for corner in (lower, upper))
    shape = np.broadcast_shapes(low.shape, high.shape)
    low, high = (np.broadcast_to(side, shape).reshape(-1) for side in (low, high))
    return Region(shape or None, None, low, high)


def interval(lower: Tensor, upper: Tensor) -> Region:
    """`[a, b]`: one number."""
    low, high = (_constant(end).reshape(-1) for end in (lower, upper))
    return Region((), None, low, high)


def ball(center: Tensor, radius: Tensor, norm: str) -> Region:
    """`norm_ball(center, radius, norm)`; a linf ball is a box. Raises SpecError E0403, E0901."""
    middle, size = _constant(center), _constant(radius).reshape(-1)
    reach = Fraction(size[0])
    if reach < 0:
        raise SpecError.of("E0751", f"the ball is empty: its radius is {reach}")
    flat = middle.reshape(-1)
    shape, space = middle.shape, center.space
    if norm == "linf":
        return Region(shape, space, flat - reach, flat + reach)
    if norm not in ("l1", "l2"):
        raise SpecError.of("E0752", f"`{norm}` is not a norm", help="norms are l1, l2 and linf")
    nothing = _array([None] * flat.size)
    return Region(shape, space, nothing, nothing, Ball(flat, reach, norm))


def intersect(first: Region, second: Region) -> Region:
    """`A & B`. Raises SpecError E0901 for two balls, E0752 for different sizes."""
    if first.shape is None:
        first, second = second, first
    if first.shape is not None:
        second = second.shaped(first.shape)
        if second.size != first.size:
            text = f"sets of shapes {list(first.shape)} and {list(second.shape or ())} do not meet"
            raise SpecError.of("E0752", text)
    if first.ball is not None and second.ball is not None:
        raise SpecError.of("E0901", "intersections of two balls are not supported yet")
    return replace(
        first,
        space=first.space or second.space,
        lower=_tighter(first.lower, second.lower, largest=True),
        upper=_tighter(first.upper, second.upper, largest=False),
        ball=first.ball or second.ball,
    )


def _tighter(first: BoundArray, second: BoundArray, *, largest: bool) -> BoundArray:
    choose = max if largest else min
    known = ([v for v in pair if v is not None] for pair in zip(first, second, strict=True))
    return _array([choose(values) if values else None for values in known])


def contains(region: Region, element: Tensor) -> Formula:
    """`element in region`. Raises SpecError E0901 for balls that are no boxes, E0752 for sizes."""
    if region.ball is not None:
        raise SpecError.of("E0901", f"membership in {region.ball.norm} balls is not supported yet")
    region = region.shaped(element.values.shape)
    if region.size != element.values.size:
        text = f"{element.values.size} entries cannot lie in a set over {region.size}"
        raise SpecError.of("E0752", text)
    parts: list[Formula] = []
    for value, lower, upper in zip(element.flat, region.lower, region.upper, strict=True):
        if lower is not None:
            parts.append(below(lower - value, strict=False))
        if upper is not None:
            parts.append(below(value - upper, strict=False))
    return conjunction(parts)


def _constant(tensor: Tensor) -> ExactArray:
    values = tensor.constant
    if values is None:
        text = "sets that depend on quantified variables are not supported yet"
        raise SpecError.of("E0901", text)
    return values


def _array(values: Sequence[Fraction | None]) -> BoundArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result

"""Sets while a property is elaborated: regions a variable ranges over, and finite sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.language.spec import ExactArray, Space
from specdsl.query.elaboration.values.environment import Local
from specdsl.query.elaboration.values.formula import Formula, compare
from specdsl.query.elaboration.values.networks import space_shape
from specdsl.query.elaboration.values.symbolic import EntryArray, Linear, Root, Tensor
from specdsl.query.query import Nonlinear
from specdsl.query.sets import Norm

BoundArray = npt.NDArray[np.object_]
"""Flat: `Fraction`s, `Linear`s where a bound depends on other variables, None where none is."""

IndexArray = npt.NDArray[np.int64]


class Norms(Protocol):
    """What computes norms of expressions: a scene."""

    def norm1(self, values: EntryArray) -> Fraction | Linear:
        """Sum of absolute values."""
        ...

    def norm2(self, values: EntryArray, place: Nonlinear) -> Root:
        """Euclidean length."""
        ...


Condition = Callable[[Tensor], Formula]
"""What the elements of a set satisfy beside bounds and balls."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionBall:
    """`norm(scale * (x[positions] - center)) <= radius` in l1 or l2; `positions` of the flat x."""

    positions: IndexArray
    center: EntryArray
    scale: ExactArray
    radius: Fraction
    norm: Norm

    @property
    def fixed(self) -> bool:
        """Whether the center depends on no variable."""
        return not any(isinstance(c, Linear) for c in self.center)

    def holds(self, point: ExactArray) -> bool:
        """Whether a flat point of the region lies in the ball, which is fixed."""
        offset = self.scale * (point[self.positions] - self.center)
        if self.norm == "l1":
            return bool(np.abs(offset).sum() <= self.radius)
        return bool((offset * offset).sum() <= self.radius**2)


@dataclass(frozen=True, slots=True, eq=False)
class Center:
    """A flat point that a set lies around. `meant`: whether it was written so; the middle of a box
    is the center of a perturbation in some boxes, and any point in others.
    """

    point: EntryArray
    meant: bool


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A set of tensors: a box, possibly open on some sides, cut by balls and conditions.

    `shape` is None where the set takes any shape; its bounds then have one entry each. `whole`:
    flat positions that hold whole numbers. `centers`: what it may be a perturbation of.
    """

    shape: tuple[int, ...] | None
    space: Space | None
    lower: BoundArray
    upper: BoundArray
    balls: tuple[RegionBall, ...] = ()
    whole: IndexArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    conditions: tuple[Condition, ...] = ()
    centers: tuple[Center, ...] = ()

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape or ())

    def shaped(self, shape: tuple[int, ...], space: Space | None = None) -> Region:
        """A region of any shape with this one; the same region where it has its own."""
        if self.shape is not None:
            return self
        size = prod(shape)
        lower, upper = np.repeat(self.lower, size), np.repeat(self.upper, size)
        centers = tuple(Center(np.repeat(c.point, size), c.meant) for c in self.centers)
        return replace(self, shape=shape, space=space, lower=lower, upper=upper, centers=centers)

    @property
    def fixed(self) -> bool:
        """Whether no bound and no center depends on a variable."""
        bounds = (*self.lower, *self.upper)
        return not any(isinstance(b, Linear) for b in bounds) and all(b.fixed for b in self.balls)


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


# --- making regions ------------------------------------------------------------------------------


def of_space(space: Space) -> Region:
    """All values of a space within its bounds."""
    lower: list[Fraction | None] = []
    upper: list[Fraction | None] = []
    whole: list[int] = []
    conditions: list[Condition] = []
    for spot in space.fields:
        start, width = len(lower), spot.width
        if spot.kind != "real":
            whole += range(start, start + width)
        if spot.encode == "one_hot":
            lower += [Fraction(0)] * width
            upper += [Fraction(1)] * width
            conditions.append(_one_of_them(slice(start, start + width)))
        else:
            lower += [spot.lower] * width
            upper += [spot.upper] * width
    return Region(
        space_shape(space),
        space,
        _array(lower),
        _array(upper),
        whole=np.array(whole, dtype=np.int64),
        conditions=tuple(conditions),
    )


def _one_of_them(part: slice) -> Condition:
    def condition(element: Tensor) -> Formula:
        total: Fraction | Linear = Fraction(0)
        for entry in element.flat[part]:
            total = total + entry
        return compare("==", total, Fraction(1))

    return condition


def box(lower: Tensor, upper: Tensor, shape: tuple[int, ...] | None = None) -> Region:
    """`box(lower, upper)`; two scalars take any shape, or the one given."""
    low, high = lower.values, upper.values
    found = np.broadcast_shapes(low.shape, high.shape) or shape
    low, high = (
        np.broadcast_to(side, found or ()).reshape(-1).copy() if found else side.reshape(-1)
        for side in (low, high)
    )
    middle = Center((low + high) / Fraction(2), meant=False)
    return Region(found or None, None, low, high, centers=(middle,))


def interval(lower: Tensor, upper: Tensor) -> Region:
    """`[a, b]`: one number."""
    low, high = (end.values.reshape(-1) for end in (lower, upper))
    middle = Center((low + high) / Fraction(2), meant=False)
    return Region((), None, low, high, centers=(middle,))


@dataclass(frozen=True, slots=True, eq=False)
class BallShape:
    """Which norm, weights of all entries, and the entries that may differ from the center."""

    norm: str
    scale: ExactArray | None = None
    only: IndexArray | None = None


def ball(center: Tensor, radius: Fraction, how: BallShape) -> Region:
    """`norm_ball(center, radius, norm)`; a linf ball is a box; entries outside `only` are fixed.

    Raises SpecError E0751 for a negative radius, E0752 for no norm.
    """
    if radius < 0:
        raise SpecError.of("E0751", f"the ball is empty: its radius is {radius}")
    if how.norm not in ("l1", "l2", "linf"):
        help_ = "norms are l1, l2 and linf"
        raise SpecError.of("E0752", f"`{how.norm}` is not a norm", help=help_)
    flat = center.flat
    only = np.arange(flat.size, dtype=np.int64) if how.only is None else how.only
    scale = _array([Fraction(1)] * flat.size) if how.scale is None else how.scale.reshape(-1)
    shape, space, around = center.values.shape, center.space, (Center(flat, meant=True),)
    lower, upper = flat.copy(), flat.copy()
    if how.norm == "linf":
        lower[only] = flat[only] - radius / scale[only]
        upper[only] = flat[only] + radius / scale[only]
        whole = whole_places(space)
        return Region(shape, space, lower, upper, whole=whole, centers=around)
    lower[only], upper[only] = None, None
    norm: Norm = "l1" if how.norm == "l1" else "l2"
    cutting = RegionBall(only, flat[only], scale[only], radius, norm)
    return Region(shape, space, lower, upper, (cutting,), whole_places(space), centers=around)


def whole_places(space: Space | None) -> IndexArray:
    """The packed entries of a space that hold whole numbers."""
    return of_space(space).whole if space is not None else np.zeros(0, dtype=np.int64)


def intersect(first: Region, second: Region) -> Region:
    """`A & B`. Raises SpecError E0752 for different sizes."""
    if first.shape is None:
        first, second = second, first
    if first.shape is not None:
        second = second.shaped(first.shape)
        if second.size != first.size:
            text = f"sets of shapes {list(first.shape)} and {list(second.shape or ())} do not meet"
            raise SpecError.of("E0752", text)
    conditions = list(first.conditions) + list(second.conditions)
    lower = _tighter(first.lower, second.lower, ">=", conditions)
    upper = _tighter(first.upper, second.upper, "<=", conditions)
    return replace(
        first,
        space=first.space or second.space,
        lower=lower,
        upper=upper,
        balls=first.balls + second.balls,
        whole=np.union1d(first.whole, second.whole).astype(np.int64),
        conditions=tuple(conditions),
        centers=first.centers + second.centers,
    )


def _tighter(
    first: BoundArray, second: BoundArray, operator: str, conditions: list[Condition]
) -> BoundArray:
    """The tighter bound of each entry; of two that vary, one is kept and one is a condition."""
    found: list[Fraction | Linear | None] = []
    for position, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is None or b is None:
            found.append(b if a is None else a)
        elif isinstance(a, Linear) or isinstance(b, Linear):
            kept, other = (a, b) if isinstance(b, Linear) else (b, a)
            found.append(kept)
            conditions.append(_beside(position, operator, other))
        else:
            found.append(max(a, b) if operator == ">=" else min(a, b))
    return _array(found)


def _beside(position: int, operator: str, bound: Fraction | Linear) -> Condition:
    return lambda element: compare(operator, element.flat[position], bound)


def with_condition(region: Region, condition: Condition) -> Region:
    """`{ x in R where condition }`."""
    return replace(region, conditions=(*region.conditions, condition))


def _array(values: Sequence[Fraction | Linear | None]) -> BoundArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result

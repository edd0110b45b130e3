"""What it takes to lie in a region, as formulas."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Protocol

from specdsl.diagnostics import SpecError
from specdsl.query.elaboration.values.formula import (
    Formula,
    Stated,
    below,
    compare,
    conjunction,
    disjunction,
    truth,
)
from specdsl.query.elaboration.values.regions import Norms, Region, RegionBall
from specdsl.query.elaboration.values.symbolic import Linear, Tensor
from specdsl.query.query import Nonlinear


class Surroundings(Norms, Protocol):
    """A scene, which computes norms and knows what is whole by itself."""

    def is_whole(self, value: Fraction | Linear) -> bool:
        """Whether a value is a whole number at every point."""
        ...


# Whole numbers between the bounds of an entry up to which being one of them is written out.
MAX_WHOLE = 1000


def contains(region: Region, element: Tensor, scene: Surroundings) -> Formula:
    """`element in region`. Raises SpecError E0752 for sizes, E0901 for whole numbers without end
    that the element is not known to be.
    """
    region = region.shaped(element.values.shape)
    if region.size != element.values.size:
        text = f"{element.values.size} entries cannot lie in a set over {region.size}"
        raise SpecError.of("E0752", text)
    parts = list(_within(region, element))
    flat, lower, upper = element.flat.tolist(), region.lower.tolist(), region.upper.tolist()
    parts += [
        _one_of_whole(flat[p], lower[p], upper[p])
        for p in region.whole.tolist()
        if not scene.is_whole(flat[p])
    ]
    parts += [in_ball(cutting, element, scene) for cutting in region.balls]
    parts += [condition(element) for condition in region.conditions]
    return conjunction(parts)


def _one_of_whole(
    value: Fraction | Linear, lower: Fraction | Linear | None, upper: Fraction | Linear | None
) -> Formula:
    """That a value is one of the whole numbers between its bounds, and in which gap it lies where
    it is none: as many alternatives either way.
    """
    if isinstance(value, Fraction):
        return truth(value.denominator == 1)
    if not isinstance(lower, Fraction) or not isinstance(upper, Fraction):
        raise _not_whole("a whole number without constant bounds")
    first, last = ceil(lower), floor(upper)
    if last - first >= MAX_WHOLE:
        raise _not_whole(f"one of {last - first + 1:,} whole numbers")
    numbers = [Fraction(n) for n in range(first, last + 1)]
    ends = [None, *numbers, None]
    gaps = (
        conjunction(
            [
                *([] if low is None else [compare(">", value, low)]),
                *([] if high is None else [compare("<", value, high)]),
            ]
        )
        for low, high in pairwise(ends)
    )
    return Stated(disjunction(compare("==", value, n) for n in numbers), disjunction(gaps))


def _not_whole(what: str) -> SpecError:
    text = f"whether a value that need not be whole is {what} cannot be asked yet"
    help_ = "ask for its bounds, `low <= value and value <= high`, if that is what is meant"
    return SpecError.of("E0901", text, help=help_)


def _within(region: Region, element: Tensor) -> Sequence[Formula]:
    parts: list[Formula] = []
    for value, lower, upper in zip(element.flat, region.lower, region.upper, strict=True):
        if lower is not None:
            parts.append(below(lower - value, strict=False))
        if upper is not None:
            parts.append(below(value - upper, strict=False))
    return parts


def in_ball(cutting: RegionBall, element: Tensor, norms: Norms) -> Formula:
    """Whether the element lies in one ball."""
    offset = cutting.scale * (element.flat[cutting.positions] - cutting.center)
    if cutting.norm == "l1":
        return below(norms.norm1(offset) - cutting.radius, strict=False)
    square = norms.norm2(offset, Nonlinear("distance in l2", None)).square
    return below(square - cutting.radius**2, strict=False)


def conditions_on(region: Region, element: Tensor, norms: Norms) -> Formula:
    """What a variable over the region satisfies beside its fixed bounds and fixed balls."""
    parts: list[Formula] = []
    for value, lower, upper in zip(element.flat, region.lower, region.upper, strict=True):
        if isinstance(lower, Linear):
            parts.append(below(lower - value, strict=False))
        if isinstance(upper, Linear):
            parts.append(below(value - upper, strict=False))
    parts += [in_ball(b, element, norms) for b in region.balls if not b.fixed]
    parts += [condition(element) for condition in region.conditions]
    return conjunction(parts)

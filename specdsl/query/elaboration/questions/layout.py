"""The flat input of a query: which entries of variables share a place, and the sets they lie in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from specdsl.query.elaboration.values.formula import And, Below, Formula
from specdsl.query.elaboration.values.regions import BoundArray, Unbounded
from specdsl.query.elaboration.values.scene import Quantified, Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Linear
from specdsl.query.query import Variable
from specdsl.query.sets import Ball, Box, EmptySet, InputSet, cut

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """`places[p]`: where entry p of the variables stands in the flat input of `size` entries.

    lower, upper: (size,), None where a side is open; `integers`: places of whole numbers.
    """

    places: IndexArray
    size: int
    lower: BoundArray
    upper: BoundArray
    balls: tuple[Ball, ...]
    integers: IndexArray

    @property
    def merged(self) -> bool:
        """Whether some entries share a place."""
        return self.size < self.places.size

    def inputs(
        self, lower: BoundArray, upper: BoundArray, balls: Sequence[Ball] = ()
    ) -> InputSet | None:
        """The exact input set within tighter bounds; None where it is empty.

        Raises Unbounded where a side has no bound.
        """
        low_ends, high_ends = lower.tolist(), upper.tolist()
        every = (*self.balls, *balls)
        for ball in every:
            low, high = ball.hull()
            for place, least, most in zip(ball.positions.tolist(), low, high, strict=True):
                _tighten(low_ends, high_ends, place, least, most)
        for side in (low_ends, high_ends):
            for position, value in enumerate(side):
                if value is None:
                    raise Unbounded(position)
        for place in self.integers.tolist():
            low_ends[place] = Fraction(ceil(low_ends[place]))
            high_ends[place] = Fraction(floor(high_ends[place]))
        try:
            found = cut(Box(_array(low_ends), _array(high_ends)), every)
        except EmptySet:
            return None
        return None if any(_misses(ball, found.box) for ball in every) else found


def _misses(ball: Ball, box: Box) -> bool:
    """Whether even the point of the box nearest to the ball's center lies outside the ball.

    The nearest point in a box is the center clipped to it, in l1 and in l2.
    """
    nearest = box.lower.copy()
    low, high = nearest[ball.positions], box.upper[ball.positions]
    nearest[ball.positions] = np.minimum(np.maximum(ball.center, low), high)
    return nearest not in ball


def lay_out(scene: Scene, equal: Iterable[tuple[int, int]] = ()) -> Layout:
    """Give every entry a place; pairs in `equal` share one."""
    count = scene.input_size
    if not count:
        zero = np.array([Fraction(0)], dtype=object)
        nothing = np.zeros(0, dtype=np.int64)
        return Layout(nothing, 1, zero, zero, (), nothing)
    places = _places(count, equal)
    size = int(places.max()) + 1
    lower: list[Fraction | None] = [None] * size
    upper: list[Fraction | None] = [None] * size
    balls: list[Ball] = []
    integers: set[int] = set()
    for variable in scene.variables:
        region, here = variable.region, places[variable.positions]
        for place, low, high in zip(here.tolist(), region.lower, region.upper, strict=True):
            _tighten(lower, upper, place, low, high)
        integers.update(here[region.whole].tolist())
        balls += [
            Ball(here[b.positions], b.center, b.scale, b.radius, b.norm)
            for b in region.balls
            if b.fixed
        ]
    whole = np.array(sorted(integers), dtype=np.int64)
    return Layout(places, size, _array(lower), _array(upper), tuple(balls), whole)


def _tighten(
    lower: list[Fraction | None],
    upper: list[Fraction | None],
    place: int,
    least: object,
    most: object,
) -> None:
    """Move both ends of one place inward; ends that are no numbers say nothing."""
    old = lower[place]
    if isinstance(least, Fraction):
        lower[place] = least if old is None else max(old, least)
    old = upper[place]
    if isinstance(most, Fraction):
        upper[place] = most if old is None else min(old, most)


def _array(values: Sequence[Fraction | None]) -> BoundArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _places(count: int, equal: Iterable[tuple[int, int]]) -> IndexArray:
    """Numbers from 0 in order of first appearance, the same for entries that are equal."""
    parent = list(range(count))

    def root(entry: int) -> int:
        while parent[entry] != entry:
            parent[entry] = parent[parent[entry]]
            entry = parent[entry]
        return entry

    for first, second in equal:
        a, b = root(first), root(second)
        parent[max(a, b)] = min(a, b)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(e), len(numbers)) for e in range(count)], np.int64)


def equal_entries(scene: Scene, assumed: Formula) -> tuple[tuple[int, int], ...]:
    """Pairs of input entries that the conditions make equal, wherever they hold.

    Entries of balls stay apart: a ball has every entry once.
    """
    parts = assumed.parts if isinstance(assumed, And) else (assumed,)
    atoms = {p.expression for p in parts if isinstance(p, Below) and not p.strict}
    in_balls = {int(p) for v in scene.variables for p in _ball_entries(v)}
    found: list[tuple[int, int]] = []
    for expression in atoms:
        pair = _difference(expression)
        if pair is not None and -expression in atoms and not in_balls.intersection(pair):
            found.append((min(pair), max(pair)))
    return tuple(sorted(set(found)))


def _ball_entries(variable: Quantified) -> IndexArray:
    parts = [variable.start + ball.positions for ball in variable.region.balls]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _difference(expression: Linear) -> tuple[int, int] | None:
    """(p, q) where the expression is `x[p] - x[q]`."""
    if expression.constant or len(expression.terms) != 2:
        return None
    ((first, p), a), ((second, q), b) = expression.terms
    if first != INPUT or second != INPUT or a + b != 0:
        return None
    return (p, q) if a > 0 else (q, p)


def shown_variables(scene: Scene, layout: Layout) -> tuple[Variable, ...]:
    """The groups of input entries in the user's terms: variables, or their fields."""
    return tuple(s for quantified in scene.variables for s in _shown(quantified, layout))


def _shown(quantified: Quantified, layout: Layout) -> Iterable[Variable]:
    space, places = quantified.region.space, layout.places[quantified.positions]
    if space is None:
        yield Variable(quantified.name, places, quantified.shape)
        return
    start = 0
    for spot in space.fields:
        name = quantified.name if len(space.fields) == 1 else f"{quantified.name}.{spot.name}"
        part = places[start : start + spot.width]
        start += spot.width
        one_hot = spot.encode == "one_hot"
        shape = (spot.width,) if one_hot else spot.type.shape
        yield Variable(name, part, shape, spot.type.unit, one_hot=one_hot)

"""Exact linear expressions of quantified inputs and of computed values, and tensors of them.

A tensor is a numpy array of dtype object whose entries are `Fraction`s (constants) or `Linear`s, so
numpy's own arithmetic, broadcasting and indexing work on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from specdsl.language.spec import ExactArray, Space

Entry = tuple[int, int]
"""(source, position): source 0 is the flat input, every other one a computed value of a scene."""

INPUT = 0

Scalar = "Fraction | Linear"

EntryArray = npt.NDArray[np.object_]
"""An array of `Fraction` and `Linear`."""


class NotLinear(ArithmeticError):
    """A product or quotient of two expressions that both vary."""


@dataclass(frozen=True, slots=True)
class Linear:
    """`sum(coefficient * entry) + constant`, with at least one term.

    `terms` rise in their entries and hold no zero, so equal expressions compare equal.
    """

    terms: tuple[tuple[Entry, Fraction], ...]
    constant: Fraction = Fraction(0)

    @classmethod
    def entry(cls, source: int, position: int) -> Linear:
        """One entry by itself."""
        return cls((((source, position), Fraction(1)),))

    def __add__(self, other: object) -> Fraction | Linear:
        if isinstance(other, Linear):
            terms = dict(self.terms)
            for entry, coefficient in other.terms:
                terms[entry] = terms.get(entry, Fraction(0)) + coefficient
            return linear(terms, self.constant + other.constant)
        if isinstance(other, Fraction):
            return Linear(self.terms, self.constant + other)
        return NotImplemented

    __radd__ = __add__

    def __mul__(self, other: object) -> Fraction | Linear:
        if isinstance(other, Linear):
            raise NotLinear
        if isinstance(other, Fraction):
            if not other:
                return Fraction(0)
            terms = tuple((entry, coefficient * other) for entry, coefficient in self.terms)
            return Linear(terms, self.constant * other)
        return NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Linear:
        return Linear(tuple((e, -c) for e, c in self.terms), -self.constant)

    def __sub__(self, other: object) -> Fraction | Linear:
        if isinstance(other, Linear | Fraction):
            return self + (-other)
        return NotImplemented

    def __rsub__(self, other: object) -> Fraction | Linear:
        if isinstance(other, Fraction):
            return -self + other
        return NotImplemented

    def __truediv__(self, other: object) -> Fraction | Linear:
        if isinstance(other, Fraction):
            return self * (1 / other)
        raise NotLinear

    def __rtruediv__(self, other: object) -> Fraction | Linear:
        raise NotLinear

    @property
    def only(self) -> Entry | None:
        """The entry that this is, by itself; None where it is more than one entry."""
        if len(self.terms) == 1 and not self.constant and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    def at(self, values: Mapping[Entry, Fraction]) -> Fraction:
        """The exact value where every entry has one."""
        return sum((c * values[e] for e, c in self.terms), self.constant)

    def renamed(self, places: npt.NDArray[np.int64]) -> Fraction | Linear:
        """With entry p of the input standing at `places[p]`."""
        if all(source != INPUT for (source, _), _ in self.terms):
            return self
        terms: dict[Entry, Fraction] = {}
        for (source, position), coefficient in self.terms:
            entry = (source, int(places[position]) if source == INPUT else position)
            terms[entry] = terms.get(entry, Fraction(0)) + coefficient
        return linear(terms, self.constant)


def linear(terms: Mapping[Entry, Fraction], constant: Fraction) -> Fraction | Linear:
    """The expression, or its constant where every coefficient is zero."""
    kept = tuple(sorted((e, c) for e, c in terms.items() if c))
    return Linear(kept, constant) if kept else constant


def weighted(
    weights: Iterable[Fraction], terms: Iterable[Fraction | Linear], start: Fraction
) -> Fraction | Linear:
    """`start + sum of weight * term`, in one go: adding one by one takes quadratic time."""
    total, coefficients = start, dict[Entry, Fraction]()
    for weight, term in zip(weights, terms, strict=True):
        if not weight:
            continue
        if isinstance(term, Fraction):
            total += weight * term
            continue
        total += weight * term.constant
        for entry, coefficient in term.terms:
            coefficients[entry] = coefficients.get(entry, Fraction(0)) + weight * coefficient
    return linear(coefficients, total)


def entries(values: Iterable[Fraction | Linear], shape: tuple[int, ...]) -> EntryArray:
    """An array from its entries in row-major order."""
    flat = list(values)
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Numbers of one shape.

    `space`: set where the tensor is a value of a space, its fields packed one after another.
    `labels` names the entries of a vector.
    """

    values: EntryArray
    space: Space | None = None
    labels: tuple[str, ...] = ()

    @property
    def flat(self) -> EntryArray:
        """The entries in row-major order."""
        return self.values.reshape(-1)

    @property
    def constant(self) -> ExactArray | None:
        """The values, where none of them varies."""
        varies = any(isinstance(v, Linear) for v in self.flat)
        return None if varies else self.values

    @property
    def scalar(self) -> Fraction | Linear | None:
        """The only entry, or None where there are several."""
        return self.flat[0] if self.values.size == 1 else None


def constant(value: Fraction) -> Tensor:
    """A number as a tensor without axes."""
    return scalar(value)


def scalar(value: Fraction | Linear) -> Tensor:
    """One expression as a tensor without axes."""
    return Tensor(entries([value], ()))


def variable(source: int, shape: tuple[int, ...], space: Space | None, start: int = 0) -> Tensor:
    """The entries of a source from `start` on, in the given shape."""
    size = int(np.prod(shape, dtype=np.int64))
    values = entries((Linear.entry(source, start + i) for i in range(size)), shape)
    return Tensor(values, space)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """`argmax` or `argmin` of a vector: a label, known only by comparisons with labels."""

    kind: Literal["argmax", "argmin"]
    scores: EntryArray

    @property
    def rising(self) -> EntryArray:
        """The scores with the sign that makes the winner the largest."""
        return self.scores if self.kind == "argmax" else -self.scores

    @property
    def winner(self) -> int | None:
        """The label where the scores are constants, -1 where they tie; None where they vary."""
        known = [score for score in self.rising if isinstance(score, Fraction)]
        if len(known) < len(self.scores):
            return None
        best = max(known)
        return known.index(best) if known.count(best) == 1 else -1


@dataclass(frozen=True, slots=True, eq=False)
class Extreme:
    """The largest or smallest of several linear expressions.

    Comparisons take it apart by cases, which every backend can use better than a node of the graph;
    only where it is computed with further does it become one.
    """

    kind: Literal["max", "min"]
    options: tuple[Fraction | Linear, ...]

    def __neg__(self) -> Extreme:
        return Extreme("min" if self.kind == "max" else "max", tuple(-o for o in self.options))

    def plus(self, other: Fraction | Linear) -> Extreme:
        """With something added to every option."""
        return Extreme(self.kind, tuple(o + other for o in self.options))

    def joined(self, other: Extreme) -> Extreme:
        """The sum of two of one kind: the largest sum of an option of each."""
        return Extreme(self.kind, tuple(a + b for a in self.options for b in other.options))

    def times(self, factor: Fraction) -> Extreme:
        """Multiplied by a constant; a negative one turns the largest into the smallest."""
        scaled = tuple(o * abs(factor) for o in self.options)
        result = Extreme(self.kind, scaled)
        return -result if factor < 0 else result


def absolute(values: Sequence[Fraction | Linear]) -> Extreme:
    """The largest absolute value of several expressions."""
    return Extreme("max", tuple(v for value in values for v in (value, -value)))


def extreme(
    kind: Literal["max", "min"], options: Sequence[Fraction | Linear]
) -> Extreme | Fraction | Linear:
    """The extreme of options: itself where only one is left, a number where all are."""
    known = [o for o in options if isinstance(o, Fraction)]
    varying = tuple(dict.fromkeys(o for o in options if isinstance(o, Linear)))
    best = (max(known) if kind == "max" else min(known)) if known else None
    kept = varying if best is None else (*varying, best)
    return kept[0] if len(kept) == 1 else Extreme(kind, kept)


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """The square root of `square`, which is a sum of squares: an l2 norm. Known by comparisons."""

    square: Fraction | Linear

    def times(self, factor: Fraction) -> Root:
        """Multiplied by a constant that is not negative."""
        return Root(self.square * factor**2)

"""What a sweep varies: lists of values and intervals, and points of them by a grid or at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import expm1, floor, log1p, log10, prod
from random import Random

from specdsl.diagnostics import SpecError

Values = Mapping[str, str]
"""A trial: the text of each value by the name of its parameter, as after `-D name=`."""

# Significant digits of what is drawn from an interval: enough to tell trials apart, few to read.
DIGITS = 3
# Numbers with more decimals are written as fractions, which are as exact and no worse to read.
LARGEST_DENOMINATOR = 10**12
# Draws in vain after which all points of a finite space count as seen.
PATIENCE = 1_000


@dataclass(frozen=True, slots=True)
class Choices:
    """A parameter with some values, as texts."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """A number from `lower` to `upper`, both included; `whole`: without fractions.

    `even_ratios`: drawn so that each factor is as likely as another, as `:log` says; else each
    difference is. `unit`: of both ends, as written.
    """

    name: str
    lower: Fraction
    upper: Fraction
    even_ratios: bool = False
    whole: bool = False
    unit: str | None = None

    def at(self, share: float) -> str:
        """The value at a share of the way from `lower` (0) to `upper` (1), rounded to be read."""
        if self.even_ratios:
            return self.text(self.lower * (1 + Fraction(expm1(share * self._ratio(self.upper)))))
        return self.text(self.lower + Fraction(share) * (self.upper - self.lower))

    def share(self, text: str) -> float:
        """The share at which `at` gives this text, up to its rounding."""
        value = Fraction(text.partition(" ")[0])
        if self.even_ratios:
            found = self._ratio(value) / self._ratio(self.upper)
        else:
            found = float((value - self.lower) / (self.upper - self.lower))
        return min(max(found, 0.0), 1.0)

    def text(self, value: Fraction) -> str:
        """A value of the interval as text, rounded, and never outside."""
        width = self.upper - self.lower
        size = min(value, width) if self.even_ratios else width
        places = 0 if self.whole or not size else DIGITS - 1 - floor(log10(size))
        near = Fraction(round(value * Fraction(10) ** places)) / Fraction(10) ** places
        near = min(max(near, self.lower), self.upper)
        return _decimal(near) + (f" `{self.unit}`" if self.unit else "")

    def _ratio(self, value: Fraction) -> float:
        """The logarithm of how many times `lower` it is, exact for values close to that."""
        return log1p(value / self.lower - 1)


Dimension = Choices | Interval


def grid(space: Sequence[Dimension]) -> Iterator[Values]:
    """Every combination, the first parameter slowest. Raises SpecError E0860 for intervals."""
    for each in space:
        if isinstance(each, Interval):
            step = _step(each)
            shown = f"{each.name}={each.lower}..{each.upper}"
            message = f"`-D {shown}` has no step, which a grid needs"
            help_ = f"for example `-D {shown}:{step}`, or draw values with `--sampler random`"
            raise SpecError.of("E0860", message, help=help_)
    lists = [each.texts for each in space if isinstance(each, Choices)]
    names = [each.name for each in space]
    for texts in product(*lists):
        yield dict(zip(names, texts, strict=True))


def random_points(space: Sequence[Dimension], seed: int) -> Iterator[Values]:
    """Different points without end; of a finite space, each once."""
    generator = Random(seed)
    seen: set[tuple[str, ...]] = set()
    finite = all(isinstance(each, Choices) for each in space)
    total = prod(len(each.texts) for each in space if isinstance(each, Choices))
    waited = 0
    while waited < PATIENCE and not (finite and len(seen) == total):
        texts = tuple(_drawn(each, generator) for each in space)
        waited += 1
        if texts not in seen:
            seen.add(texts)
            waited = 0
            yield {each.name: text for each, text in zip(space, texts, strict=True)}


def corners(space: Sequence[Dimension]) -> Iterator[Values]:
    """A few points that show most of what can be wrong: each end, with the others at their first.

    Of a list each value counts as an end.
    """
    first = {each.name: ends(each)[0] for each in space}
    yield first
    for each in space:
        for text in ends(each)[1:]:
            yield {**first, each.name: text}


def ends(dimension: Dimension) -> tuple[str, ...]:
    """The values of a list, or both ends of an interval."""
    if isinstance(dimension, Choices):
        return dimension.texts
    return tuple(dict.fromkeys((dimension.at(0.0), dimension.at(1.0))))


def _drawn(dimension: Dimension, generator: Random) -> str:
    if isinstance(dimension, Choices):
        return generator.choice(dimension.texts)
    return dimension.at(generator.random())


def _decimal(value: Fraction) -> str:
    """`0.0437`; `1/3` for what no decimal is."""
    reduced = value.denominator
    for factor in (2, 5):
        while reduced % factor == 0:
            reduced //= factor
    if reduced != 1 or value.denominator > LARGEST_DENOMINATOR:
        return str(value)
    return f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():f}"


def _step(interval: Interval) -> Fraction:
    """A step that leads from one end to the other."""
    return (interval.upper - interval.lower) / 5

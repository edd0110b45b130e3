"""`ClaimTemplate`: a property as a function of a batch of samples, as data.

For every sample: for all points `v` in a region, a formula over the outputs of the network that is
trained holds. Region, points that the network is applied to, and formula are affine in `v`, in the
sample and in named numbers that are known when the claim is made. Numbers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from specdsl.source import Span

POINT = "v"
"""The source of the entries of all variables together."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One number: entry `position` of the flat `source`.

    A source is a parameter of the template, `POINT`, or the outputs of an application, by its name.
    `label`: the name of a label parameter that selects the entry; `position` is -1 then.
    """

    source: str
    position: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Affine:
    """`sum(coefficient * entry) + constant`; `terms` rise in their entries and hold no zero."""

    terms: tuple[tuple[Entry, Fraction], ...] = ()
    constant: Fraction = Fraction(0)

    def plus(self, other: Affine) -> Affine:
        """The sum."""
        if not other.terms:
            return Affine(self.terms, self.constant + other.constant) if other.constant else self
        found = dict(self.terms)
        for entry, coefficient in other.terms:
            found[entry] = found.get(entry, Fraction(0)) + coefficient
        kept = tuple(sorted((e, c) for e, c in found.items() if c))
        return Affine(kept, self.constant + other.constant)

    def times(self, factor: Fraction) -> Affine:
        """Multiplied by a constant."""
        if factor == 1:
            return self
        terms = tuple((e, c * factor) for e, c in self.terms) if factor else ()
        return Affine(terms, self.constant * factor)

    def minus(self, other: Affine) -> Affine:
        """The difference."""
        return self.plus(other.times(Fraction(-1)))

    @property
    def sources(self) -> frozenset[str]:
        """What it reads."""
        return frozenset(entry.source for entry, _ in self.terms)

    def only(self, *sources: str) -> Affine:
        """The terms over some sources, without the constant."""
        return Affine(tuple((e, c) for e, c in self.terms if e.source in sources))

    def without(self, *sources: str) -> Affine:
        """The terms over all other sources, and the constant."""
        kept = tuple((e, c) for e, c in self.terms if e.source not in sources)
        return Affine(kept, self.constant)


# --- what the function takes ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """`input`, `target`: a part of the samples, (batch, *shape); `label`: classes, (batch,);
    `number`: one number, the same for the whole batch.
    """

    name: str
    kind: Literal["input", "target", "label", "number"]
    shape: tuple[int, ...] = ()


# --- where the variables range --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ball:
    """`norm(scale * (v[positions] - center)) <= radius` in l1 or l2, over entries of `POINT`."""

    positions: tuple[int, ...]
    center: tuple[Affine, ...]
    scale: tuple[Fraction, ...]
    radius: Affine
    norm: Literal["l1", "l2"]


@dataclass(frozen=True, slots=True)
class Variable:
    """Entries `start` to `start + size` of `POINT`.

    `lower`, `upper`: for each entry the bounds that all hold, in the order written; each entry has
    at least one or lies in a ball.
    """

    name: str
    start: int
    size: int
    lower: tuple[tuple[Affine, ...], ...]
    upper: tuple[tuple[Affine, ...], ...]
    balls: tuple[Ball, ...] = ()


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """`sum(coefficient * v[position]) <= limit`."""

    coefficients: tuple[tuple[int, Fraction], ...]
    limit: Affine


@dataclass(frozen=True, slots=True)
class Application:
    """The network at `point`, flat and as the network takes it: normalisation is applied.

    `name` is the source of its `outputs` numbers.
    """

    name: str
    point: tuple[Affine, ...]
    outputs: int


# --- what is claimed ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Margin:
    """`form > 0`, or `>= 0` where not strict: a training makes it large either way."""

    form: Affine
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ClassMargins:
    """`factor * (score of label - score of t) + rest > 0` for all other classes t; for some other
    class where not `every`. `label`: a label parameter, or a class. `rest` reads no outputs.
    """

    application: str
    label: str | int
    classes: int
    factor: Fraction
    rest: Affine
    every: bool


@dataclass(frozen=True, slots=True)
class SameClass:
    """Two applications have a strictly best class each, and it is the same one."""

    first: str
    second: str
    classes: int


Relation = Literal[">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class Decided:
    """`form relation 0` about the sample and numbers alone."""

    form: Affine
    relation: Relation


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; without parts, true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Some part holds; without parts, false."""

    parts: tuple[Formula, ...]


Formula = Margin | ClassMargins | SameClass | Decided | Every | Some


@dataclass(frozen=True, slots=True)
class ClaimTemplate:
    """A property of samples. `text`: as written, on one line; `span`: where what is claimed stands.

    `variables` follow one another in `POINT`; `cuts` are conditions on several entries at once.
    """

    name: str
    text: str
    parameters: tuple[Parameter, ...]
    variables: tuple[Variable, ...]
    cuts: tuple[HalfSpace, ...]
    applications: tuple[Application, ...]
    formula: Formula
    span: Span = field(compare=False, repr=False)

    @property
    def parts(self) -> int:
        """How many parts of a sample the function takes: the first ones, before the numbers."""
        return sum(parameter.kind != "number" for parameter in self.parameters)

    @property
    def size(self) -> int:
        """Number of entries of `POINT`."""
        return sum(variable.size for variable in self.variables)

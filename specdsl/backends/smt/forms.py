"""Exact linear forms over numbered variables, and affine ops on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf, nextafter

import numpy as np

from specdsl.encoding.rules.affine import sparse_affine
from specdsl.graph import ops
from specdsl.graph.evaluate import knot_values
from specdsl.graph.ops import Shape


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """`sum of terms[v] * variable v, plus constant`; no coefficient is zero."""

    terms: dict[int, Fraction]
    constant: Fraction

    @classmethod
    def of_variable(cls, variable: int) -> LinearForm:
        """The variable itself."""
        return cls({variable: Fraction(1)}, Fraction(0))

    def scaled(self, factor: Fraction, shift: Fraction) -> LinearForm:
        """`factor * self + shift`."""
        terms = {v: factor * c for v, c in self.terms.items()} if factor else {}
        return LinearForm(terms, factor * self.constant + shift)


@dataclass(frozen=True, slots=True)
class ExactRange:
    """`lower <= value <= upper`."""

    lower: Fraction
    upper: Fraction

    def outward(self) -> ExactRange:
        """The least range with float64 ends around this one: numbers stay short."""
        lower, upper = float(self.lower), float(self.upper)
        if Fraction(lower) > self.lower:
            lower = nextafter(lower, -inf)
        if Fraction(upper) < self.upper:
            upper = nextafter(upper, inf)
        return ExactRange(Fraction(lower), Fraction(upper))

    def times(self, other: ExactRange) -> ExactRange:
        """Of products."""
        corners = [a * b for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
        return ExactRange(min(corners), max(corners))

    def squared(self) -> ExactRange:
        """Of squares."""
        ends = (self.lower * self.lower, self.upper * self.upper)
        around_zero = self.lower <= 0 <= self.upper
        return ExactRange(Fraction(0) if around_zero else min(ends), max(ends))


def form_range(form: LinearForm, variables: Sequence[ExactRange]) -> ExactRange:
    """What the ranges of its variables imply, exactly."""
    lower = upper = form.constant
    for variable, coefficient in form.terms.items():
        known = variables[variable]
        ends = (coefficient * known.lower, coefficient * known.upper)
        lower, upper = lower + min(ends), upper + max(ends)
    return ExactRange(lower, upper)


def affine_forms(
    op: ops.Op, operands: Sequence[Sequence[LinearForm]], shapes: Sequence[Shape]
) -> Iterator[LinearForm]:
    """The forms of an affine op's entries, one after another.

    Raises Unsupported for an op without a rule.
    """
    matrix = sparse_affine(op, shapes)
    order = np.argsort(matrix.rows, kind="stable")
    edges = np.searchsorted(matrix.rows[order], np.arange(matrix.offset.size + 1)).tolist()
    sources, positions = matrix.operands[order].tolist(), matrix.positions[order].tolist()
    coefficients = matrix.coefficients[order].tolist()
    for (start, end), offset in zip(pairwise(edges), matrix.offset.tolist(), strict=True):
        read = [operands[sources[i]][positions[i]] for i in range(start, end)]
        yield _combined(coefficients[start:end], read, Fraction(offset))


def _combined(
    coefficients: list[float | Fraction], forms: list[LinearForm], constant: Fraction
) -> LinearForm:
    """`sum of coefficients times forms, plus constant`."""
    sums: dict[int, Fraction] = {}
    for given, form in zip(coefficients, forms, strict=True):
        if given == 0:
            continue
        coefficient = Fraction(given)
        constant += coefficient * form.constant
        for variable, inner in form.terms.items():
            sums[variable] = sums.get(variable, Fraction(0)) + coefficient * inner
    return LinearForm({v: c for v, c in sums.items() if c}, constant)


@dataclass(frozen=True, slots=True)
class Line:
    """`slope * x + intercept`."""

    slope: Fraction
    intercept: Fraction

    def at(self, x: Fraction) -> Fraction:
        """The value at x."""
        return self.slope * x + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The lines of a piecewise-linear op from left to right, and the points where they meet."""

    points: list[Fraction]
    lines: list[Line]

    @classmethod
    def of(cls, op: ops.PiecewiseLinear) -> Pieces:
        """Exactly as the op's facts say."""
        points = [Fraction(b) for b in op.breakpoints]
        values = knot_values(op)
        anchors = zip([points[0], *points], [values[0], *values], op.slopes, strict=True)
        lines = [Line(Fraction(s), value - Fraction(s) * point) for point, value, s in anchors]
        return cls(points, lines)

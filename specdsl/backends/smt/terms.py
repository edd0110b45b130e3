"""Exact numbers and lines as Z3 terms, and Z3's numbers as exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import z3

from specdsl.backends.smt.forms import Line

# z3's operators are annotated with unions of every sort it has, so these say nothing more.
Term = Any
Formula = Any

# Decimal digits kept of an irrational number: far more than float64 resolves.
DIGITS = 40


def number(value: Fraction) -> Term:
    """An exact Z3 numeral."""
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def on_line(line: Line, x: Term) -> Term:
    """`slope * x + intercept`."""
    if not line.slope:
        return number(line.intercept)
    scaled = x if line.slope == 1 else number(line.slope) * x
    return scaled + number(line.intercept) if line.intercept else scaled


def split(lines: Sequence[Line], inner: Sequence[Fraction], x: Term) -> Term:
    """The value of the line that x is on; `inner`: where one ends and the next begins."""
    value = on_line(lines[-1], x)
    for line, end in zip(reversed(lines[:-1]), reversed(inner), strict=True):
        value = z3.If(x <= number(end), on_line(line, x), value)
    return value


def rational(value: Any) -> Fraction:
    """The number itself, or of an irrational one a rational number next to it."""
    if z3.is_algebraic_value(value):
        value = value.approx(DIGITS)
    return Fraction(value.as_fraction())

"""Floats with accounted rounding, or rationals: the same formulas over either kind of array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.proof.refusal import NotCovered

Array = npt.NDArray[Any]
"""Of float64, or of rationals as objects."""

UNIT = 2.0**-53
SINGLE_UNIT = 2.0**-24
# Bits of a rational, from which on it is rounded where any number on one side will do.
LONG = 512
# What floats lose by underflow where they are computed from others: each operation 2**-1022 at
# most, even where what is smaller is flushed to 0, and no sum has more than 2**60 terms.
UNDERFLOW = 2.0**-960
# The least float64 that rounding changes by a part of it alone, and the least there is.
LEAST_NORMAL = 2.0**-1022
LEAST = 2.0**-1074
# The least normal float32: what flushing an operand or a result to zero changes at most.
SINGLE_TINY = 2.0**-126


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`exact`: rationals, whose unit of rounding is 0; else float64."""

    exact: bool

    def array(self, values: Array) -> Array:
        """Nearest floats, or the numbers themselves. Raises NotCovered where a float is off by more
        than a part of it, which is all that is accounted for.
        """
        if self.exact:
            return _rationals(values)
        if values.dtype == object:
            near = [_float(value) for value in values.reshape(-1).tolist()]
            pairs = zip(near, values.reshape(-1).tolist(), strict=True)
            if any(abs(x) < LEAST_NORMAL and Fraction(x) != value for x, value in pairs):
                raise NotCovered("a number too small for floats")
        return np.asarray(values, dtype=np.float64)

    def bounds(self, lower: Sequence[Fraction], upper: Sequence[Fraction]) -> tuple[Array, Array]:
        """Ends of intervals, rounded outward."""
        if self.exact:
            return _rationals(np.array(lower, object)), _rationals(np.array(upper, object))
        low = np.array([_down(v) for v in lower], dtype=np.float64)
        return low, -np.array([_down(-v) for v in upper], dtype=np.float64)

    def shorter(self, values: Array, side: float) -> Array:
        """Rationals of many digits rounded to floats: down where `side` is -inf, up where it is
        inf. They would grow from layer to layer; floats are what they are.
        """
        if not self.exact or not values.size:
            return values
        found = values.copy()
        for i, value in np.ndenumerate(values):
            if _digits(value) > LONG:
                found[i] = _rational(Fraction(float(np.nextafter(_float(value), side))))
        return found

    def rounding(self, roundings: int) -> Any:
        """What part of the magnitudes of its terms a sum may be off by, after so many roundings;
        twice that, since magnitudes are computed as well.

        Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, lemma 3.1.
        """
        return self.number(0.0) if self.exact else 2 * _gamma(roundings, UNIT)

    def single_rounding(self, roundings: int) -> Any:
        """The same for float32."""
        return self.number(_gamma(roundings, SINGLE_UNIT))

    def number(self, value: float) -> Any:
        """A float as it is."""
        return _rational(Fraction(value)) if self.exact else value

    @property
    def underflow(self) -> Any:
        """More than what computing an entry of a value loses by underflow."""
        return self.number(0.0 if self.exact else UNDERFLOW)

    def zeros(self, *shape: int) -> Array:
        """Zeros."""
        if not self.exact:
            return np.zeros(shape)
        return np.full(shape, _rational(Fraction(0)), dtype=object)


FLOAT, EXACT = Arithmetic(exact=False), Arithmetic(exact=True)


def _gamma(roundings: int, unit: float) -> float:
    first = roundings * unit
    if first >= 0.25:
        raise NotCovered(f"{roundings} roundings are more than an a-priori bound covers")
    # n u / (1 - n u), rounded up.
    return first * (1 + 2 * first)


def _down(value: Fraction) -> float:
    nearest = _float(value)
    return nearest if Fraction(nearest) <= value else float(np.nextafter(nearest, -np.inf))


def _digits(value: Any) -> int:
    return int(value.numerator).bit_length() + int(value.denominator).bit_length()


def _float(value: Any) -> float:
    try:
        return int(value.numerator) / int(value.denominator)
    except OverflowError as error:
        raise NotCovered("a number beyond those of floats") from error


def _rational(value: Fraction) -> Any:
    """In the fastest kind of rational there is: python-flint's where it is installed."""
    if _fmpq is None:
        return value
    return _fmpq(value.numerator, value.denominator)


def _rationals(values: Array) -> Array:
    flat = np.asarray(values).reshape(-1)
    found = np.empty(flat.shape, dtype=object)
    for i, value in enumerate(flat.tolist()):
        known = isinstance(value, int | float | Fraction)
        found[i] = _rational(Fraction(value)) if known else value
    return found.reshape(np.shape(values))


try:
    from flint import fmpq as _fmpq  # pyright: ignore
except ImportError:
    _fmpq = None

"""Elementary functions: their names, and their values where these are rational.

Exact numbers cannot hold `exp(1)`. Where an argument has a rational value it is that one; elsewhere
a constant is refused, and in a property the value becomes part of the query, where bounds enclose
it (decision 017).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import isqrt
from types import MappingProxyType

from specdsl.diagnostics import SpecError
from specdsl.language import constants
from specdsl.language.spec import Value

SOFTMAX = "softmax"

ELEMENTARY: tuple[str, ...] = (
    *("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sigmoid", "softplus"),
    SOFTMAX,
)
"""Entry by entry, but for `softmax`, which is of a vector."""

ANGLES: frozenset[str] = frozenset({"sin", "cos", "tan"})
"""Functions of radians."""

_ZERO, _ONE = Fraction(0), Fraction(1)

# Of rational arguments, these functions have rational values here and nowhere else (Lindemann and
# Weierstrass); `sqrt` has more, and `softplus` none.
_RATIONAL: Mapping[str, Mapping[Fraction, Fraction]] = MappingProxyType(
    {
        "exp": {_ZERO: _ONE},
        "log": {_ONE: _ZERO},
        "sin": {_ZERO: _ZERO},
        "cos": {_ZERO: _ONE},
        "tan": {_ZERO: _ZERO},
        "tanh": {_ZERO: _ZERO},
        "sigmoid": {_ZERO: Fraction(1, 2)},
    }
)


def rational_value(function: str, x: Fraction) -> Fraction | None:
    """The function's value where it is rational, else None. Not for `softmax`.

    Raises SpecError E0405 where there is no value.
    """
    if (function == "sqrt" and x < 0) or (function == "log" and x <= 0):
        wanted = "that are not negative" if function == "sqrt" else "above 0"
        raise SpecError.of("E0405", f"`{function}` is of numbers {wanted}, not of {x}")
    if function == "sqrt":
        root = Fraction(isqrt(x.numerator), isqrt(x.denominator))
        return root if root * root == x else None
    return _RATIONAL.get(function, {}).get(x)


def elementary(function: str, value: Value) -> Value:
    """A function of a constant. Raises SpecError E0312 where it is irrational, E0405 where it has
    no value.
    """
    each = constants.entries(value)
    if function == SOFTMAX:
        found = [Fraction(1, len(each)) if len(set(each)) == 1 else None] * len(each)
    else:
        found = [rational_value(function, x) for x in each]
    known = [entry for entry in found if entry is not None]
    if len(known) < len(found):
        raise SpecError.of(
            "E0312",
            f"this value of `{function}` is irrational, so it has no exact value",
            help="use it in the claim itself, or write the decimals you mean",
        )
    shape = constants.shape_of(value)
    return constants.tensor(known, shape) if shape else known[0]

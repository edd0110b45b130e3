"""A witness as VNN-COMP writes it, with exact decimals."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from specdsl.verdict import Witness

DECIMALS = 60
"""Exact decimals up to this length are written out in a witness; longer ones are rounded."""


def witness_text(witness: Witness) -> str:
    """`((X_0 v) ... (Y_0 v) ...)`, an assignment a line: inputs exact, outputs as replayed."""
    return "(" + "\n".join(_assignments(witness)) + ")"


def _assignments(witness: Witness) -> Iterator[str]:
    for i, value in enumerate(witness.point.tolist()):
        yield f"(X_{i} {decimal(value)})"
    # A query of version 2.0 may leave its network out, or call it more than once.
    for call in witness.calls[:1]:
        yield from (f"(Y_{i} {value!r})" for i, value in enumerate(call.outputs.tolist()))


def decimal(value: Fraction) -> str:
    """The exact decimal expansion where it is finite and short, else the nearest float64."""
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places > DECIMALS:
        return repr(float(value))
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    return ("-" if value < 0 else "") + (f"{whole}.{decimals}" if places else f"{whole}.0")

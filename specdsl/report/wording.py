"""Numbers and counts as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

SHOWN_VALUES = 8
"""Entries of a tensor that are written out; longer ones are summed up."""


def number(value: float | Fraction) -> str:
    """Six significant digits: `1.5`, `-0.00213`, `3.2e-09`."""
    return f"{float(value):.6g}"


def precise(value: float | Fraction) -> str:
    """Nine significant digits, which tell any two float32 numbers apart."""
    return f"{float(value):.9g}"


def values_of(values: Sequence[Fraction]) -> str:
    """One number, a short list, or a summary of a long one."""
    if len(values) == 1:
        return precise(values[0])
    if len(values) <= SHOWN_VALUES:
        return "[" + ", ".join(precise(v) for v in values) + "]"
    low, high = min(values), max(values)
    head = ", ".join(number(v) for v in values[:3])
    return f"[{head}, ...] ({len(values)} values from {number(low)} to {number(high)})"


def plural(count: int, one: str, many: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {one if count == 1 else many}"


def figure(value: Fraction, total: int) -> str:
    """A share with its counts: `0.9 (90 of 100)`."""
    counted = value * total
    if counted.denominator != 1:
        return number(value)
    return f"{number(value)} ({int(counted)} of {total})"


def amount(seconds: float) -> str:
    """`3.42 s`, `2 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def spent(seconds: Sequence[float], cached: int) -> str:
    """What answers took in this run, and how many were there already: `3.42`, `cached`."""
    if not cached:
        return f"{sum(seconds):.2f}"
    if not seconds:
        return "cached"
    return f"{sum(seconds):.2f}\n{cached} cached"

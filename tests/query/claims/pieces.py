"""Pieces of text that bind as tightly as they do, with what they mean; and networks to name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

Point = Mapping[str, Any]
"""What names stand for: lists of Fractions, or one."""

HEAD = """spec 1.0
network f: real[2] -> real[2] {
  layer dense(weight = [[1, -1], [1, 1], [-1, 2]], bias = [0, -1/2, 1/4])
  layer relu
  layer dense(weight = [[1, -1, 0], [0, 1, -1]], bias = [0, 1/2])
}
network g: real[2] -> real[3] {
  layer dense(weight = [[2, 0], [1, -1], [0, 1]], bias = [-1, 0, 1/2])
}
let fg = f >> g
let sq(t) = t * t
let large(v, c) = v[0] >= c or v[1] >= c
const k = 3/4
"""

# How tightly operators bind, as docs/language.md says; what is larger needs no parentheses inside.
LOOSE, IMPLIES, OR, AND, NOT, COMPARED, SUM, PRODUCT, SIGN, POWER, WHOLE = range(11)


@dataclass(frozen=True)
class Piece:
    """`at`: its value at a point. `size`: how many entries a vector has."""

    text: str
    binds: int
    at: Callable[[Point], Any]
    size: int = 1


def inside(random: Random, piece: Piece, binds: int) -> str:
    """Its text where something binds so tightly; sometimes in parentheses that are not needed."""
    bare = piece.binds >= binds and (piece.binds == WHOLE or random.random() > 0.1)
    return piece.text if bare else f"({piece.text})"


def number(random: Random, value: Fraction) -> Piece:
    """A constant, in one of its spellings."""
    if value < 0:
        own = number(random, -value)
        return Piece(f"-{own.text}", min(SIGN, own.binds), lambda _: value)
    if value.denominator == 1:
        return Piece(str(value), WHOLE, lambda _: value)
    if random.random() < 0.5:
        return Piece(str(value), PRODUCT, lambda _: value)
    return Piece(str(float(value)), WHOLE, lambda _: value)


def quarter(random: Random, low: int = -6, high: int = 6) -> Fraction:
    """A multiple of 1/4."""
    return Fraction(random.randint(low, high), 4)


# --- the networks, by hand ------------------------------------------------------------------------

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)


def f(x: list[Fraction]) -> list[Fraction]:
    """As in HEAD."""
    hidden = [x[0] - x[1], x[0] + x[1] - HALF, 2 * x[1] - x[0] + QUARTER]
    a, b, c = (max(h, Fraction(0)) for h in hidden)
    return [a - b, b - c + HALF]


def g(x: list[Fraction]) -> list[Fraction]:
    """As in HEAD."""
    return [2 * x[0] - 1, x[0] - x[1], x[1] + HALF]

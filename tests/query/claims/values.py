"""Random numbers and vectors of the variables that there are."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

from tests.query.claims.pieces import (
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    WHOLE,
    Piece,
    Point,
    f,
    g,
    inside,
    number,
    quarter,
)

Names = tuple[str, ...]
"""Of the variables: x and y are vectors, r a number, i one of 0 and 1."""

ZERO = Fraction(0)


def vectors(names: Names) -> list[str]:
    """Those of them that are vectors."""
    return [name for name in names if name in ("x", "y")]


def a_vector(random: Random, names: Names, depth: int) -> Piece:
    """Of two entries, or three."""
    name, other = random.choice(vectors(names)), random.choice(vectors(names))
    calls: dict[str, tuple[Callable[[Any], Any], int]] = {
        f"{name}": (lambda v: v, 2),
        f"f({name})": (f, 2),
        f"g({name})": (g, 3),
        f"f(f({name}))": (lambda v: f(f(v)), 2),
        f"fg({name})": (lambda v: g(f(v)), 3),
        f"(f >> g)({name})": (lambda v: g(f(v)), 3),
    }
    if depth > 0 and random.random() < 0.4:
        return _composed(random, names, depth, name, other)
    text = random.choice(list(calls))
    meaning, size = calls[text]
    return Piece(text, WHOLE, lambda e: meaning(e[name]), size)


def _composed(random: Random, names: Names, depth: int, name: str, other: str) -> Piece:
    kind = random.choice(["list", "minus", "shift", "relu"])
    if kind == "list":
        a, b = (a_number(random, names, depth - 1) for _ in range(2))
        return Piece(f"[{a.text}, {b.text}]", WHOLE, lambda e: [a.at(e), b.at(e)], 2)
    if kind == "minus":
        text = f"f({name}) - {other}"
        return Piece(text, SUM, lambda e: _minus(f(e[name]), e[other]), 2)
    if kind == "relu":
        text = f"relu({name} - {other})"
        return Piece(text, WHOLE, lambda e: [max(v, ZERO) for v in _minus(e[name], e[other])], 2)
    moved = number(random, quarter(random))
    text = f"{name} + {inside(random, moved, PRODUCT)}"
    return Piece(text, SUM, lambda e: [v + moved.at(e) for v in e[name]], 2)


def _minus(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    return [x - y for x, y in zip(a, b, strict=True)]


def a_number(random: Random, names: Names, depth: int) -> Piece:
    """Composed of others, as deep as that at most."""
    if depth <= 0 or random.random() < 0.3:
        return _plain_number(random, names)
    return random.choice(NUMBERS)(random, names, depth - 1)


def _plain_number(random: Random, names: Names) -> Piece:
    kind = random.choice(
        ["constant", "entry", "entry", "k", *(n for n in names if n in ("i", "r"))]
    )
    if kind == "constant":
        return number(random, quarter(random))
    if kind == "k":
        return Piece("k", WHOLE, lambda _: Fraction(3, 4))
    if kind in ("i", "r"):
        return Piece(kind, WHOLE, lambda e: e[kind])
    v = a_vector(random, names, 0)
    if "i" in names and random.random() < 0.4:
        return Piece(f"{inside(random, v, WHOLE)}[i]", WHOLE, lambda e: v.at(e)[int(e["i"])])
    at = random.randrange(v.size)
    return Piece(f"{inside(random, v, WHOLE)}[{at}]", WHOLE, lambda e: v.at(e)[at])


# --- numbers of others ----------------------------------------------------------------------------


def _sum(random: Random, names: Names, depth: int) -> Piece:
    a, b = (a_number(random, names, depth) for _ in range(2))
    left = inside(random, a, SUM)
    if random.random() < 0.5:
        text = f"{left} + {inside(random, b, PRODUCT)}"
        return Piece(text, SUM, lambda e: a.at(e) + b.at(e))
    return Piece(f"{left} - {inside(random, b, PRODUCT)}", SUM, lambda e: a.at(e) - b.at(e))


def _product(random: Random, names: Names, depth: int) -> Piece:
    a, b = (a_number(random, names, depth) for _ in range(2))
    if random.random() < 0.7:
        b = number(random, quarter(random))
        a, b = random.sample([a, b], 2)
    text = f"{inside(random, a, PRODUCT)} * {inside(random, b, SIGN)}"
    return Piece(text, PRODUCT, lambda e: a.at(e) * b.at(e))


def _quotient(random: Random, names: Names, depth: int) -> Piece:
    a = a_number(random, names, depth)
    b = number(random, Fraction(random.choice([2, 3, 4, -2])))
    text = f"{inside(random, a, PRODUCT)} / {inside(random, b, SIGN)}"
    return Piece(text, PRODUCT, lambda e: a.at(e) / b.at(e))


def _unary(random: Random, names: Names, depth: int) -> Piece:
    a = a_number(random, names, depth)
    low, high = sorted(quarter(random) for _ in range(2))
    ends = ", ".join(number(random, end).text for end in (low, high))
    return random.choice(
        [
            Piece(f"-{inside(random, a, POWER)}", SIGN, lambda e: -a.at(e)),
            Piece(f"abs({a.text})", WHOLE, lambda e: abs(a.at(e))),
            Piece(f"|{inside(random, a, WHOLE)}|", WHOLE, lambda e: abs(a.at(e))),
            Piece(f"relu({a.text})", WHOLE, lambda e: max(a.at(e), ZERO)),
            Piece(f"clip({a.text}, {ends})", WHOLE, lambda e: min(max(a.at(e), low), high)),
            Piece(f"sq({a.text})", WHOLE, lambda e: a.at(e) ** 2),
            Piece(f"{inside(random, a, WHOLE)}^3", POWER, lambda e: a.at(e) ** 3),
        ]
    )


def _extreme(random: Random, names: Names, depth: int) -> Piece:
    a, b = (a_number(random, names, depth) for _ in range(2))
    name, of = random.choice([("min", min), ("max", max)])
    return Piece(f"{name}({a.text}, {b.text})", WHOLE, lambda e: of(a.at(e), b.at(e)))


def _of_a_vector(random: Random, names: Names, depth: int) -> Piece:
    v = a_vector(random, names, depth)
    label = random.randrange(v.size)
    shares = [quarter(random) for _ in range(v.size)]
    written = ", ".join(number(random, share).text for share in shares)

    def margin(e: Point) -> Fraction:
        own: list[Fraction] = v.at(e)
        return own[label] - max(x for j, x in enumerate(own) if j != label)

    return random.choice(
        [
            Piece(f"max({v.text})", WHOLE, lambda e: max(v.at(e))),
            Piece(f"min({v.text})", WHOLE, lambda e: min(v.at(e))),
            Piece(f"sum({v.text})", WHOLE, lambda e: sum(v.at(e))),
            Piece(f"mean({v.text})", WHOLE, lambda e: sum(v.at(e)) / Fraction(v.size)),
            Piece(f"norm({v.text}, l1)", WHOLE, lambda e: sum(map(abs, v.at(e)))),
            Piece(f"norm({v.text}, linf)", WHOLE, lambda e: max(map(abs, v.at(e)))),
            Piece(f"margin({v.text}, {label})", WHOLE, margin),
            Piece(
                f"dot([{written}], {v.text})",
                WHOLE,
                lambda e: sum(a * b for a, b in zip(shares, v.at(e), strict=True)),
            ),
        ]
    )


def _of_members(random: Random, names: Names, depth: int) -> Piece:
    a = a_number(random, (*names, "i"), depth)
    first = random.choice([0, 0, 1])
    name, of = random.choice([("sum", sum), ("max", max)])
    text = f"{name}({a.text} for i in {first}..1)"
    return Piece(
        text, WHOLE, lambda e: of([a.at({**e, "i": Fraction(i)}) for i in range(first, 2)])
    )


def _chosen(random: Random, names: Names, depth: int) -> Piece:
    # Claims are made of numbers, and some numbers of claims.
    from tests.query.claims.truths import a_truth

    condition = a_truth(random, names, depth)
    a, b = (a_number(random, names, depth) for _ in range(2))
    text = f"(if {condition.text} then {a.text} else {b.text})"
    return Piece(text, WHOLE, lambda e: a.at(e) if condition.at(e) else b.at(e))


NUMBERS = (
    _sum,
    _sum,
    _product,
    _quotient,
    _unary,
    _unary,
    _extreme,
    _of_a_vector,
    _of_a_vector,
    _of_members,
    _chosen,
)

"""Random claims about the variables that there are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from random import Random
from typing import Any

from tests.query.claims.pieces import (
    AND,
    COMPARED,
    IMPLIES,
    LOOSE,
    NOT,
    OR,
    SUM,
    WHOLE,
    Piece,
    Point,
    inside,
    number,
    quarter,
)
from tests.query.claims.values import Names, a_number, a_vector

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
NORMS: Mapping[str, Callable[[list[Fraction], Fraction], bool]] = {
    "l1": lambda v, r: sum(map(abs, v)) <= r,
    "linf": lambda v, r: max(map(abs, v)) <= r,
    "l2": lambda v, r: sum(x * x for x in v) <= r * r,
}


def a_truth(random: Random, names: Names, depth: int) -> Piece:
    """True or false, of others as deep as that at most."""
    if depth <= 0 or random.random() < 0.35:
        return random.choice(ATOMS)(random, names, depth)
    return random.choice(JOINED)(random, names, depth - 1)


# --- comparisons ----------------------------------------------------------------------------------


def _compared(random: Random, names: Names, depth: int) -> Piece:
    parts = [a_number(random, names, max(depth, 1))]
    parts += [a_number(random, names, 0) for _ in range(random.choice([1, 1, 1, 2, 3]))]
    random.shuffle(parts)
    signs = [random.choice(list(COMPARE)) for _ in parts[1:]]
    text = inside(random, parts[0], SUM)
    for sign, part in zip(signs, parts[1:], strict=True):
        text += f" {sign} {inside(random, part, SUM)}"

    def at(e: Point) -> bool:
        values = [part.at(e) for part in parts]
        pairs = zip(signs, values, values[1:], strict=False)
        return all(COMPARE[sign](a, b) for sign, a, b in pairs)

    return Piece(text, COMPARED, at)


def _entries(random: Random, names: Names, depth: int) -> Piece:
    v, bound = a_vector(random, names, depth), quarter(random)
    sign, name, of = random.choice(list(COMPARE)), *random.choice([("all", all), ("any", any)])
    left = inside(random, v, SUM)
    if random.random() < 0.3:
        left, v = _chosen_vector(random, names, depth, v)
    text = f"{name}({left} {sign} {number(random, bound).text})"
    return Piece(text, WHOLE, lambda e: of(COMPARE[sign](x, bound) for x in v.at(e)))


def _chosen_vector(random: Random, names: Names, depth: int, v: Piece) -> tuple[str, Piece]:
    """One of two vectors, by a condition."""
    condition, w = a_truth(random, names, depth - 1), a_vector(random, names, 0)
    while w.size != v.size:
        w = a_vector(random, names, 0)
    text = f"(if {condition.text} then {v.text} else {w.text})"
    own = Piece(text, WHOLE, lambda e: (v if condition.at(e) else w).at(e), v.size)
    return text, own


def _label(values: list[Fraction], kind: str) -> int | None:
    """The only best one; None where several are."""
    best = max(values) if kind == "argmax" else min(values)
    return values.index(best) if values.count(best) == 1 else None


def _labels(random: Random, names: Names, depth: int) -> Piece:
    v, kind = a_vector(random, names, depth), random.choice(["argmax", "argmin"])
    label, equal = random.randrange(v.size), random.random() < 0.5
    text = f"{kind}({v.text}) {'==' if equal else '!='} {label}"
    return Piece(text, COMPARED, lambda e: (_label(v.at(e), kind) == label) == equal)


def _two_labels(random: Random, names: Names, depth: int) -> Piece:
    v, w = a_vector(random, names, 0), a_vector(random, names, 0)
    while w.size != v.size:
        w = a_vector(random, names, 0)
    one, two = (random.choice(["argmax", "argmin"]) for _ in range(2))
    equal = random.random() < 0.5

    def at(e: Point) -> bool:
        first, second = _label(v.at(e), one), _label(w.at(e), two)
        return (first is not None and first == second) == equal

    return Piece(f"{one}({v.text}) {'==' if equal else '!='} {two}({w.text})", COMPARED, at)


def _length(random: Random, names: Names, depth: int) -> Piece:
    """A Euclidean norm against a number, which may be negative."""
    v, bound = a_vector(random, names, depth), quarter(random, -1, 8)
    sign = random.choice(list(COMPARE))

    def at(e: Point) -> bool:
        if bound < 0:
            return sign in (">", ">=", "!=")
        return COMPARE[sign](sum(x * x for x in v.at(e)), bound * bound)

    return Piece(f"norm({v.text}, l2) {sign} {number(random, bound).text}", COMPARED, at)


# --- membership -----------------------------------------------------------------------------------


def _member(random: Random, names: Names, depth: int) -> Piece:
    left, found = random.choice([_number_in, _vector_in, _label_in])(random, names, depth)
    denied = random.random() < 0.4
    word = "not in" if denied else "in"
    return Piece(f"{left} {word} {found.text}", COMPARED, lambda e: found.at(e) != denied)


def _number_in(random: Random, names: Names, depth: int) -> tuple[str, Piece]:
    a, (low, high) = a_number(random, names, max(depth, 1)), sorted(_quarters(random))
    ends = ", ".join(number(random, end).text for end in (low, high))
    return inside(random, a, SUM), random.choice(
        [
            Piece(f"[{ends}]", WHOLE, lambda e: low <= a.at(e) <= high),
            Piece(f"one_of({ends})", WHOLE, lambda e: a.at(e) in (low, high)),
            Piece(
                f"{{ c in one_of({ends}) where c >= 0 }}",
                WHOLE,
                lambda e: a.at(e) in [c for c in (low, high) if c >= 0],
            ),
        ]
    )


def _vector_in(random: Random, names: Names, depth: int) -> tuple[str, Piece]:
    v, (low, high) = a_vector(random, names, depth), sorted(_quarters(random))
    center, radius = [quarter(random) for _ in range(v.size)], quarter(random, 0, 6)
    norm = random.choice(list(NORMS))
    middle = ", ".join(number(random, c).text for c in center)
    ends = ", ".join(number(random, end).text for end in (low, high))
    ball = f"norm_ball([{middle}], {number(random, radius).text}, {norm})"

    def near(e: Point) -> bool:
        moved = [a - c for a, c in zip(v.at(e), center, strict=True)]
        return NORMS[norm](moved, radius)

    return inside(random, v, SUM), random.choice(
        [
            Piece(f"box({ends})", WHOLE, lambda e: all(low <= x <= high for x in v.at(e))),
            Piece(ball, WHOLE, near),
        ]
    )


def _label_in(random: Random, names: Names, depth: int) -> tuple[str, Piece]:
    v, kind = a_vector(random, names, depth), random.choice(["argmax", "argmin"])
    labels = random.sample(range(v.size), random.randint(1, v.size - 1))
    text = f"one_of({', '.join(map(str, labels))})"
    return f"{kind}({v.text})", Piece(text, WHOLE, lambda e: _label(v.at(e), kind) in labels)


def _quarters(random: Random) -> list[Fraction]:
    return [quarter(random), quarter(random)]


ATOMS = (_compared, _compared, _compared, _entries, _labels, _two_labels, _length, _member, _member)


# --- claims of claims -----------------------------------------------------------------------------


def _connected(random: Random, names: Names, depth: int) -> Piece:
    a, b = (a_truth(random, names, depth) for _ in range(2))
    return random.choice(
        [
            Piece(
                f"{inside(random, a, AND)} and {inside(random, b, NOT)}",
                AND,
                lambda e: a.at(e) and b.at(e),
            ),
            Piece(
                f"{inside(random, a, OR)} or {inside(random, b, AND)}",
                OR,
                lambda e: a.at(e) or b.at(e),
            ),
            Piece(
                f"{inside(random, a, OR)} => {inside(random, b, IMPLIES)}",
                IMPLIES,
                lambda e: not a.at(e) or b.at(e),
            ),
        ]
    )


def _denied(random: Random, names: Names, depth: int) -> Piece:
    a = a_truth(random, names, depth)
    return Piece(f"not {inside(random, a, NOT)}", NOT, lambda e: not a.at(e))


def _by_cases(random: Random, names: Names, depth: int) -> Piece:
    c, a, b = (a_truth(random, names, depth) for _ in range(3))
    text = f"if {c.text} then {a.text} else {b.text}"
    return Piece(text, LOOSE, lambda e: a.at(e) if c.at(e) else b.at(e))


def _of_members(random: Random, names: Names, depth: int) -> Piece:
    """Of 0 and 1, or of 1 alone; some of them by a condition."""
    a = a_truth(random, (*names, "i"), depth)
    given = a_truth(random, (*names, "i"), 0) if random.random() < 0.4 else None
    first = random.choice([0, 0, 1])
    word, of = random.choice([("forall", all), ("exists", any)])
    where = "" if given is None else f" where {inside(random, given, IMPLIES)}"

    def at(e: Point) -> bool:
        points = [{**e, "i": Fraction(i)} for i in range(first, 2)]
        return of(a.at(p) for p in points if given is None or given.at(p))

    return Piece(f"{word} i in {first}..1{where}: {a.text}", LOOSE, at)


def _listed(random: Random, names: Names, depth: int) -> Piece:
    a = a_truth(random, (*names, "i"), depth)
    name, of = random.choice([("all", all), ("any", any)])
    text = f"{name}({inside(random, a, IMPLIES)} for i in 0..1)"
    return Piece(text, WHOLE, lambda e: of(a.at({**e, "i": Fraction(i)}) for i in range(2)))


def _function(random: Random, names: Names, _depth: int) -> Piece:
    v, c = a_vector(random, names, 0), a_number(random, names, 0)
    text = f"large({v.text}, {c.text})"
    return Piece(text, WHOLE, lambda e: v.at(e)[0] >= c.at(e) or v.at(e)[1] >= c.at(e))


JOINED = (_connected, _connected, _connected, _denied, _by_cases, _of_members, _listed, _function)

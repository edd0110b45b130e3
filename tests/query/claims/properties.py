"""Random properties: quantifiers over sets, a condition, and a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

from tests.query.claims.pieces import IMPLIES, Piece, Point, f, inside, number, quarter
from tests.query.claims.truths import NORMS, a_truth
from tests.query.claims.values import Names

Holds = Callable[[Point, Any], bool]
"""Whether a value lies in a set, where other names stand for what a point says."""


@dataclass(frozen=True)
class Variable:
    """`holds`: None of one over 0 and 1, which are tried both."""

    name: str
    text: str
    holds: Holds | None


@dataclass(frozen=True)
class Written:
    """A property. `denied`: `not` stands before it all."""

    text: str
    word: str
    denied: bool
    variables: tuple[Variable, ...]
    where: Piece | None
    claim: Piece

    @property
    def kind(self) -> str:
        """What its query asks for."""
        return "forall" if (self.word == "forall") != self.denied else "exists"

    def is_found(self, point: Point) -> bool:
        """Whether it is one that the query looks for, with 0 or 1 for i."""
        finite = any(v.holds is None for v in self.variables)
        tried = [{**point, "i": Fraction(i)} for i in range(2)] if finite else [point]
        return any(self._found_at(each) for each in tried)

    def _found_at(self, point: Point) -> bool:
        sets = ((v.holds, point[v.name]) for v in self.variables if v.holds is not None)
        if not all(holds(point, value) for holds, value in sets):
            return False
        if self.where is not None and not self.where.at(point):
            return False
        return self.claim.at(point) == (self.word == "exists")


def a_property(random: Random) -> Written:
    """Named p."""
    word, denied = random.choice(["forall", "forall", "exists"]), random.random() < 0.3
    variables = _variables(random)
    names = tuple(v.name for v in variables)
    where = a_truth(random, names, random.choice([0, 1])) if random.random() < 0.5 else None
    claim = a_truth(random, names, random.choice([1, 2, 2, 3]))
    given = "" if where is None else f" where {inside(random, where, IMPLIES)}"
    if not denied and random.random() < 0.5:
        lines = [*(f"{word} {v.name} in {v.text}" for v in variables), given.strip()]
        lines = [line for line in (*lines, f"show {claim.text}") if line]
        text = "property p {\n  " + "\n  ".join(lines) + "\n}"
    else:
        over = ", ".join(f"{v.name} in {v.text}" for v in variables)
        inner = f"{word} {over}{given}: {claim.text}"
        text = f"property p = {f'not ({inner})' if denied else inner}"
    return Written(text, word, denied, variables, where, claim)


def _variables(random: Random) -> tuple[Variable, ...]:
    found: list[Variable] = []
    finite = Variable("i", "0..1", None)
    place = random.choice(["first", "last", None, None, None, None])
    if place == "first":
        found.append(finite)
    for name in ("x", "y") if random.random() < 0.5 else ("x",):
        found.append(_over_a_set(random, name, tuple(v.name for v in found)))
    if random.random() < 0.3:
        low = quarter(random, -3, 3)
        high = low + quarter(random, 0, 4)
        ends = ", ".join(number(random, end).text for end in (low, high))
        found.append(Variable("r", f"[{ends}]", lambda _, v: low <= v <= high))
    if place == "last":
        found.append(finite)
    return tuple(found)


def _over_a_set(random: Random, name: str, before: Names) -> Variable:
    (one, in_one), (two, in_two) = _a_box(random), _a_box(random)
    ball, in_ball = _a_ball(random, before)
    kind = random.choice(["box", "box", "ball", "both", "boxes", "subset"])
    if kind == "box":
        return Variable(name, one, in_one)
    if kind == "ball" and "x" not in before:
        return Variable(name, ball, in_ball)
    if kind in ("ball", "both"):
        parts = random.sample([one, ball], 2)
        return Variable(name, " & ".join(parts), lambda e, v: in_one(e, v) and in_ball(e, v))
    if kind == "boxes":
        return Variable(name, f"{one} & {two}", lambda e, v: in_one(e, v) and in_two(e, v))
    condition = a_truth(random, (*before, name), 1)
    text = f"{{ {name} in {one} where {inside(random, condition, IMPLIES)} }}"
    return Variable(name, text, lambda e, v: in_one(e, v) and condition.at({**e, name: v}))


def _a_box(random: Random) -> tuple[str, Holds]:
    low = [quarter(random, -4, 2) for _ in range(2)]
    high = [v + quarter(random, 0, 6) for v in low]
    corners = (", ".join(number(random, v).text for v in corner) for corner in (low, high))
    text = "box([{}], [{}])".format(*corners)
    ends = list(zip(low, high, strict=True))
    return text, lambda _, v: all(a <= x <= b for x, (a, b) in zip(v, ends, strict=True))


def _a_ball(random: Random, before: Names) -> tuple[str, Holds]:
    """Around a constant, or what the variable before makes."""
    fixed, radius = [quarter(random, -3, 3) for _ in range(2)], quarter(random, 0, 6)
    norm = random.choice(list(NORMS))
    written = ", ".join(number(random, c).text for c in fixed)
    centers: dict[str, Callable[[Point], list[Fraction]]] = {f"[{written}]": lambda _: fixed}
    if "x" in before:
        centers = {
            "x": lambda e: e["x"],
            "x + 1/4": lambda e: [v + Fraction(1, 4) for v in e["x"]],
            "f(x)": lambda e: f(e["x"]),
        }
    text = random.choice(list(centers))
    center = centers[text]

    def holds(e: Point, v: list[Fraction]) -> bool:
        return NORMS[norm]([a - c for a, c in zip(v, center(e), strict=True)], radius)

    return f"norm_ball({text}, {number(random, radius).text}, {norm})", holds

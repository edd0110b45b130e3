"""Expressions mean what they say: the query of a property has exactly the points where it fails.

Every term is written twice, in the language and in Python; the law is tested on exact points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.query.specs import network_f, only_query, unsafe

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Point:
    """A point of the space of the test specs, and what its networks say there."""

    a: Fraction
    b: Fraction

    @property
    def f(self) -> list[Fraction]:
        return network_f(self.a, self.b)

    @property
    def g(self) -> list[Fraction]:
        return [(self.a - Fraction(1, 3)) / 3, self.b]


Number = Callable[[Point], Fraction]
Truth = Callable[[Point], bool]


@dataclass(frozen=True)
class Term:
    text: str
    value: Number

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Claim:
    text: str
    value: Truth

    def __repr__(self) -> str:
        return self.text


LINEAR = (
    Term("x.b", lambda p: p.b),
    Term("f(x).L", lambda p: p.f[0]),
    Term("(f(x)[1] - 2 * x.b)", lambda p: p.f[1] - 2 * p.b),
    Term("sum(f(x))", lambda p: p.f[0] + p.f[1]),
    Term("mean(f(x))", lambda p: (p.f[0] + p.f[1]) / 2),
    Term("dot(f(x), [1, -2])", lambda p: p.f[0] - 2 * p.f[1]),
    Term("([[1, 2]] @ f(x))[0]", lambda p: p.f[0] + 2 * p.f[1]),
    Term("sum(f(x)[i] for i in 0..1 where i != 0)", lambda p: p.f[1]),
    Term("1/3", lambda p: Fraction(1, 3)),
    Term("normalized(x)[0]", lambda p: p.g[0]),
)
PIECEWISE = (
    Term("|f(x).L - x.b|", lambda p: abs(p.f[0] - p.b)),
    Term("abs(x.b)", lambda p: abs(p.b)),
    Term("max(f(x))", lambda p: max(p.f)),
    Term("min(f(x)[0], x.b, 1/4)", lambda p: min(p.f[0], p.b, Fraction(1, 4))),
    Term("norm(f(x) - g(x), l1)", lambda p: sum(abs(u - v) for u, v in zip(p.f, p.g))),  # noqa: B905
    Term("norm(f(x), linf)", lambda p: max(map(abs, p.f))),
    Term("clip(x.b, -1, 1/2)", lambda p: min(max(p.b, Fraction(-1)), HALF)),
    Term("relu(f(x)[1])", lambda p: max(p.f[1], Fraction(0))),
    Term("margin(f(x), R)", lambda p: p.f[1] - p.f[0]),
    Term("sum(abs(f(x)))", lambda p: sum(map(abs, p.f))),
    Term("(max(f(x)) - min(f(x)))", lambda p: max(p.f) - min(p.f)),
    Term("(2 * max(x.b, 0) - |f(x).R|)", lambda p: 2 * max(p.b, Fraction(0)) - abs(p.f[1])),
    Term("max(|f(x)[i]| for i in 0..1)", lambda p: max(map(abs, p.f))),
)
POLYNOMIAL = (
    Term("f(x).L * x.b", lambda p: p.f[0] * p.b),
    Term("x.b ^ 2", lambda p: p.b**2),
    Term("x.b ^ 3", lambda p: p.b**3),
    Term("dot(f(x), g(x))", lambda p: p.f[0] * p.g[0] + p.f[1] * p.g[1]),
    Term("max(x.b, 0) * f(x)[1]", lambda p: max(p.b, Fraction(0)) * p.f[1]),
)
TERMS = st.sampled_from(LINEAR + PIECEWISE + POLYNOMIAL)
COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": lambda u, v: u <= v,
    "<": lambda u, v: u < v,
    ">=": lambda u, v: u >= v,
    ">": lambda u, v: u > v,
    "==": lambda u, v: u == v,
    "!=": lambda u, v: u != v,
}


def comparison(left: Term, operator: str, right: Term) -> Claim:
    holds = COMPARE[operator]
    return Claim(
        f"{left.text} {operator} {right.text}", lambda p: holds(left.value(p), right.value(p))
    )


def best(values: list[Fraction]) -> int | None:
    return values.index(max(values)) if values[0] != values[1] else None


FIXED = (
    Claim("norm(f(x), l2) <= 3/4", lambda p: p.f[0] ** 2 + p.f[1] ** 2 <= Fraction(9, 16)),
    Claim("norm(g(x), l2) > 1/2", lambda p: p.g[0] ** 2 + p.g[1] ** 2 > Fraction(1, 4)),
    Claim(
        "norm(f(x), l2) < norm(g(x), l2)",
        lambda p: p.f[0] ** 2 + p.f[1] ** 2 < p.g[0] ** 2 + p.g[1] ** 2,
    ),
    Claim("2 * norm(g(x), l2) <= x.b", lambda p: p.b >= 0 and 4 * sum(v * v for v in p.g) <= p.b**2),  # noqa: E501
    Claim("norm(flatten(x) - [0, 0], l2) <= -1", lambda p: False),
    Claim("x.b in [-1, 1/2]", lambda p: -1 <= p.b <= HALF),
    Claim("f(x) in box(0, 1)", lambda p: all(0 <= v <= 1 for v in p.f)),
    Claim("f(x) not in norm_ball([0, 0], 1, l1)", lambda p: sum(map(abs, p.f)) > 1),
    Claim("g(x) in norm_ball([0, 1/2], 1, l2)", lambda p: p.g[0] ** 2 + (p.b - HALF) ** 2 <= 1),
    Claim("argmax(f(x)) == argmax(g(x))", lambda p: best(p.f) == best(p.g) != None),  # noqa: E711
    Claim("argmax(f(x)) in one_of(R)", lambda p: best(p.f) == 1),
    Claim("(if x.b > 0 then f(x).L <= 1 else x.b <= -1)", lambda p: p.f[0] <= 1 if p.b > 0 else p.b <= -1),  # noqa: E501
    Claim("(if f(x).L > x.b then f(x).R else x.b) <= 1/4", lambda p: (p.f[1] if p.f[0] > p.b else p.b) <= Fraction(1, 4)),  # noqa: E501
    Claim("all(f(x) <= 1)", lambda p: all(v <= 1 for v in p.f)),
    Claim("any(f(x)[i] <= g(x)[i] for i in 0..1)", lambda p: any(u <= v for u, v in zip(p.f, p.g))),  # noqa: B905
    Claim("(forall i in 0..1: f(x)[i] >= -1/4)", lambda p: all(v >= -Fraction(1, 4) for v in p.f)),
    Claim("(exists i in 0..1 where i > 0: f(x)[i] >= 1)", lambda p: p.f[1] >= 1),
)  # fmt: skip
CLAIMS = st.one_of(
    st.builds(comparison, TERMS, st.sampled_from(sorted(COMPARE)), TERMS), st.sampled_from(FIXED)
)
POINTS = st.builds(
    Point,
    st.integers(-4, 8).map(lambda n: Fraction(n, 4)),
    st.integers(-8, 4).map(lambda n: Fraction(n, 4)),
)


@given(CLAIMS, CLAIMS, st.lists(POINTS, min_size=4, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_query_has_the_points_where_the_property_fails(
    where: Claim, claim: Claim, points: list[Point]
) -> None:
    query = only_query(
        f"property p {{ forall x in Point where {where.text} show {claim.text} }}\ncheck p using smt"  # noqa: E501
    )
    for point in points:
        fails = where.value(point) and not claim.value(point)
        assert unsafe(query, [point.a, point.b]) == fails


@given(CLAIMS, st.lists(POINTS, min_size=4, max_size=8))
@settings(max_examples=60, deadline=None)
def test_negation_turns_the_points_around(claim: Claim, points: list[Point]) -> None:
    for text, kind in (
        (f"exists x in Point: {claim.text}", "exists"),
        (f"not (exists x in Point: {claim.text})", "forall"),
    ):
        query = only_query(f"property p = {text}\ncheck p using smt")
        assert query.kind == kind
        assert all(unsafe(query, [p.a, p.b]) == claim.value(p) for p in points)

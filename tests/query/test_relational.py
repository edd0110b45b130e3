"""Several variables: copies of one input, sets that depend on one another, whole numbers, images."""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import pytest

from specdsl.diagnostics import SpecError
from specdsl.query.query import Query
from tests.query.specs import obligations, unsafe

HEAD = """spec 1.0
space Person {
  income: real in [0, 4]  normalize (mean = 2, range = 4)
  age:    int in [1, 3]
  group:  category in [0, 2] encode one_hot
}
network score: Person -> real[1] { layer dense(weight = [[4, 1, 0, 0, 2]], bias = [2]) }
network wide: real[2] -> real[2] { layer dense(weight = [[1, 1], [1, -1]], bias = [0, 0]) }
"""
Values = dict[str, Sequence[Fraction | int]]


def query_of(text: str) -> Query:
    (obligation,), resources = obligations(HEAD + text)
    return obligation.query(resources)


def code_of(text: str) -> str:
    try:
        query_of(text)
    except SpecError as error:
        return error.diagnostics[0].code
    raise AssertionError("nothing was refused")


def fails_at(query: Query, values: Values) -> bool | None:
    """Whether the query has the point; None where two variables that share a place disagree."""
    flat: list[Fraction | None] = [None] * query.graph.size(query.graph.input)
    for variable in query.variables:
        given = values[variable.name]
        for place, value in zip(variable.positions.tolist(), given, strict=True):
            if flat[place] not in (None, Fraction(value)):
                return None
            flat[place] = Fraction(value)
    known = [value for value in flat if value is not None]
    return unsafe(query, known)


def people() -> list[tuple[Fraction, int, int]]:
    return [(Fraction(i, 2), a, g) for i in (0, 3, 8) for a in (1, 3) for g in range(3)]


def score(person: tuple[Fraction, int, int]) -> Fraction:
    income, age, group = person
    return income + age + 2 * (group == 2)


def named(name: str, person: tuple[Fraction, int, int]) -> Values:
    income, age, group = person
    one_hot = [int(group == g) for g in range(3)]
    return {f"{name}.income": [income], f"{name}.age": [age], f"{name}.group": one_hot}


PAIRS = list(product(people(), people()))


def test_equal_entries_share_a_place_and_the_network_is_called_twice() -> None:
    query = query_of(
        "property fair = forall a in Person, b in Person where same_except(a, b, group):"
        " |score(a) - score(b)| <= 1\ncheck fair"
    )
    assert query.graph.size(query.graph.input) == 2 + 3 + 3
    assert len(query.calls) == 2
    assert query.integers.size == 1 + 3 + 3
    for a, b in PAIRS:
        fails = fails_at(query, named("a", a) | named("b", b))
        if a[:2] != b[:2]:
            assert fails is None
        else:
            assert fails == (abs(score(a) - score(b)) > 1)


@pytest.mark.parametrize(
    "claim",
    [
        "same_except(a, b, income) and a.income + 1 <= b.income => score(a) < score(b)",
        "a.group == b.group => score(a) - score(b) <= 6",
        "(all(a[f] == b[f] for f in fields(Person) where f != age)) => score(a) <= score(b) + 1",
        "score(replace(a, group = 0)) <= score(a)",
        "sum(|a[f] - b[f]| for f in fields(Person)) >= 1 or score(a) == score(b)",
    ],
)
def test_claims_about_two_records(claim: str) -> None:
    query = query_of(f"property p = forall a in Person, b in Person: {claim}\ncheck p")

    def holds(a: tuple[Fraction, int, int], b: tuple[Fraction, int, int]) -> bool:
        match claim[:8]:
            case "same_exc":
                return not (a[1:] == b[1:] and a[0] + 1 <= b[0]) or score(a) < score(b)
            case "a.group ":
                return a[2] != b[2] or score(a) - score(b) <= 6
            case "(all(a[f":
                return (a[0], a[2]) != (b[0], b[2]) or score(a) <= score(b) + 1
            case "score(re":
                return score((a[0], a[1], 0)) <= score(a)
            case _:
                apart = sum(abs(u - v) for u, v in zip(a, b, strict=True))
                return apart >= 1 or score(a) == score(b)

    for a, b in PAIRS:
        fails = fails_at(query, named("a", a) | named("b", b))
        # Where the claim's condition makes entries equal, other points are not in the query.
        assert bool(fails) == (not holds(a, b))


def test_one_hot_entries_are_one_class() -> None:
    query = query_of("property p = exists a in Person: score(a) >= -100\ncheck p")
    point = named("a", (Fraction(1), 1, 1))
    assert fails_at(query, point)
    assert not fails_at(query, point | {"a.group": [1, 1, 0]})
    assert not fails_at(query, point | {"a.group": [0, 0, 0]})


GRID = [Fraction(n, 4) for n in range(-2, 7)]


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        ("norm_ball(x, 1/4, linf)", lambda x, y: max(abs(u - v) for u, v in zip(x, y)) <= 0.25),  # noqa: B905
        ("norm_ball(x, 1/2, l1)", lambda x, y: sum(abs(u - v) for u, v in zip(x, y)) <= 0.5),  # noqa: B905
        ("norm_ball(x, 1/2, l2)", lambda x, y: sum((u - v) ** 2 for u, v in zip(x, y)) <= 0.25),  # noqa: B905
        ("norm_ball(x, 1/4, linf, scale = [1, 1/2])", lambda x, y: abs(x[0] - y[0]) <= 0.25 and abs(x[1] - y[1]) <= 0.5),  # noqa: E501
        ("box(x, 1)", lambda x, y: all(u <= v <= 1 for u, v in zip(x, y))),  # noqa: B905
        ("norm_ball([0, 1/2], 1/2, l1) & box(0, 1)", lambda x, y: abs(y[0]) + abs(y[1] - Fraction(1, 2)) <= 0.5 and all(0 <= v <= 1 for v in y)),  # noqa: E501
        ("norm_ball([0, 0], 1, l2) & norm_ball([1, 0], 1, l2)", lambda x, y: y[0] ** 2 + y[1] ** 2 <= 1 and (y[0] - 1) ** 2 + y[1] ** 2 <= 1),  # noqa: E501
        ("{ z in box([0, 0], [1, 1]) where z[0] + x[1] <= z[1] }", lambda x, y: all(0 <= v <= 1 for v in y) and y[0] + x[1] <= y[1]),  # noqa: E501
    ],
)  # fmt: skip
def test_a_set_that_depends_on_a_variable(region: str, inside: object) -> None:
    query = query_of(
        f"property p = forall x in box([0, 0], [1, 1]), y in {region}: wide(x)[0] > wide(y)[1]\n"
        "check p"
    )
    assert callable(inside)
    for x in product(GRID[2:7:2], repeat=2):
        for y in product(GRID, repeat=2):
            expected = inside(x, y) and not x[0] + x[1] > y[0] - y[1]
            assert fails_at(query, {"x": list(x), "y": list(y)}) == expected


def test_a_variable_over_an_image_is_computed() -> None:
    query = query_of(
        "property p = forall z in { (1 - t) * [0, 1] + t * [2, 0] for t in [0, 1] }:"
        " wide(z)[0] <= 3/2\ncheck p"
    )
    for t in (Fraction(n, 8) for n in range(9)):
        z = (2 * t, 1 - t)
        assert fails_at(query, {"t": [t]}) == (sum(z) > Fraction(3, 2))


def test_quantifiers_inside_a_claim_come_to_the_front() -> None:
    query = query_of(
        "property p = forall x in box([0, 0], [1, 1]):"
        " wide(x)[0] <= 1 or (forall y in norm_ball(x, 1/4, linf): wide(y)[1] <= 1/2)\ncheck p"
    )
    assert query.kind == "forall"
    for x in product(GRID[2:7], repeat=2):
        for y in product(GRID, repeat=2):
            near = max(abs(u - v) for u, v in zip(x, y, strict=True)) <= Fraction(1, 4)
            expected = x[0] + x[1] > 1 and near and y[0] - y[1] > Fraction(1, 2)
            assert fails_at(query, {"x": list(x), "y": list(y)}) == expected


def test_an_empty_set_inside_a_claim_costs_its_alternative_only() -> None:
    query = query_of(
        "property p = forall x in box([0, 0], [1, 1]):"
        " wide(x)[0] <= 1 and (forall y in norm_ball([5, 5], 1, l1) & box(0, 1): wide(y)[1] < 0)\n"
        "check p"
    )
    assert fails_at(query, {"x": [1, 1]})
    assert not fails_at(query, {"x": [0, 1]})


def test_alternation_is_refused() -> None:
    text = (
        "property p = forall x in box([0, 0], [1, 1]): exists y in box([0, 0], [1, 1]): {}\ncheck p"
    )
    claim = "wide(x)[0] <= wide(y)[1]"
    assert code_of(text.format(claim)) == "E0705"
    other = text.replace("exists", "forall").replace("forall x", "exists x")
    assert code_of(other.format(claim)) == "E0705"

"""Nothing of a claim gets lost on the way to its query: members, entries, whole numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from specdsl.query.query import Query
from tests.query.specs import obligations, only_query, refusal, unsafe

NETWORK = (
    "network h: real[2] -> real[2] { layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0]) }\n"
    "network s: real[2] -> real[2] { layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0]) "
    "layer sigmoid }\n"
)
WHOLE = (
    "space Whole { n: int in [0, 10] }\n"
    "space Kind { c: category in [0, 2] encode one_hot }\n"
    "network half: real[1] -> Whole { layer dense(weight = [[1/2]], bias = [0]) }\n"
    "network share: real[3] -> Kind "
    "{ layer dense(weight = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], bias = [0, 0, 0]) }\n"
)


def one(text: str) -> Query:
    return only_query(f"{NETWORK}{WHOLE}property p = {text}\ncheck p")


def refused(text: str) -> str:
    error = refusal(f"{NETWORK}{WHOLE}property p = {text}\ncheck p")
    return error.diagnostics[0].code


def quarters(lower: int, upper: int) -> list[Fraction]:
    return [Fraction(n, 4) for n in range(4 * lower, 4 * upper + 1)]


# --- members of finite sets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        "forall x in box([0, 0], [1, 1]), c in { c in one_of(1/4, 3/4) where x[0] >= c }: "
        "h(x)[0] >= 2",
        "forall x in box([0, 0], [1, 1]): x[0] not in { c in one_of(0, 1) where x[1] >= c }",
        "forall x in box([0, 0], [1, 1]): "
        "all(h(x)[0] >= 2 for c in { c in one_of(0, 1) where h(x)[1] >= c })",
    ],
)
def test_a_condition_that_varies_takes_no_member_away(claim: str) -> None:
    assert refused(claim) == "E0901"


def test_a_condition_is_decided_where_numbers_are_irrational() -> None:
    claim = "all(h(x)[0] >= 2 for i in { i in 0..1 where s([3, -3])[i] >= 1/2 })"
    query = one(f"forall x in box([0, 0], [1, 1]): {claim}")
    assert unsafe(query, [Fraction(1), Fraction(1)])
    text = f"{NETWORK}property p = forall i in {{ i in 0..3 where exp(1) >= i }}, "
    found, _ = obligations(f"spec 1.0\n{text}x in box([0, 0], [1, 1]): h(x)[0] >= i\ncheck p")
    assert [each.id.rpartition("[")[2] for each in found] == ["0]", "1]", "2]"]


def test_a_comprehension_gives_all_its_members() -> None:
    text = "property p = forall c in one_of(i for i in 0..150), x in box([0, 0], [1, 1]): "
    found, _ = obligations(f"spec 1.0\n{NETWORK}{text}h(x)[0] <= 120 - c\ncheck p")
    assert len(found) == 151
    assert len({each.id for each in found}) == 151
    query = one(
        "forall x in box([0, 0], [1, 1]), c in one_of(i for i in 0..150): h(x)[0] <= 120 - c"
    )
    assert unsafe(query, [Fraction(0), Fraction(0)])


def test_a_comprehension_may_hold_a_quantifier() -> None:
    query = one(
        "forall x in box([0, 0], [1, 1]): all((forall j in 0..1: x[j] >= i - 1/2) for i in 0..1)"
    )
    assert unsafe(query, [Fraction(1), Fraction(1, 4)])
    assert not unsafe(query, [Fraction(1), Fraction(1, 2)])


# --- entries of a choice --------------------------------------------------------------------------


@pytest.mark.parametrize("joined", ["all", "any"])
@pytest.mark.parametrize("denied", [False, True])
@pytest.mark.parametrize("operator", ["<=", ">", "==", "!="])
def test_a_choice_of_tensors_is_compared_entry_by_entry(
    joined: str, denied: bool, operator: str
) -> None:
    prefix = "not " if denied else ""
    claim = f"{prefix}{joined}((if x[0] >= 1/2 then x else 1 - x) {operator} 1/2)"
    query = one(f"forall x in box([0, 0], [1, 1]): {claim}")
    for a, b in product(quarters(0, 1), repeat=2):
        chosen = [a, b] if a >= Fraction(1, 2) else [1 - a, 1 - b]
        said = [_compare(operator, value) for value in chosen]
        holds = (all(said) if joined == "all" else any(said)) != denied
        assert unsafe(query, [a, b]) != holds


def _compare(operator: str, value: Fraction) -> bool:
    half = Fraction(1, 2)
    return {"<=": value <= half, ">": value > half, "==": value == half, "!=": value != half}[
        operator
    ]


def test_a_number_beside_a_tensor_stands_for_every_entry() -> None:
    query = one("forall x in box([0, 0], [1, 1]): all((if x[0] >= 1/2 then x else h(x)) >= 1/4)")
    assert unsafe(query, [Fraction(1), Fraction(0)])
    assert not unsafe(query, [Fraction(1), Fraction(1, 4)])


# --- whole numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("denied", ["", "not "])
def test_membership_asks_for_whole_numbers(denied: str) -> None:
    query = one(f"forall r in [-1, 12]: {denied}(r in Whole)")
    for r in quarters(-1, 12):
        inside = r.denominator == 1 and 0 <= r <= 10
        assert unsafe(query, [r]) == (inside == bool(denied))


def test_no_witness_lies_between_whole_numbers() -> None:
    assert not one("exists r in [1/5, 4/5]: r in Whole").cases
    assert one("exists r in [1/5, 6/5]: r in Whole").cases


def test_what_a_network_says_need_not_be_whole() -> None:
    query = one("forall r in box([0], [3]): half(r) in Whole")
    assert unsafe(query, [Fraction(1)])
    assert not unsafe(query, [Fraction(2)])


def test_what_is_whole_by_itself_stays_in_its_space() -> None:
    query = one("forall a in Whole where a.n <= 4: 2 * a.n + 1 in Whole")
    assert not query.cases


def test_a_share_of_every_class_is_no_class() -> None:
    query = one("forall v in box([0, 0, 0], [1, 1, 1]): share(v) in Kind")
    half, one_, zero = Fraction(1, 2), Fraction(1), Fraction(0)
    assert unsafe(query, [half, half, zero])
    assert not unsafe(query, [zero, one_, zero])
    assert unsafe(query, [zero, one_, one_])


def test_whole_numbers_without_end_are_refused() -> None:
    spaces = "space Wide { n: int in [0, 100000] }\n"
    error = refusal(f"{spaces}property p = forall r in [0, 1]: r in Wide\ncheck p")
    assert error.diagnostics[0].code == "E0901"
    assert "100,001" in error.diagnostics[0].message


def test_a_class_that_is_none_is_refused() -> None:
    assert refused("forall a in Kind: replace(a, c = 7) in Kind") == "E0752"

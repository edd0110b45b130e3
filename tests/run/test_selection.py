"""`-k`: which ids an expression selects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.run.selection import parse_selection

IDS = ["f.spec::phi1", "f.spec::phi3", "f.spec::phi10", "f.spec::robust[1]", "f.spec::robust[12]"]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("phi1", [0]),
        ("phi", [0, 1, 2]),
        ("phi1 or phi3", [0, 1]),
        ("phi and not phi3", [0, 2]),
        ("not phi", [3, 4]),
        ("ROBUST[1]", [3]),
        ("[1", [3]),
        ("not (phi1 or robust)", [1, 2]),
        ("robust and not 12 or phi10", [2, 3]),
        ("nothing", []),
    ],
)
def test_an_expression_selects_the_ids_that_contain_its_words(text: str, chosen: list[int]) -> None:
    selection = parse_selection(text)
    assert [i for i, id in enumerate(IDS) if selection.matches(id)] == chosen


DEEP = "(" * 400 + "phi1" + ")" * 400


@pytest.mark.parametrize(
    "text", ["", "and", "phi1 or", "(phi1", "phi1)", "phi1 phi3", "not", "()", DEEP, "not " * 900]
)
def test_a_malformed_expression_is_a_diagnostic(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_selection(text)
    assert caught.value.diagnostics[0].code == "E0851"


@given(st.sampled_from(IDS), st.sampled_from(IDS), st.sampled_from(IDS))
def test_or_binds_weaker_than_and(a: str, b: str, id: str) -> None:
    word_a, word_b = a.rpartition("::")[2], b.rpartition("::")[2]
    left = parse_selection(f"{word_a} or {word_b} and nothing")
    right = parse_selection(f"{word_a} or ({word_b} and nothing)")
    assert left.matches(id) == right.matches(id)

"""The page of the certificate format says what the checker does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from specdsl.proof import container
from specdsl.proof.curves import CURVES
from specdsl.proof.network import EVALUATED, MAX_ENTRIES, MAX_NODES
from specdsl.proof.operators import FACTOR_ROUNDINGS, MAPS
from specdsl.proof.question import DTYPES, MAX_DIGITS, SEMANTICS
from specdsl.proof.relaxations import NONLINEAR

PAGE = (Path(__file__).parents[2] / "docs" / "certificate_format.md").read_text("utf-8")


def rows(first: str) -> dict[str, list[str]]:
    """Of the table whose head begins with a word: the other cells, by every name in the first."""
    start = PAGE.index(f"| {first} |")
    lines = PAGE[start:].split("\n\n")[0].splitlines()[2:]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return {name: rest for head, *rest in cells for name in re.findall("`(.+?)`", head)}


def test_curves_have_the_units_that_the_page_says() -> None:
    said = {name: int(units) for name, (_, units, _) in rows("`curve`").items()}
    assert said == {name: curve.single_units for name, curve in CURVES.items()}


@pytest.mark.parametrize(
    ("head", "names"),
    [("`op`", {"affine", *NONLINEAR}), ("`kind` of a map", set(MAPS))],
    ids=["ops", "maps"],
)
def test_tables_have_every_name(head: str, names: set[str]) -> None:
    assert set(rows(head)) == names


def test_numbers_and_words_are_there() -> None:
    assert container.MAGIC == b"sdcert 1\n"
    assert "`sdcert 1` and a line feed" in PAGE
    assert container.MAX_HEADER == 2**26
    assert container.MAX_SECTION == 2**30
    assert MAX_NODES == 50_000
    assert MAX_ENTRIES == 2**24
    for text in ("at most 2^26", "at most 2^30", "at most 50,000 nodes", "at most 2^24 entries"):
        assert text in PAGE
    assert f"at most {MAX_DIGITS:,} letters" in PAGE
    assert f"{FACTOR_ROUNDINGS} more with `hidden`" in PAGE
    for word in (*SEMANTICS, *EVALUATED, *DTYPES, "q"):
        assert f"`{word}`" in PAGE

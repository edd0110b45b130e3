"""The formatter keeps words and comments, and finds nothing to do a second time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.language.parsing.parser import _lark, parse
from specdsl.language.parsing.scan import lexemes
from specdsl.language.printing.formatter import format_source
from specdsl.language.printing.gaps import gaps_of
from specdsl.language.printing.layout import WIDTH
from specdsl.language.printing.phrases import WORD
from specdsl.language.printing.printer import print_program
from specdsl.language.printing.styles import ATOMS, BRACKETS, CHAINS, OPTIONS, SPREAD, STYLES
from specdsl.source import Source
from tests.conftest import Golden
from tests.language.strategies import programs

ROOT = Path(__file__).resolve().parents[2]
# Not parsed at all; all other broken specs have a form.
MALFORMED = {"e0902_unknown_version", "long-unit-in-the-way"}


def source(text: str) -> Source:
    return Source("test.spec", text)


def formatted(text: str) -> str:
    return format_source(source(text))


def words(text: str) -> list[str]:
    return [word.text for word in lexemes(text)]


def comments(text: str) -> list[str]:
    return [c.text for gap in gaps_of(text, lexemes(text)) for c in gap.comments]


def assert_laws(text: str) -> str:
    once = formatted(text)
    assert words(once) == words(text)
    assert comments(once) == comments(text)
    assert parse(source(once)) == parse(source(text))
    assert formatted(once) == once
    assert not any(line.endswith(" ") for line in once.split("\n"))
    assert "\n\n\n" not in once
    assert once.endswith("\n") or not once
    assert not once.startswith("\n")
    return once


@st.composite
def layouts(draw: st.DrawFn) -> str:
    """A program with blanks, line ends and comments between its words as nobody would write them.

    Where words were glued they may come apart, and where they were apart they stay so.
    """
    text = print_program(draw(programs))
    pieces = lexemes(text)
    gap = st.sampled_from(
        [
            "",
            "",
            "",
            " ",
            "\n ",
            "\n\n ",
            "\n\n\n ",
            "\t",
            "  # c\n ",
            "\n# own\n ",
            "\n\n  #x \n\n ",
        ]
    )
    out = draw(gap)
    for word, after in zip(pieces, [*pieces[1:], None], strict=False):
        out += word.text
        out += draw(gap) or (text[word.end : after.start] if after else "")
    return out


@given(layouts())
@settings(max_examples=150, deadline=None)
def test_words_and_comments_stay_and_a_second_time_changes_nothing(text: str) -> None:
    assert_laws(text)


@pytest.mark.slow
@given(layouts())
@settings(max_examples=6_000, deadline=None)
def test_the_same_of_many_more_programs(text: str) -> None:
    assert_laws(text)


def specs() -> list[Path]:
    """Of the project, but for those that are meant to be malformed."""
    folders = ("specs", "examples", "tests")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.spec"))
    return sorted(path for path in found if path.stem not in MALFORMED)


@pytest.mark.parametrize("path", specs(), ids=lambda path: path.stem)
def test_the_specs_of_the_project_keep_their_meaning(path: Path) -> None:
    assert_laws(path.read_text())


def test_the_design_examples_keep_their_meaning_and_fit(shared: Path) -> None:
    for path in sorted((shared / "design/examples").glob("*.spec")):
        once = assert_laws(path.read_text())
        assert all(len(line.split("  #")[0]) <= WIDTH for line in once.splitlines())


def test_the_form_is_as_agreed(golden: Golden) -> None:
    text = (Path(__file__).parent / "unformatted.spec").read_text()
    golden.check("syntax/formatted.spec", assert_laws(text))


def test_styles_are_of_rules_that_the_grammar_has() -> None:
    rules = {str(rule.alias or rule.origin.name) for rule in _lark().rules}
    named = {*STYLES, *BRACKETS, *SPREAD, *CHAINS, *ATOMS, *OPTIONS} - {WORD}
    assert named - rules == set()


def test_nothing_stays_nothing() -> None:
    assert formatted("") == formatted(" \n\n") == ""
    assert formatted("\n\n# a\n\n\n# b") == "# a\n\n# b\n"


def test_a_syntax_error_is_refused() -> None:
    with pytest.raises(SpecError):
        formatted("let a =")

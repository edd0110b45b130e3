"""The grammar, the limits of the parser, its cache, and its going on after errors."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError, render
from specdsl.language import syntax
from specdsl.language.parsing import parser
from specdsl.language.parsing.grammar import grammar_text
from specdsl.language.parsing.parser import parse, parse_expression, parse_recovering
from specdsl.language.parsing.scan import RESERVED, STATEMENTS
from specdsl.language.parsing.tree_builder import MAX_DEPTH
from specdsl.language.printing.dump import dump_tree
from specdsl.language.printing.printer import print_statement
from specdsl.source import Source
from tests.language.strategies import KEYWORDS, items


def source(text: str) -> Source:
    return Source("test.spec", text)


def codes(text: str) -> list[str]:
    return [error.code for error in parse_recovering(source(text))[1]]


# --- the grammar ----------------------------------------------------------------------------------


def test_the_grammar_is_lalr_without_conflicts() -> None:
    pytest.importorskip("interegular")
    parser._make(grammar_text(), strict=True)


def test_the_lists_of_keywords_are_those_of_the_grammar() -> None:
    words = {word for word in parser._spellings().values() if word.isalpha()}
    assert words == {*KEYWORDS, *RESERVED}
    assert words > STATEMENTS
    assert all(f"{word}|" in grammar_text() or f"|{word})" in grammar_text() for word in RESERVED)


def test_all_examples_parse(shared: Path) -> None:
    paths = sorted((shared / "design/examples").glob("*.spec"))
    assert len(paths) == 9
    for path in paths:
        assert parse(Source(path.name, path.read_text()), require_header=True).items


@pytest.mark.parametrize("word", KEYWORDS)
def test_contextual_keywords_are_names_in_every_second_position(word: str) -> None:
    text = f"""spec 1.0
import "f.spec" as {word}
param {word}: {word} = {word} in [{word}, {word}]
const {word} = {word}
enum {word} {{ a, {word} }}
space {word} {{ a: real }}
network {word}: {word} -> {word}[{word}] = {word}({word}, {word} = {word})
dataset {word}: ({word}, {word}: {word}[{word}]) = {word}
region {word}({word}, a: {word}) = {word} & {word}.{word}
let ({word}, a) = {word} + {word}[{word}:{word}] * -{word}
property {word}({word}) {{
  forall {word} in {word}, (a, {word}) in {word}
  let {word} = {word}
  where {word} in {word}
  show forall {word} in {word}: if {word} then {word} else {word}
}}
system {word} {{ state {word}: {word} action {word} = {word}
  noise {word} in {word} next {word} = {word} }}
train {word} on {word} {{ let {word} = {word} minimize {word}
  constrain {word} by {word} save {word} prune {word}
  keep best by {word} on {word} where {word}
  certify {word}({word} = {word}) on {word} by {word}, {word} stage {word} {{ {word} = {word} }} }}
check {word}, {word}({word} for {word} in {word}) as {word} using {word}
  report {word}, {word} expect {word}
maximize {word} over {word} in {word} where {word} for {word} in {word}
largest {word} in [{word}, {word}] tol {word} such that {word}
"""
    assert len(parse(source(text)).items) == 15


@pytest.mark.parametrize("word", KEYWORDS)
def test_contextual_keywords_name_settings_and_fields(word: str) -> None:
    text = f"""space S {{ a: real {word}: real b: real {word}: real in [0, 1] {word}: int }}
dataset d: S = f() {{ a = 1 {word} = 2, {word} = 3 b = 4 }}
network n: S -> S {{ layer a {word} = 1 layer b = a {word} = 2 skip a {word} = 3 }}
train n on d {{ a = 1 {word} = 2 {word} = 3 minimize a {word} = 4 let a = b {word} = 5 }}
import "f" as m with {{ {word} = 1 {word} = 2 }}"""
    assert len(parse(source(text)).items) == 5


@pytest.mark.parametrize("name", ["letter", "inside", "notable", "forallx", "specs", "iffy"])
def test_names_may_begin_with_a_keyword(name: str) -> None:
    (item,) = parse(source(f"let {name} = {name} + a.{name}")).items
    assert isinstance(item, syntax.Let)
    assert item.names == (name,)
    assert codes(f"{name} = 3") == ["E0115"]


def test_line_ends_have_no_meaning() -> None:
    text = "let f(x) = 2 * x\ncheck p, q using milp(gap = 0)"
    tree = parse(source(text))
    assert parse(source(text.replace(" ", "\n"))) == tree
    assert parse(source(text.replace("\n", "  "))) == tree


# --- numbers and texts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.50", Fraction(5, 2)),
        ("1_000.000_1", Fraction(10_000_001, 10_000)),
        ("1e-3", Fraction(1, 1000)),
        ("2.5E+2", Fraction(250)),
        ("0.1", Fraction(1, 10)),
        ("9" * 400, Fraction(10**400 - 1)),
        ("1e400", Fraction(10**400)),
        ("1e-0400", Fraction(1, 10**400)),
    ],
)
def test_numbers_are_exact(text: str, value: Fraction) -> None:
    number = parse_expression(source(text))
    assert isinstance(number, syntax.Number)
    assert (number.value, number.text) == (value, text)


@pytest.mark.parametrize("text", ["9" * 401, "1e401", "1e-401", "1e" + "9" * 5000, "9" * 9000])
def test_numbers_have_caps(text: str) -> None:
    assert codes(f"let a = {text}") == ["E0108"]


def test_texts_have_four_escapes() -> None:
    text = parse_expression(source(r'"\"\\\n\t é"'))
    assert text == syntax.String('"\\\n\t é', span=text.span)
    assert codes(r'let a = "\x" + "\u0041"') == ["E0109", "E0109"]


# --- depth, size and time -------------------------------------------------------------------------

NESTED = {
    "parentheses": ("(" * MAX_DEPTH, ")" * MAX_DEPTH, "(", ")"),
    "lists": ("[" * (MAX_DEPTH - 1), "]" * (MAX_DEPTH - 1), "[[", "]]"),
    "calls": ("f(" * (MAX_DEPTH - 1), ")" * (MAX_DEPTH - 1), "f(f(", "))"),
    "sums": ("a + " * (MAX_DEPTH - 1), "", "a + a + ", ""),
    "differences": ("a - " * (MAX_DEPTH - 1), "", "a - a - ", ""),
    "conjunctions": ("a and " * (MAX_DEPTH - 1), "", "a and a and ", ""),
    "implications": ("a => " * (MAX_DEPTH - 1), "", "a => a => ", ""),
    "powers": ("a^" * (MAX_DEPTH - 1), "", "a^a^", ""),
    "negations": ("not " * (MAX_DEPTH - 1), "", "not not ", ""),
    "signs": ("-" * (MAX_DEPTH - 1), "", "--", ""),
    "quantifiers": ("forall a in b: " * (MAX_DEPTH - 1), "", "forall a in b: " * 2, ""),
    "conditionals": ("if a then b else " * (MAX_DEPTH - 1), "", "if a then b else " * 2, ""),
    "fields": ("", ".a" * (MAX_DEPTH - 1), "", ".a.a"),
    "indices": ("", "[0]" * (MAX_DEPTH - 1), "", "[0][0]"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_depth_is_limited_by_a_diagnostic_and_not_by_python(kind: str) -> None:
    before, after, more_before, more_after = NESTED[kind]
    text = f"let a = {before}x{after}"
    tree = parse(source(text))
    assert parse(source(print_statement(tree.items[0]))) == tree
    assert "x" in dump_tree(tree)
    assert codes(f"let a = {before}{more_before}x{after}{more_after}") == ["E0106"]
    assert codes(f"let a = {before * 25}x{after * 25}") == ["E0106"]


@pytest.mark.parametrize(
    "garbage",
    ["x(" * 5_000_000, "\0" * 200_000, "a " * 100_000, "`\n" * 100_000, ")" * 200_000],
    ids=["brackets", "zeros", "names", "backticks", "closers"],
)
def test_garbage_is_refused_quickly(garbage: str) -> None:
    parser._lark()
    start = time.process_time()  # Of this process alone: others may be running.
    assert codes(garbage)
    assert time.process_time() - start < 5  # usually one second


def test_a_long_text_is_refused_unread() -> None:
    assert codes("#" * (parser.MAX_CHARACTERS + 1)) == ["E0102"]
    assert codes("#" * parser.MAX_CHARACTERS) == []


def test_a_text_of_very_many_words_is_refused_unread() -> None:
    assert codes("let a = [" + "1," * (parser.MAX_WORDS // 2) + "]") == ["E0102"]
    assert codes("let a = [" + "1," * (parser.MAX_WORDS // 2 - 3) + "]") == []


def test_reading_stops_after_a_number_of_errors() -> None:
    found = codes("let = 1\n" * 100)
    assert found == ["E0101"] * parser.MAX_ERRORS + ["E0119"]


# --- the first line -------------------------------------------------------------------------------


def test_the_version_is_read() -> None:
    assert parse(source("# first\nspec 1.0\nlet a = 1"), require_header=True).version == "1.0"


def test_a_missing_version_is_an_error_on_demand() -> None:
    assert parse(source("let a = 1")).version is None
    with pytest.raises(SpecError) as caught:
        parse(source("let a = 1"), require_header=True)
    (error,) = caught.value.diagnostics
    assert (error.code, error.help) == ("E0110", "spec 1.0")


def test_under_an_unknown_version_nothing_else_is_said() -> None:
    assert codes("spec 7.3\nwhatever = that means") == ["E0902"]


# --- going on after errors ------------------------------------------------------------------------

BROKEN = [
    "let a =",
    "let = 3",
    "let a = f(x, y",
    "let a = [1, 2",
    "let a = x)",
    'let a = "abc',
    "let a = 2 `m",
    "let a = x && y",
    "property p { forall x in R show f(x) = 3 }",
    "property p = forall x. f(x) <= 1",
    "property p { forall x in R show f(x) <= 1",
    "space S { x: real in [0, 1 }",
    "network n: real[2] = onnx()",
    "check",
    "check p using",
    "chekc p",
    "let a = 2batch",
    "largest r in [0, 1] robust(r)",
    'import "x" as',
    "let a = 1e999",
    'let a = "\\q"',
    "let a = " + "-" * 500 + "x",
    "€",
]
MARGIN = st.lists(items, min_size=1, max_size=3)


@given(MARGIN, st.sampled_from(BROKEN), MARGIN)
@settings(max_examples=60, deadline=None)
def test_one_broken_statement_costs_itself_alone(before: Any, broken: str, after: Any) -> None:
    # At the margin, in one line each: where lines of a statement begin is the printer's affair.
    first = "".join(f"{print_statement(item)}\n" for item in before)
    last = "".join(f"{print_statement(item)}\n" for item in after)
    program, errors = parse_recovering(source(first + broken + "\n" + last))
    assert program.items == (*before, *after)
    assert len(errors) == 1
    assert errors[0].primary is not None
    place = errors[0].primary.span.start
    # What is missing at the end of a statement is found missing at the next one.
    assert len(first) <= place <= len(first + broken) + 1


# Among others these may go on quietly: keywords are names where a value is expected, and settings
# may have their names. The checker then does not know the name.
QUIET = ("let = 3", "let a =", "check", "check p using")
KEYWORD_FIRST = [t for t in BROKEN if t.split()[0] in STATEMENTS and t not in QUIET]


@given(st.lists(st.sampled_from(KEYWORD_FIRST), min_size=1, max_size=5))
@settings(deadline=None)
def test_every_broken_statement_is_reported(lines: list[str]) -> None:
    assert len(codes("\n".join(lines))) == len(lines)


SIGNS = "( ) [ ] { } , : . .. -> = == <= < > >> + - * / @ & ^ | ! ` ; ' é ≤ \0 \t \n"
PIECES = [
    "a",
    "b",
    "1",
    "2.5",
    "1.",
    ".5",
    "2x",
    "`m`",
    '"',
    '"text"',
    " ",
    "spec 1.0",
    "# remark\n",
]
SOUP = st.lists(
    st.sampled_from([*KEYWORDS, *sorted(RESERVED), *SIGNS.split(" "), *PIECES]), max_size=40
)


@given(SOUP.map("".join) | SOUP.map(" ".join) | st.text(max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_text_gives_a_tree_or_placed_diagnostics(text: str) -> None:
    program, errors = parse_recovering(source(text))
    assert errors or program.span.text == text
    for error in errors:
        assert error.primary is not None
        assert 0 <= error.primary.span.start <= error.primary.span.end <= len(text)
        assert "expected ," not in error.message
        assert render(error)
    with suppress(SpecError):
        parse_expression(source(text))


# --- loading --------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "folder" / "grammar.bin"
    monkeypatch.setattr(parser, "_cache_file", lambda _grammar: path)
    parser._lark.cache_clear()
    yield path
    parser._lark.cache_clear()


def parses() -> bool:
    parser._lark.cache_clear()
    return bool(parse(source("let letter = 1")).items)


def test_the_parser_is_kept_for_the_next_process(cache: Path) -> None:
    assert parses()
    kept = cache.read_bytes()
    assert parses()
    assert cache.read_bytes() == kept
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_a_damaged_cache_is_replaced(cache: Path, damage: bytes | None) -> None:
    assert parses()
    cache.write_bytes(cache.read_bytes()[:-100] if damage is None else damage)
    assert parser._load(cache) is None
    assert parses()
    assert parser._load(cache) is not None


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert parses()


def test_parsing_loads_no_heavy_library_and_is_quick() -> None:
    parser._lark()
    code = """
import sys, time
start = time.perf_counter()
from specdsl.language.parsing.parser import parse
from specdsl.source import Source
parse(Source("f.spec", "spec 1.0\\nlet a = 1\\n"))
print(time.perf_counter() - start)
heavy = {"torch", "pyomo", "z3", "onnx", "onnxruntime", "matplotlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1.5  # 0.15 s where nothing else runs


def test_trees_are_dumped(golden: Any) -> None:
    path = Path(__file__).parent / "long_lines.spec"
    golden.check("syntax/dump.txt", dump_tree(parse(Source(path.name, path.read_text()))))

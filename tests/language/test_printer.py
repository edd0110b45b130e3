"""What is printed reads back as the same tree, without needless parentheses or long lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.parsing.parser import parse, parse_expression
from specdsl.language.printing.layout import WIDTH
from specdsl.language.printing.printer import print_expression, print_program, print_statement
from specdsl.source import Source
from tests.language.strategies import KINDS, expressions, items, operations, programs

EXAMPLES = "design/examples"
LONG_LINES = Path(__file__).parent / "long_lines.spec"


def source(text: str) -> Source:
    return Source("printed.spec", text)


def nodes(value: object) -> Iterator[syntax.Node]:
    if isinstance(value, syntax.Node):
        yield value
        for field in fields(value):
            yield from nodes(getattr(value, field.name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from nodes(entry)


@given(expressions)
@settings(max_examples=300, deadline=None)
def test_a_printed_expression_reads_back_as_itself(tree: syntax.Expr) -> None:
    assert parse_expression(source(print_expression(tree))) == tree


@given(items)
@settings(max_examples=300, deadline=None)
def test_a_printed_statement_reads_back_as_itself(tree: syntax.Item) -> None:
    assert parse(source(print_statement(tree))).items == (tree,)


@given(programs)
@settings(deadline=None)
def test_a_printed_program_reads_back_as_itself(tree: syntax.Program) -> None:
    assert parse(source(print_program(tree))) == tree


@given(programs)
@settings(deadline=None)
def test_every_span_covers_its_node_and_nothing_else(tree: syntax.Program) -> None:
    for node in nodes(parse(source(print_program(tree)))):
        if isinstance(node, syntax.Expr):
            assert parse_expression(source(node.span.text)) == node
        if isinstance(node, syntax.Attribute | syntax.Declaration):
            assert node.name_span.text == node.name
        if isinstance(node, syntax.Binder | syntax.TypeExpr | syntax.Setting | syntax.Clause):
            assert node.span.text == node.span.text.strip()


@given(items)
@settings(deadline=None)
def test_the_span_of_a_statement_is_its_text(tree: syntax.Item) -> None:
    text = print_statement(tree)
    (item,) = parse(source(f"  {text}  # remark\n")).items
    assert item.span.text == text


def test_the_strategies_reach_every_kind_of_node() -> None:
    kinds = {getattr(syntax, name) for name in syntax.__all__}
    missing = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, syntax.Node)}
    missing -= {syntax.Node, syntax.Declaration, syntax.Program}

    # What is drawn changes with constants of the package: enough that none is missed by chance.
    @given(st.tuples(*KINDS))
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    def collect(trees: tuple[syntax.Item, ...]) -> None:
        missing.difference_update(type(node) for node in nodes(trees))

    collect()
    assert missing == set()


def without_pair(text: str) -> Iterator[str]:
    """The text without one pair of parentheses, for each pair. Texts in quotes hold none."""
    opened: list[int] = []
    for i, character in enumerate(text):
        if character == "(":
            opened.append(i)
        elif character == ")":
            start = opened.pop()
            yield f"{text[:start]} {text[start + 1 : i]} {text[i + 1 :]}"


def only_for_precedence(tree: syntax.Expr) -> bool:
    """Whether parentheses have to do with precedence alone: not in texts, nor in `(1).name`."""
    return not any(
        isinstance(node, syntax.String)
        or (isinstance(node, syntax.Attribute) and isinstance(node.base, syntax.Number))
        for node in nodes(tree)
    )


@given(operations.filter(only_for_precedence))
@settings(max_examples=200, deadline=None)
def test_no_parentheses_can_be_left_out(tree: syntax.Expr) -> None:
    for shorter in without_pair(print_expression(tree)):
        with suppress(SpecError):
            assert parse_expression(source(shorter)) != tree


@pytest.mark.parametrize(
    "text",
    [
        "a or b and not c => d => e",
        "(a => b) => c",
        "a - (b - c) - d",
        "-x^2 * (-x)^2 / 2^-1",
        "2/255 * x - (1/2)^2",
        "a and forall x in R: b or c",
        "(forall x in R: b) and c",
        "a or b and not exists x in R where c: d => e",
        "if a then b else if c then d else e",
        "(a <= b) == (c <= d < e)",
        "x not in R and (x in R) == true",
        "first..first + count",
        "||x| - |y||",
        "f(x for x in A for (y, z) in B where x < y, tol = 1)[a:b, :c, d:, :](2 `m`).hidden",
        "{ x in R where x[0] <= 1 }",
        "{ (1 - t) * a + t * b for t in [0, 1] }",
        "(1).name + f()[0]",
        r'"a \"quoted\" \\ text"',
    ],
)
def test_canonical_text_stays_as_it_is(text: str) -> None:
    assert print_expression(parse_expression(source(text))) == text


def test_examples_print_and_read_back(shared: Path) -> None:
    for path in sorted((shared / EXAMPLES).glob("*.spec")):
        tree = parse(Source(path.name, path.read_text()))
        text = print_program(tree)
        assert parse(source(text)) == tree
        assert print_program(parse(source(text))) == text
        assert max(map(len, text.splitlines())) <= WIDTH


def test_long_lines_break(golden: Any) -> None:
    tree = parse(source(LONG_LINES.read_text()))
    text = print_program(tree)
    assert parse(source(text)) == tree
    golden.check("syntax/printed.spec", text)

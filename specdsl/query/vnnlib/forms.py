"""Both versions of VNN-LIB as text: nested forms, and what is said of forms that mean nothing.

The files of the nn4sys benchmark reach 27 MB and 1.8 million comparisons, nearly all of the form
`(<= X_3 0.5)`. A version's regular expression therefore takes such a comparison as a single token,
and the forms come out in linear time and without recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.source import Source, Span

MAX_DEPTH = 100
"""Nesting of parentheses. Real files stay below 10; later passes recurse."""

MAX_NUMBER_LENGTH = 400
MAX_EXPONENT = 400
"""Larger literals are no float64 anyway, and cost memory out of proportion to the file."""

MAX_SHOWN = 60
"""Longer words are cut in messages."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name, number, operator or string; `brackets` is what stands in `[...]` behind it."""

    text: str
    start: int
    brackets: str | None = None


@dataclass(frozen=True, slots=True)
class PlainComparison:
    """`(operator left right)` with two words, each as it is written, brackets included."""

    operator: str
    left: str
    right: str
    start: int


@dataclass(frozen=True, slots=True)
class Form:
    """`(items...)` that is not a plain comparison; `start` is its parenthesis."""

    items: list[Node]
    start: int

    @property
    def head(self) -> str:
        """The first item where that is a word, else an empty string."""
        return self.items[0].text if self.items and isinstance(self.items[0], Word) else ""


Node = PlainComparison | Word | Form


def nested(source: Source, tokens: re.Pattern[str], stray: str) -> Iterator[PlainComparison | Form]:
    """The top-level forms of a file, in order.

    `tokens` finds them by groups: 1 to 3, the last called `comparison`, are those of a plain
    comparison; `open` and `close` are parentheses; `word` may have `brackets` behind it; `stray` is
    a mark that belongs to nothing. A token without any group is a comment. The text `stray` says
    what is wrong with such a mark, which stands for `{}` in it.

    Raises SpecError: E1000, E1001.
    """
    stack: list[Form] = []
    for match in tokens.finditer(source.text):
        kind = match.lastgroup
        if kind is None:
            continue
        if kind == "comparison":
            node: Node = PlainComparison(match[1], match[2], match[3], match.start())
        elif kind == "open":
            if len(stack) == MAX_DEPTH:
                text = f"more than {MAX_DEPTH} open parentheses"
                raise syntax_error(source, "E1001", text, match.start())
            stack.append(Form([], match.start()))
            continue
        elif kind == "close":
            if not stack:
                raise syntax_error(source, "E1000", "`)` without its `(`", match.start())
            node = stack.pop()
        elif kind == "word":
            node = Word(match["word"], match.start())
        elif kind == "brackets":
            node = Word(match["word"], match.start(), match["brackets"])
        else:
            raise syntax_error(source, "E1000", stray.format(match["stray"]), match.start())
        if stack:
            stack[-1].items.append(node)
        else:
            yield _top(source, node)
    if stack:
        raise syntax_error(source, "E1000", "`(` is never closed", stack[-1].start)


def _top(source: Source, node: Node) -> PlainComparison | Form:
    if isinstance(node, Word):
        message = f"expected a command such as `(assert ...)`, found `{shown(node.text)}`"
        raise syntax_error(source, "E1000", message, node.start)
    return node


# --- numbers -------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([-+]?)(\d+\.?\d*|\.\d+)(?:[eE]([-+]?\d+))?")


def literal(source: Source, word: Word) -> Fraction | None:
    """The value of a word that is a number, else None. Raises SpecError E1003 as `number` does."""
    try:
        return None if word.brackets is not None else number(word.text)
    except ValueError as error:
        raise syntax_error(source, "E1003", str(error), word.start) from error


def number(text: str) -> Fraction | None:
    """The exact value of a decimal literal, or None where the text is none.

    Raises ValueError for a literal over the caps on length and exponent.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    exponent = match[3] or "0"
    if len(text) > MAX_NUMBER_LENGTH or abs(int(exponent)) > MAX_EXPONENT:
        raise ValueError("a number beyond the limits of length or exponent")
    whole, _, decimals = match[2].partition(".")
    digits = int(match[1] + whole + decimals)
    power = int(exponent) - len(decimals)
    return Fraction(digits * 10**power) if power >= 0 else Fraction(digits, 10**-power)


# --- mistakes ------------------------------------------------------------------------------------


def syntax_error(
    source: Source, code: str, message: str, start: int, help: str | None = None
) -> SpecError:
    """A located error; the span is the word or parenthesis at `start`."""
    word = re.compile(r"[^\s();]{1,400}|.", re.DOTALL).match(source.text, start)
    end = word.end() if word else start + 1
    return SpecError.of(code, message, Span(source, start, end), help=help)


def shown(text: str, longest: int = MAX_SHOWN) -> str:
    """A piece of the file in a message: hostile files hold words of megabytes."""
    return text if len(text) <= longest else text[:longest] + "..."


def not_a_command(
    source: Source, form: PlainComparison | Form, version: str, declaration: str
) -> SpecError:
    """E1002 for a form at the top of a file of `version` that is none of its commands."""
    head = form.operator if isinstance(form, PlainComparison) else form.head
    text = f"`{shown(head or '(')}` is not a command of VNN-LIB {version} that has a meaning here"
    help_ = f"declare with `{declaration}`, constrain with `(assert ...)`"
    return syntax_error(source, "E1002", text, form.start, help_)


def not_a_formula(source: Source, node: Word | Form, formulas: str) -> SpecError:
    """E1002 where a formula is expected; the help lists those of the version."""
    if isinstance(node, Word):
        text = f"expected a formula, found `{shown(node.text)}`"
        return syntax_error(source, "E1002", text, node.start)
    count = max(len(node.items) - 1, 0)
    text = f"`{shown(node.head or '(')}` with {count} operands is no formula"
    return syntax_error(source, "E1002", text, node.start, f"formulas are {formulas}")


def not_a_number(source: Source, comparison: PlainComparison) -> SpecError:
    """E1002 for a comparison inside of arithmetic."""
    text = "a comparison where a number is expected"
    return syntax_error(source, "E1002", text, comparison.start)


def too_many_cases(source: Source, count: int, limit: int, start: int) -> SpecError:
    """E1007 where the assertions' choices multiply out to more cases than can be looked at."""
    text = f"the assertions multiply out to {count} cases; the limit is {limit}"
    return syntax_error(source, "E1007", text, start, "split the query into several files")

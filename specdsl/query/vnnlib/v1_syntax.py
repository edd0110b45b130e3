"""VNN-LIB 1.0 as text: commands as nested lists, in linear time and without recursion.

The files of the nn4sys benchmark reach 27 MB and 1.8 million comparisons, nearly all of the form
`(<= X_3 0.5)`. One regular expression therefore takes such a comparison as a single token.
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """`(operator left right)` with two plain words."""

    operator: str
    left: str
    right: str
    start: int


@dataclass(frozen=True, slots=True)
class Word:
    """A symbol, number or string."""

    text: str
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


Node = Comparison | Word | Form

_TOKEN = re.compile(
    r"\(\s*(<=|>=|<|>|=)\s+([^\s();|\"]+)\s+([^\s();|\"]+)\s*\)"  # 1-3: a plain comparison
    r"|(\()"  # 4
    r"|(\))"  # 5
    r"|;[^\n]*"
    r"|(\"[^\"]*\"|\|[^|]*\||[^\s();|\"]+)"  # 6: a word
    r"|([|\"])"  # 7: a quote that nothing closes
)
_NUMBER = re.compile(r"([-+]?)(\d+\.?\d*|\.\d+)(?:[eE]([-+]?\d+))?")


def commands(source: Source) -> Iterator[Comparison | Form]:
    """The top-level forms of a file, in order. Raises SpecError: E1000, E1001."""
    stack: list[Form] = []
    for match in _TOKEN.finditer(source.text):
        kind = match.lastindex
        if kind is None:
            continue  # a comment
        if kind == 3:
            node: Node = Comparison(match[1], match[2], match[3], match.start())
        elif kind == 4:
            if len(stack) == MAX_DEPTH:
                raise syntax_error(
                    source, "E1001", f"more than {MAX_DEPTH} open parentheses", match.start()
                )
            stack.append(Form([], match.start()))
            continue
        elif kind == 5:
            if not stack:
                raise syntax_error(source, "E1000", "`)` without its `(`", match.start())
            node = stack.pop()
        elif kind == 6:
            node = Word(match[6], match.start())
        else:
            raise syntax_error(source, "E1000", "a quote that is never closed", match.start())
        if stack:
            stack[-1].items.append(node)
        elif isinstance(node, Word):
            message = f"expected a command such as `(assert ...)`, found `{shown(node.text)}`"
            raise syntax_error(source, "E1000", message, node.start)
        else:
            yield node
    if stack:
        raise syntax_error(source, "E1000", "`(` is never closed", stack[-1].start)


def number(word: str) -> Fraction | None:
    """The exact value of a decimal literal, or None where the word is none.

    Raises ValueError for a literal over the caps on length and exponent.
    """
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    exponent = match[3] or "0"
    if len(word) > MAX_NUMBER_LENGTH or abs(int(exponent)) > MAX_EXPONENT:
        raise ValueError("a number beyond the limits of length or exponent")
    whole, _, decimals = match[2].partition(".")
    digits = int(match[1] + whole + decimals)
    power = int(exponent) - len(decimals)
    return Fraction(digits * 10**power) if power >= 0 else Fraction(digits, 10**-power)


def shown(word: str) -> str:
    """A word in a message: hostile files hold words of megabytes."""
    return word if len(word) <= MAX_SHOWN else word[:MAX_SHOWN] + "..."


def syntax_error(
    source: Source, code: str, message: str, start: int, help: str | None = None
) -> SpecError:
    """A located error; the span is the word or parenthesis at `start`."""
    word = re.compile(r"[^\s();]{1,400}|.", re.DOTALL).match(source.text, start)
    end = word.end() if word else start + 1
    return SpecError.of(code, message, Span(source, start, end), help=help)

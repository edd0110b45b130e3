"""VNN-LIB 2.0 as text: nested forms, in linear time and without recursion.

A word may carry indices or a shape: `X[0,3]`, `real[1,10]`. Nearly all of a large file are plain
comparisons such as `(<= X[0,3] 0.5)`: one regular expression takes each as a single token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from specdsl.query.vnnlib.v1_syntax import MAX_DEPTH, shown, syntax_error
from specdsl.source import Source


@dataclass(frozen=True, slots=True)
class Word:
    """A name, number, operator or string; `brackets` is what stands in `[...]` behind it."""

    text: str
    brackets: str | None
    start: int


@dataclass(frozen=True, slots=True)
class Plain:
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


Node = Plain | Word | Form

# Indices are short; a limit keeps an unclosed bracket from being looked for in the whole file.
_BRACKETS = r"\[[\d\s,]{0,400}\]"
_WORD = r"[^\s()\[\]\";]+"
_OPERAND = rf"{_WORD}(?:\s*{_BRACKETS})?"
_TOKEN = re.compile(
    rf"\(\s*(<=|>=|==|!=|<|>)\s+({_OPERAND})\s+({_OPERAND})\s*\)"  # 1-3: a plain comparison
    r"|(\()"  # 4
    r"|(\))"  # 5
    r"|;[^\n]*"
    rf'|({_WORD}|"[^"]*")(?:\s*\[([\d\s,]{{0,400}})\])?'  # 6, 7: a word, what is in its brackets
    r'|([\[\]"])'  # 8: a bracket or quote that belongs to nothing
)
_PARTS = re.compile(rf"({_WORD})(?:\s*\[([\d\s,]*)\])?")


def forms(source: Source) -> Iterator[Plain | Form]:
    """The top-level forms of a file, in order. Raises SpecError: E1000, E1001."""
    stack: list[Form] = []
    for match in _TOKEN.finditer(source.text):
        kind = match.lastindex
        if kind is None:
            continue  # a comment
        if kind == 3:
            node: Node = Plain(match[1], match[2], match[3], match.start())
        elif kind == 4:
            if len(stack) == MAX_DEPTH:
                text = f"more than {MAX_DEPTH} open parentheses"
                raise syntax_error(source, "E1001", text, match.start())
            stack.append(Form([], match.start()))
            continue
        elif kind == 5:
            if not stack:
                raise syntax_error(source, "E1000", "`)` without its `(`", match.start())
            node = stack.pop()
        elif kind in (6, 7):
            node = Word(match[6], match[7], match.start())
        else:
            text = f"`{match[8]}` that nothing closes, or that belongs to no name"
            raise syntax_error(source, "E1000", text, match.start())
        if stack:
            stack[-1].items.append(node)
        elif isinstance(node, Word):
            message = f"expected a command such as `(assert ...)`, found `{shown(node.text)}`"
            raise syntax_error(source, "E1000", message, node.start)
        else:
            yield node
    if stack:
        raise syntax_error(source, "E1000", "`(` is never closed", stack[-1].start)


def split_word(text: str, start: int) -> Word:
    """An operand of a plain comparison, taken apart."""
    match = _PARTS.fullmatch(text)
    return Word(text, None, start) if match is None else Word(match[1], match[2], start)


def extents(brackets: str) -> tuple[int, ...] | None:
    """The numbers of `0, 3`; none for an empty text, None where it is something else."""
    if not brackets.strip():
        return ()
    parts = [part.strip() for part in brackets.split(",")]
    if not all(part.isdigit() and len(part) <= 9 for part in parts):
        return None
    return tuple(map(int, parts))

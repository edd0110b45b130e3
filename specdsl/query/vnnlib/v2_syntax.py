"""VNN-LIB 2.0 as text: its tokens. A word may carry indices or a shape: `X[0,3]`, `real[1,10]`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from specdsl.query.vnnlib.forms import Form, PlainComparison, Word, nested
from specdsl.source import Source

# Indices are short; a limit keeps an unclosed bracket from being looked for in the whole file.
_BRACKETS = r"\[[\d\s,]{0,400}\]"
_WORD = r"[^\s()\[\]\";]+"
_OPERAND = rf"{_WORD}(?:\s*{_BRACKETS})?"
_TOKEN = re.compile(
    rf"\(\s*(<=|>=|==|!=|<|>)\s+({_OPERAND})\s+(?P<comparison>{_OPERAND})\s*\)"
    r"|(?P<open>\()"
    r"|(?P<close>\))"
    r"|;[^\n]*"
    rf'|(?P<word>{_WORD}|"[^"]*")(?:\s*\[(?P<brackets>[\d\s,]{{0,400}})\])?'
    r'|(?P<stray>[\[\]"])'
)
_PARTS = re.compile(rf"({_WORD})(?:\s*\[([\d\s,]*)\])?")


def forms(source: Source) -> Iterator[PlainComparison | Form]:
    """The top-level forms of a file, in order. Raises SpecError: E1000, E1001."""
    return nested(source, _TOKEN, "`{}` that nothing closes, or that belongs to no name")


def split_word(text: str, start: int) -> Word:
    """An operand of a plain comparison, taken apart."""
    match = _PARTS.fullmatch(text)
    return Word(text, start) if match is None else Word(match[1], start, match[2])


def extents(brackets: str) -> tuple[int, ...] | None:
    """The numbers of `0, 3`; none for an empty text, None where it is something else."""
    if not brackets.strip():
        return ()
    parts = [part.strip() for part in brackets.split(",")]
    if not all(part.isdigit() and len(part) <= 9 for part in parts):
        return None
    return tuple(map(int, parts))

"""A quick look at the words of a text, for limits and for explaining errors.

The parser has its own lexer, which knows what may stand where. This one knows nothing of that, and
therefore never stops: what it cannot read becomes a lexeme of kind `broken`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, cast

Kind = Literal["string", "unit", "number", "name", "symbol", "broken"]

RESERVED = frozenset(
    {"forall", "exists", "and", "or", "not", "if", "then", "else", "true", "false"}
    | {"in", "where", "for"}
)
"""Words that are never names."""

DECLARATIONS = frozenset(
    {"import", "param", "const", "enum", "space", "network", "dataset", "region", "let"}
    | {"property", "system", "largest", "smallest"}
)
"""Words that begin a statement and are followed by a name (or a text, or a pattern)."""

STATEMENTS = DECLARATIONS | {"train", "check", "maximize", "minimize"}
"""Words that begin a statement; `spec` apart."""

CLOSERS = {"(": ")", "[": "]", "{": "}"}

_NUMBER = r"[0-9](?:(?<=[eE])[+-](?=[0-9])|[A-Za-z0-9_]|\.(?=[0-9]))*"
_LEXEME = re.compile(
    r"[ \t\r\n]+|\#[^\n]*"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<unit>`[^`\n]*`)'
    rf"|(?P<number>{_NUMBER})|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol>\.\.|->|=>|<=|>=|==|!=|>>|[-+*/@&^=<>()\[\]{}|,.:])"
    r'|(?P<broken>"[^\n]*|`[^\n]*|[^\W\d]\w*|.)',
    re.DOTALL,
)
_BRACKETS = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`\n]*`|#[^\n]*|[()\[\]{}]')


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word at the offsets `start` (included) to `end` (excluded)."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def ends_operand(self) -> bool:
        """Whether an operand may end here, so that `(` and `[` would continue it."""
        if self.kind == "name":
            return self.text not in RESERVED - {"true", "false"}
        return self.kind in ("string", "unit", "number") or self.text in (")", "]", "}")


def lexemes(text: str) -> list[Lexeme]:
    """All words of a text, without blanks and comments."""
    return [
        Lexeme(cast(Kind, match.lastgroup), match[0], match.start(), match.end())
        for match in _LEXEME.finditer(text)
        if match.lastgroup is not None
    ]


def last_allowed(text: str, limit: int) -> int | None:
    """The offset of the first word after `limit` others, if there are so many."""
    if len(text) <= limit:
        return None
    words = (match.start() for match in _LEXEME.finditer(text) if match.lastgroup is not None)
    return next(islice(words, limit, None), None)


def deepest_allowed(text: str, limit: int) -> int | None:
    """The offset of the first bracket that opens more than `limit` levels deep, if there is one."""
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "([{":
            depth += 1
            if depth > limit:
                return match.start()
        elif match[0] in ")]}":
            depth = max(0, depth - 1)
    return None


class Scan:
    """The words of a text with their order, and the places where statements begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = lexemes(text)
        self._starts = [word.start for word in self.words]
        self.statements = [self.words[i].start for i in self._statement_indices()]

    def index(self, offset: int) -> int:
        """The index of the first word that starts at `offset` or later."""
        return bisect_left(self._starts, offset)

    def at(self, index: int) -> Lexeme | None:
        """The word at `index`, or None before the first and after the last."""
        return self.words[index] if 0 <= index < len(self.words) else None

    def covering(self, offset: int) -> Lexeme | None:
        """The word that covers `offset`, or None between words."""
        word = self.at(bisect_right(self._starts, offset) - 1)
        return word if word and word.start <= offset < word.end else None

    def begins_line(self, word: Lexeme) -> bool:
        """Whether only blanks stand before `word` on its line."""
        line = self.text.rfind("\n", 0, word.start) + 1
        return not self.text[line : word.start].strip()

    def at_margin(self, offset: int) -> bool:
        """Whether a line begins at `offset`, without any blanks."""
        return offset == 0 or self.text[offset - 1] == "\n"

    def next_statement(self, offset: int) -> int | None:
        """Where the first statement begins at `offset` or later."""
        index = bisect_left(self.statements, offset)
        return self.statements[index] if index < len(self.statements) else None

    def open_brackets(self, start: int, end: int) -> list[Lexeme]:
        """The brackets between these offsets that are opened and not closed, outermost first."""
        open: list[Lexeme] = []
        for word in self.words[self.index(start) : self.index(end)]:
            if word.kind != "symbol":
                continue
            if word.text in CLOSERS:
                open.append(word)
            elif open and word.text == CLOSERS[open[-1].text]:
                open.pop()
        return open

    def _statement_indices(self) -> Iterator[int]:
        """A statement word outside brackets, or at the margin, that is used as one.

        The margin counts even inside brackets: who forgets to close one goes on with the next
        statement there.
        """
        depth = 0
        for i, word in enumerate(self.words):
            if word.kind == "symbol":
                depth += (word.text in "([{") - (word.text in ")]}")
                depth = max(0, depth)
            elif word.kind == "name" and word.text in STATEMENTS:
                margin = self.at_margin(word.start)
                if margin and self._goes_on(i, inside=depth > 0):
                    depth = 0
                    yield i
                elif depth == 0 and not margin and self._begins_within_line(i, word):
                    yield i

    def _goes_on(self, index: int, inside: bool) -> bool:
        """Whether a statement could go on behind the word at the margin, right or wrong.

        Settings and fields may have its name, but only inside brackets.
        """
        after = self.at(index + 1)
        field = ("=", ":") if inside else ()
        return after is None or after.text not in (*field, ".", ",", ")", "]", "}")

    def _begins_within_line(self, index: int, word: Lexeme) -> bool:
        before, after = self.at(index - 1), self.at(index + 1)
        if after is None or (before and (before.text == "." or before.text in STATEMENTS)):
            return False
        if "\n" in self.text[word.end : after.start]:
            return False
        if word.text in DECLARATIONS:
            opening = after.text == "(" and word.text == "let"
            return after.kind in ("name", "string") or opening
        return after.kind in ("name", "number", "string") or after.text in ("(", "[", "{", "|", "-")

"""`-k EXPR`: which obligations to run, as in pytest: words joined by `and`, `or`, `not`, `( )`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from specdsl.diagnostics import SpecError

Matcher = Callable[[str], bool]

_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")
_MAX_TOKENS = 1_000
_MAX_DEPTH = 100
"""Nobody types more; the parser recurses, three functions a level."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed expression. `matches` takes an id such as `f.spec::robust[7]`."""

    text: str
    matches: Matcher


def parse_selection(text: str) -> Selection:
    """Read the expression. Raises SpecError E0851 where it is malformed.

    A word matches where it occurs in the id, whatever the case, without cutting a number in two:
    `phi1` selects `phi1` and `phi1[3]`, not `phi10`.
    """
    tokens = _TOKEN.findall(text)
    if len(tokens) > _MAX_TOKENS:
        raise SpecError.of("E0851", f"`-k` takes at most {_MAX_TOKENS} words")
    parser = _Parser(text, tokens)
    matcher = parser.disjunction()
    if parser.tokens:
        raise parser.error(f"unexpected `{parser.tokens[0]}`")
    return Selection(text, matcher)


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[str]
    depth: int = 0

    def error(self, message: str) -> SpecError:
        help = "write for example `-k 'phi1 or phi3'` or `-k 'robust and not (hard or slow)'`"
        return SpecError.of("E0851", f"`-k {self.text}`: {message}", help=help)

    def disjunction(self) -> Matcher:
        parts = [self.conjunction()]
        while self.take("or"):
            parts.append(self.conjunction())
        return lambda id: any(part(id) for part in parts)

    def conjunction(self) -> Matcher:
        parts = [self.negation()]
        while self.take("and"):
            parts.append(self.negation())
        return lambda id: all(part(id) for part in parts)

    def negation(self) -> Matcher:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error(f"nested more than {_MAX_DEPTH} deep")
        found = self._negation()
        self.depth -= 1
        return found

    def _negation(self) -> Matcher:
        if self.take("not"):
            inner = self.negation()
            return lambda id: not inner(id)
        if self.take("("):
            inner = self.disjunction()
            if not self.take(")"):
                raise self.error("`(` is never closed")
            return inner
        if not self.tokens or self.tokens[0] in ("and", "or", ")"):
            found = f"`{self.tokens[0]}`" if self.tokens else "the end"
            raise self.error(f"expected a name, found {found}")
        return _word(self.tokens.pop(0))

    def take(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False


def _word(word: str) -> Matcher:
    before = r"(?<!\d)" if word[0].isdigit() else ""
    after = r"(?!\d)" if word[-1].isdigit() else ""
    pattern = re.compile(before + re.escape(word) + after, re.IGNORECASE)
    return lambda id: pattern.search(id) is not None

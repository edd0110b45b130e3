"""What the rules of the grammar hand to one another while a tree is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from specdsl.diagnostics import Diagnostics
from specdsl.language import syntax
from specdsl.language.syntax import Expr
from specdsl.source import Span

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Word:
    """A token: its text as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one child of a rule became.

    `span` is what was written, parentheses included; `depth` counts nested expressions.
    """

    value: object
    span: Span
    depth: int


class Parts:
    """The children of one rule, None where an optional one is missing.

    The grammar fixes what stands where, so that a wrong type here is an error of ours.
    """

    def __init__(
        self, children: Sequence[Part | None], span: Span, diagnostics: Diagnostics
    ) -> None:
        self.children = children
        self.span = span
        self.diagnostics = diagnostics

    def __len__(self) -> int:
        return len(self.children)

    def part(self, index: int) -> Part:
        """The child at `index`, which is there."""
        part = self.children[index]
        if part is None:
            raise TypeError(f"child {index} of `{self.span.text}` is missing")
        return part

    def text(self, index: int) -> str:
        """The text of the token at `index`."""
        return self.get(index, Word).text

    def get(self, index: int, kind: type[T]) -> T:
        """The value at `index`, of that kind."""
        value = self.part(index).value
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not a {kind.__name__}")
        return value

    def optional(self, index: int, kind: type[T]) -> T | None:
        """The value at `index`, or None where it was left out."""
        return None if self.children[index] is None else self.get(index, kind)

    def expr(self, index: int) -> Expr:
        """The expression at `index`."""
        return cast(Expr, self.get(index, syntax.Node))

    def optional_expr(self, index: int) -> Expr | None:
        """The expression at `index`, or None where it was left out."""
        return None if self.children[index] is None else self.expr(index)

    def optional_text(self, index: int) -> str | None:
        """The text of the token at `index`, or None where it was left out."""
        return None if self.children[index] is None else self.text(index)

    def exprs(self, start: int = 0) -> tuple[Expr, ...]:
        """All expressions from `start` on, without the missing ones."""
        return tuple(self.expr(i) for i in self.present(start))

    def all(self, kind: type[T], start: int = 0) -> tuple[T, ...]:
        """All values from `start` on, without the missing ones."""
        return tuple(self.get(i, kind) for i in self.present(start))

    def texts(self, start: int = 0) -> tuple[str, ...]:
        """The texts of all tokens from `start` on."""
        return tuple(self.text(i) for i in self.present(start))

    def present(self, start: int = 0) -> list[int]:
        """The indices from `start` on whose child is there."""
        return [i for i in range(start, len(self.children)) if self.children[i] is not None]


Rule = Callable[[Parts], object]
"""Builds what a rule means from its children."""


class Builder(Protocol):
    """Makes something of each word and each rule of a text, the innermost rules first."""

    def word(self, text: str, start: int, end: int) -> Part:
        """A token at these offsets of the parsed text."""
        ...

    def span(self, start: int, end: int) -> Span:
        """Offsets of the parsed text as a span of the source."""
        ...

    def rule(self, name: str, children: Sequence[Part | None], span: Span) -> Part:
        """The rule `name`, whose children were made before."""
        ...

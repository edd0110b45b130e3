"""A text and the places in it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A named text.

    `name` is what people see (usually a path as they typed it); `text` is the whole content with
    `\\n` line ends.
    """

    name: str
    text: str = field(repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) of a character offset into the text."""
        # `count` and `rfind` run at memory speed; files of megabytes are asked for one place.
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - self.text.rfind("\n", 0, offset)

    @property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line."""
        return [0, *(i + 1 for i, character in enumerate(self.text) if character == "\n")]

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end; empty past the last line."""
        lines = self.text.split("\n")
        return lines[number - 1] if number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `start` (included) to `end` (excluded) of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The smallest span that covers this one and `other` (of the same source)."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

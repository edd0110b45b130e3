"""What stands between the words of a text and is no word: comments and line ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from specdsl.language.parsing.scan import Lexeme


@dataclass(frozen=True, slots=True)
class Comment:
    """`# ...` without blanks at its end.

    `trailing`: it stands behind a word on its line; `blank`: below an empty line.
    """

    text: str
    trailing: bool
    blank: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands in front of a word.

    `newline`: the word begins a line; `blank`: an empty line stands right above it.
    """

    comments: tuple[Comment, ...]
    newline: bool
    blank: bool


def gaps_of(text: str, words: Sequence[Lexeme]) -> tuple[Gap, ...]:
    """The gap in front of each word, and as the last one what follows all words.

    What stands in front of a comma counts as standing behind it.
    """
    ends = [0, *(word.end for word in words)]
    starts = [*(word.start for word in words), len(text)]
    gaps = [_gap(text[end:start], first=end == 0) for end, start in zip(ends, starts, strict=True)]
    for index, word in enumerate(words):
        if word.text == ",":
            gaps[index + 1] = _joined(gaps[index], gaps[index + 1])
            gaps[index] = Gap((), newline=False, blank=False)
    return tuple(gaps)


def _joined(above: Gap, below: Gap) -> Gap:
    """Both gaps as one; nothing trails behind a comment."""
    rest = below.comments
    if above.comments:
        rest = tuple(replace(comment, trailing=False) for comment in rest)
    return Gap(above.comments + rest, above.newline or below.newline, below.blank)


def _gap(text: str, *, first: bool) -> Gap:
    """`first`: no word stands in front, so that nothing trails and nothing needs distance."""
    comments: list[Comment] = []
    blank = False
    lines = text.split("\n")
    for number, line in enumerate(lines):
        content = line.strip(" \t\r")
        if content:
            trailing = number == 0 and not first
            comments.append(Comment(content, trailing, blank and not trailing))
            blank = False
        elif 0 < number < len(lines) - 1:
            blank = bool(comments) or not first
    return Gap(tuple(comments), newline=len(lines) > 1, blank=blank)

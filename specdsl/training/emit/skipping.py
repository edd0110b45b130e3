"""Terms whose weight may become 0: then they are not computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from specdsl.training.emit.lines import INDENT, comment, statement


@dataclass(frozen=True, slots=True)
class Part:
    """A term among the statements of a function: those from `start` up to `stop`.

    The last of them sets it, the one before says its text, those before that define what it needs.
    `condition`: its weight where that varies, or nothing where it is always computed.
    """

    start: int
    stop: int
    condition: str


def skipping(texts: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """The lines of the function, each term under a condition that its weight is not 0.

    What later terms need as well stays outside.
    """
    body = fitted(texts[: parts[0].start] if parts else texts)
    for part in parts:
        own, later = texts[part.start : part.stop], texts[part.stop :]
        body += _guarded(own, later, part.condition) if part.condition else fitted(own)
    return body


def fitted(texts: Iterable[str], depth: int = 1) -> list[str]:
    """Statements and remarks as lines of a function, broken where they are too long."""
    lines: list[str] = []
    for text in texts:
        made = comment(text[2:], depth) if text.startswith("# ") else statement(text, depth)
        lines += made
    return lines


def _guarded(own: Sequence[str], later: Sequence[str], condition: str) -> list[str]:
    *needed, text, last = own
    outside: list[str] = []
    inside: list[str] = [last]
    place = inside
    for line in reversed(needed):
        # A remark goes with the definition that it stands above.
        if not line.startswith("#"):
            name = line.partition(" = ")[0]
            place = outside if _is_read(name, (*later, *outside)) else inside
        place.insert(0, line)
    return [*fitted([*outside, text]), f"{INDENT}if {condition}:", *fitted(inside, 2)]


def _is_read(names: str, texts: Sequence[str]) -> bool:
    """Whether a variable, or one of several, stands in some text."""
    wanted = re.compile("|".join(rf"(?<![\w.]){name.strip()}\b" for name in names.split(",")))
    return any(wanted.search(text) for text in texts)

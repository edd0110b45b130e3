"""Text that breaks its lines where it must.

A group is written on one line if it fits, and otherwise breaks at all of its own breaks; the groups
inside it decide for themselves. Writing does not recurse.
Source: P. Wadler, "A prettier printer", in The Fun of Programming, 2003.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH = 100
INDENT = 2


@dataclass(frozen=True, slots=True)
class Break:
    """A place to break the line; on one line it is written as `flat`. `always` breaks it."""

    flat: str
    always: bool = False


@dataclass(frozen=True, slots=True)
class Concat:
    """Documents one after another."""

    parts: tuple[Doc, ...]


@dataclass(frozen=True, slots=True)
class Nest:
    """A document whose lines are indented one step more."""

    inside: Doc


@dataclass(frozen=True, slots=True)
class Group:
    """A document whose own breaks are all taken, or none of them."""

    inside: Doc


Doc = str | Break | Concat | Nest | Group

SPACE = Break(" ")
NOTHING = Break("")
LINE = Break("", always=True)

_Pending = list[tuple[Doc, int, bool]]
"""Documents to write, the last one first, each with its indentation and whether it breaks."""


def concat(*parts: Doc) -> Doc:
    """Documents one after another."""
    return Concat(parts)


def join(docs: Iterable[Doc], separator: str = ",", gap: Break = SPACE) -> Doc:
    """The documents with `separator` and a break between each two."""
    out: list[Doc] = []
    for doc in docs:
        out += [separator, gap] if out else []
        out.append(doc)
    return Concat(tuple(out))


def bracket(opening: str, docs: Sequence[Doc], closing: str, pad: str = "") -> Doc:
    """``(a, b)``, or one a line; `pad` stands inside the brackets on one line."""
    if not docs:
        return opening + closing
    edge = Break(pad)
    return Group(Concat((opening, Nest(Concat((edge, join(docs)))), edge, closing)))


def block(lines: Sequence[Doc]) -> Doc:
    """``{``, a line for each document, ``}``; ``{}`` without any."""
    if not lines:
        return "{}"
    return Concat(("{", Nest(Concat(tuple(p for line in lines for p in (LINE, line)))), LINE, "}"))


def write(doc: Doc) -> str:
    """The document as text, its first line at the margin."""
    out: list[str] = []
    column = 0
    pending: _Pending = [(doc, 0, True)]
    while pending:
        head, indent, breaks = pending.pop()
        if isinstance(head, str):
            out.append(head)
            column += len(head)
        elif isinstance(head, Break):
            if head.always or breaks:
                out.append("\n" + " " * indent)
                column = indent
            else:
                out.append(head.flat)
                column += len(head.flat)
        elif isinstance(head, Group):
            flat = _fits(head.inside, WIDTH - column, pending)
            pending.append((head.inside, indent, not flat))
        else:
            _open(head, indent, breaks, pending)
    return "".join(out)


def _open(doc: Concat | Nest, indent: int, breaks: bool, pending: _Pending) -> None:
    if isinstance(doc, Nest):
        pending.append((doc.inside, indent + INDENT, breaks))
    else:
        pending.extend((part, indent, breaks) for part in reversed(doc.parts))


def _fits(doc: Doc, room: int, rest: _Pending) -> bool:
    """Whether `doc` on one line, and what follows it up to the next break, needs at most `room`."""
    pending: _Pending = [(doc, 0, False)]
    index = len(rest)
    while room >= 0:
        if not pending:
            if index == 0:
                return True
            index -= 1
            pending.append(rest[index])
        head, indent, breaks = pending.pop()
        if isinstance(head, str):
            room -= len(head)
        elif isinstance(head, Break):
            if head.always or breaks:
                return breaks or not head.always
            room -= len(head.flat)
        elif isinstance(head, Group):
            pending.append((head.inside, indent, breaks and index < len(rest)))
        else:
            _open(head, indent, breaks, pending)
    return False

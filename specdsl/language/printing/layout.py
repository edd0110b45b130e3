"""Text that breaks its lines where it must.

A group is written on one line if it fits, and otherwise breaks at all of its own breaks; the groups
inside it decide for themselves. Writing does not recurse.
Source: P. Wadler, "A prettier printer", in The Fun of Programming, 2003.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WIDTH = 100
INDENT = 2


@dataclass(frozen=True, slots=True)
class Break:
    """A place to break the line; on one line it is written as `flat`.

    `always` breaks it; `blank` puts an empty line there where it breaks; where it does not, a
    `column` may begin behind it.
    """

    flat: str
    always: bool = False
    blank: bool = False
    column: str = ""


@dataclass(frozen=True, slots=True)
class Tab:
    """A blank where a column begins, in which neighbouring lines may be aligned."""

    column: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. It is followed by a break, and its length decides nothing.

    `trailing`: it stands behind something on its line.
    """

    text: str
    trailing: bool = False


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
    """A document whose own breaks are all taken, or none of them; all of them where `broken`."""

    inside: Doc
    broken: bool = False


Doc = str | Break | Tab | Remark | Concat | Nest | Group

SPACE = Break(" ")
NOTHING = Break("")
LINE = Break("", always=True)
BLANK_LINE = Break("", always=True, blank=True)

REMARKS = "#"
"""The column of the comments that stand behind something."""

_Pending = list[tuple[Doc, int, bool]]
"""Documents to write, the last one first, each with its indentation and whether it breaks."""


@dataclass(slots=True)
class Cell:
    """Part of a line from the beginning of `column` to that of the next; the first has none."""

    column: str
    text: str = ""


@dataclass(slots=True)
class Line:
    """A line that is written: its cells are aligned with those of its neighbours, or joined."""

    indent: int
    cells: list[Cell] = field(default_factory=lambda: [Cell("")])

    def __str__(self) -> str:
        text = " " * self.indent + self.cells[0].text
        for cell in self.cells[1:]:
            text += ("  " if cell.column == REMARKS else " ") + cell.text
        return text.rstrip(" ")


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
    return "\n".join(map(str, lines_of(doc)))


def lines_of(doc: Doc) -> list[Line]:
    """The document as lines, the first one at the margin; empty lines are among them."""
    lines = [Line(0)]
    column = 0
    pending: _Pending = [(doc, 0, True)]
    while pending:
        head, indent, breaks = pending.pop()
        if isinstance(head, str):
            lines[-1].cells[-1].text += head
            column += len(head)
        elif isinstance(head, Break):
            if head.always or breaks:
                lines += [Line(0)] * head.blank + [Line(indent)]
                column = indent
            elif head.column:
                lines[-1].cells.append(Cell(head.column))
                column += 1
            else:
                lines[-1].cells[-1].text += head.flat
                column += len(head.flat)
        elif isinstance(head, Tab):
            lines[-1].cells.append(Cell(head.column))
            column += 1
        elif isinstance(head, Remark):
            if head.trailing:
                lines[-1].cells.append(Cell(REMARKS))
            lines[-1].cells[-1].text += head.text
        elif isinstance(head, Group):
            flat = not head.broken and _fits(head.inside, WIDTH - column, pending)
            pending.append((head.inside, indent, not flat))
        else:
            _open(head, indent, breaks, pending)
    return lines


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
        elif isinstance(head, Tab):
            room -= 1
        elif isinstance(head, Group):
            inside_rest = index < len(rest)
            if head.broken and not inside_rest:
                return False
            pending.append((head.inside, indent, breaks and inside_rest))
        elif not isinstance(head, Remark):
            _open(head, indent, breaks, pending)
    return False

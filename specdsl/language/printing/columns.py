"""Neighbouring lines in columns: the fields of a space, and the comments behind lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from specdsl.language.printing.layout import REMARKS, WIDTH, Line

FIELD_COLUMNS = (":", "in", "normalize", "encode")
"""What may follow the name of a field, in this order."""


def align(lines: Sequence[Line]) -> str:
    """The lines as text, blanks added to them where columns begin.

    A column that would make a line longer than `WIDTH` is left as it is.
    """
    for run in _runs(lines, _is_field):
        for column in FIELD_COLUMNS:
            _align(run, column)
    for run in _runs(lines, lambda line: line.cells[-1].column == REMARKS):
        _align(run, REMARKS)
    return "\n".join(map(str, lines))


def _is_field(line: Line) -> bool:
    """Not so for the fields of a space on one line: they share it."""
    columns = [cell.column for cell in line.cells[1:] if cell.column != REMARKS]
    return bool(columns) and line.indent > 0 and len(set(columns)) == len(columns)


def _runs(lines: Sequence[Line], belongs: Callable[[Line], bool]) -> Iterator[list[Line]]:
    """Neighbours of one indentation that belong together."""
    for (chosen, _), run in groupby(lines, key=lambda line: (belongs(line), line.indent)):
        if chosen:
            yield list(run)


def _align(run: Sequence[Line], column: str) -> None:
    found = [
        (line, index, _width(line, index))
        for line in run
        for index, cell in enumerate(line.cells)
        if cell.column == column
    ]
    target = max((width for _, _, width in found), default=0)
    for line, _, width in found:
        length = len(str(line))
        if length <= WIDTH < length + target - width:
            return
    for line, index, width in found:
        line.cells[index - 1].text += " " * (target - width)


def _width(line: Line, index: int) -> int:
    """How much of the line stands in front of the cell at `index`, without what separates it."""
    return line.indent + sum(len(cell.text) for cell in line.cells[:index]) + index

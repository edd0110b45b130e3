"""Tables as comma-separated text: one row a sample, one column the label."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.diagnostics import SpecError, suggestion
from specdsl.files import read_bytes

Rows = list[list[str]]


def read_csv(
    path: Path, label: str | int | None, *, labelled: bool, numbers: bool = False
) -> Dataset:
    """A table of numbers, with or without a line of column names.

    `label`: name or position (from 0) of the column of labels, the last one where it is None and
    the table is `labelled`. Cells become float64. Raises SpecError (no span): E05xx of
    `read_bytes`, E0505 not UTF-8, E0517 cells that are no numbers or rows of different lengths,
    E0518 no such column, and as `make_dataset`.
    """
    header, rows = _split(path)
    table = _numbers(rows, path, 1 if header is None else 2)
    if header is not None and len(header) != table.shape[1]:
        message = f"`{path}` names {len(header)} columns, its rows have {table.shape[1]} cells"
        raise SpecError.of("E0517", message)
    if not labelled:
        return make_dataset(table, None, f"`{path.name}`")
    column = _column(label, header, table.shape[1], path)
    inputs = np.delete(table, column, axis=1)
    return make_dataset(inputs, table[:, column], f"`{path.name}`", numbers=numbers)


def _split(path: Path) -> tuple[list[str] | None, Rows]:
    """Column names, where the first line is no row of numbers, and the other lines."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text (byte {error.start})"
        raise SpecError.of("E0505", message) from error
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise SpecError.of("E0517", f"`{path}` is not a table ({error})") from error
    if rows and not all(_is_number(cell) for cell in rows[0]):
        return [cell.strip() for cell in rows[0]], rows[1:]
    return None, rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(rows: Rows, path: Path, first_line: int) -> np.ndarray[tuple[int, int], np.dtype]:
    if not rows:
        raise SpecError.of("E0517", f"`{path}` holds no rows")
    width = len(rows[0])
    for number, row in enumerate(rows, first_line):
        if len(row) != width:
            message = f"row {number} of `{path}` has {len(row)} cells, the first has {width}"
            raise SpecError.of("E0517", message)
        for cell in row:
            if not _is_number(cell):
                raise SpecError.of("E0517", f"row {number} of `{path}`: `{cell}` is no number")
    return np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)


def _column(label: str | int | None, header: list[str] | None, width: int, path: Path) -> int:
    if label is None:
        return width - 1
    if isinstance(label, int):
        if not 0 <= label < width:
            message = f"`{path}` has columns 0 to {width - 1}, not {label}"
            raise SpecError.of("E0518", message)
        return label
    if header is None or label not in header:
        help_ = suggestion(label, header or ()) or (
            "its columns are " + ", ".join(f"`{name}`" for name in header[:10])
            if header
            else "the file has no line of column names: give the column by number"
        )
        raise SpecError.of("E0518", f"`{path}` has no column `{label}`", help=help_)
    return header.index(label)

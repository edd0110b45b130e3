"""`LinearModel`: a sparse mixed-integer linear program as plain numpy arrays, with readable names.

minimise cost . x   where   row_lower <= A x <= row_upper,  lower <= x <= upper,
                            x_j a whole number where integer_j
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns (or rows) of one layer, at consecutive positions from `start`.

    `indices[i]` is the neuron that position `start + i` belongs to: the name is `relu_3[17]`.
    """

    name: str
    start: int
    indices: IndexArray

    def labels(self) -> list[str]:
        """One name for each position."""
        return [f"{self.name}[{i}]" for i in self.indices.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class SparseTerms:
    """Entries of a sparse matrix in coordinate form, sorted by row, then column, each pair once.

    Shapes: (entries,) each.
    """

    rows: IndexArray
    columns: IndexArray
    coefficients: FloatArray

    @classmethod
    def of(cls, rows: IndexArray, columns: IndexArray, coefficients: FloatArray) -> SparseTerms:
        """Sort the entries, add up those that share a place and drop zeros."""
        order = np.lexsort((columns, rows))
        rows, columns, coefficients = rows[order], columns[order], coefficients[order]
        if rows.size:
            new = np.concatenate([[True], (np.diff(rows) != 0) | (np.diff(columns) != 0)])
            starts = np.flatnonzero(new)
            rows, columns = rows[starts], columns[starts]
            coefficients = np.add.reduceat(coefficients, starts)
        kept = coefficients != 0
        return cls(rows[kept], columns[kept], coefficients[kept])

    def times(self, x: FloatArray, rows: int) -> FloatArray:
        """`A x`, of length `rows`."""
        products = self.coefficients * x[self.columns]
        return np.bincount(self.rows, weights=products, minlength=rows).astype(np.float64)

    def transposed_times(self, y: FloatArray, columns: int) -> FloatArray:
        """`A^T y`, of length `columns`."""
        products = self.coefficients * y[self.rows]
        return np.bincount(self.columns, weights=products, minlength=columns).astype(np.float64)

    def at(self, rows: IndexArray) -> SparseTerms:
        """These rows alone, by their places in `rows`, which is sorted."""
        place = np.searchsorted(rows, self.rows)
        own = rows[np.minimum(place, rows.size - 1)] == self.rows if rows.size else place < 0
        return SparseTerms(place[own], self.columns[own], self.coefficients[own])

    def magnitude(self) -> SparseTerms:
        """The same places with absolute values."""
        return replace(self, coefficients=np.abs(self.coefficients))


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """One case of a query as a (mixed-integer) linear program; see the module's first lines.

    Shapes: lower, upper, integer, cost: (columns,); row_lower, row_upper: (rows,), infinite where
    a row has one side only. Column bounds are finite. `inputs[i]` is the column of entry i of the
    graph's flat input.
    """

    name: str
    terms: SparseTerms
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    integer: BoolArray
    cost: FloatArray
    inputs: IndexArray
    column_blocks: tuple[Block, ...]
    row_blocks: tuple[Block, ...]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.lower.shape[0]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.row_lower.shape[0]

    @property
    def binaries(self) -> int:
        """Number of columns that must be whole."""
        return int(self.integer.sum())

    def relaxed(self) -> LinearModel:
        """The linear program in which every column may be fractional."""
        return replace(self, integer=np.zeros_like(self.integer))

    def with_rows(
        self,
        name: str,
        indices: IndexArray,
        terms: SparseTerms,
        lower: FloatArray | float,
        upper: FloatArray | float,
    ) -> LinearModel:
        """The model with further rows, as `ModelBuilder.add_rows` takes them."""
        block = Block(_fresh(name, self.row_blocks), self.rows, indices)
        return replace(
            self,
            terms=SparseTerms(
                np.concatenate([self.terms.rows, terms.rows + self.rows]),
                np.concatenate([self.terms.columns, terms.columns]),
                np.concatenate([self.terms.coefficients, terms.coefficients]),
            ),
            row_lower=np.concatenate([self.row_lower, _sides(lower, indices)]),
            row_upper=np.concatenate([self.row_upper, _sides(upper, indices)]),
            row_blocks=(*self.row_blocks, block),
        )

    def column_names(self) -> list[str]:
        """Layer and neuron of each column."""
        return [label for block in self.column_blocks for label in block.labels()]

    def row_names(self) -> list[str]:
        """Layer and neuron of each row."""
        return [label for block in self.row_blocks for label in block.labels()]

    def violation(self, x: FloatArray) -> float:
        """By how much `x` breaks the worst row or column bound; 0 where it breaks none."""
        activity = self.terms.times(x, self.rows)
        gaps = (
            self.row_lower - activity,
            activity - self.row_upper,
            self.lower - x,
            x - self.upper,
        )
        return max(0.0, *(float(gap.max(initial=0.0)) for gap in gaps))


class ModelBuilder:
    """Collects columns and rows, then gives a `LinearModel`. Blocks get unique, plain names."""

    def __init__(self) -> None:
        self._column_blocks: list[Block] = []
        self._row_blocks: list[Block] = []
        self._lower: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._integer: list[BoolArray] = []
        self._terms: list[SparseTerms] = []
        self._row_lower: list[FloatArray] = []
        self._row_upper: list[FloatArray] = []
        self._columns = 0
        self._rows = 0

    def copy(self) -> ModelBuilder:
        """A builder that goes on from here on its own; blocks already there are shared."""
        other = ModelBuilder()
        for name, value in vars(self).items():
            setattr(other, name, list(value) if isinstance(value, list) else value)
        return other

    def add_columns(
        self,
        name: str,
        indices: IndexArray,
        lower: FloatArray,
        upper: FloatArray,
        whole: bool | BoolArray,
    ) -> IndexArray:
        """New columns for neurons `indices`; their positions. `whole`: integers only."""
        self._column_blocks.append(Block(_fresh(name, self._column_blocks), self._columns, indices))
        self._lower.append(lower)
        self._upper.append(upper)
        self._integer.append(np.broadcast_to(np.asarray(whole, dtype=bool), indices.shape))
        positions = np.arange(self._columns, self._columns + indices.size)
        self._columns += indices.size
        return positions

    def add_rows(
        self,
        name: str,
        indices: IndexArray,
        terms: SparseTerms,
        lower: FloatArray | float,
        upper: FloatArray | float,
    ) -> None:
        """`lower <= terms <= upper`; row i of `terms`, counted from 0 here, belongs to
        `indices[i]`.
        """
        self._row_blocks.append(Block(_fresh(name, self._row_blocks), self._rows, indices))
        self._terms.append(replace(terms, rows=terms.rows + self._rows))
        self._row_lower.append(_sides(lower, indices))
        self._row_upper.append(_sides(upper, indices))
        self._rows += indices.size

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) of all columns so far."""
        self._lower, self._upper = [_joined(self._lower)], [_joined(self._upper)]
        return self._lower[0], self._upper[0]

    def build(self, name: str, minimise: int, inputs: IndexArray) -> LinearModel:
        """The model that minimises column `minimise`."""
        lower, upper = self.bounds()
        cost = np.zeros(self._columns)
        cost[minimise] = 1.0
        # Blocks come in rising order of rows and are sorted inside: no sorting once more.
        terms = SparseTerms(
            np.concatenate([np.zeros(0, dtype=np.int64), *(t.rows for t in self._terms)]),
            np.concatenate([np.zeros(0, dtype=np.int64), *(t.columns for t in self._terms)]),
            _joined([t.coefficients for t in self._terms]),
        )
        return LinearModel(
            name=name,
            terms=terms,
            row_lower=_joined(self._row_lower),
            row_upper=_joined(self._row_upper),
            lower=lower,
            upper=upper,
            integer=np.concatenate([np.zeros(0, dtype=bool), *self._integer]),
            cost=cost,
            inputs=inputs,
            column_blocks=tuple(self._column_blocks),
            row_blocks=tuple(self._row_blocks),
        )


def _joined(parts: list[FloatArray]) -> FloatArray:
    return np.concatenate([np.zeros(0), *parts])


def _sides(side: FloatArray | float, indices: IndexArray) -> FloatArray:
    return np.broadcast_to(np.asarray(side, dtype=np.float64), indices.shape)


def _fresh(name: str, blocks: Sequence[Block]) -> str:
    """Letters, digits and underscores only, which every file format takes, and not used yet."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    plain = plain if plain[:1].isalpha() else f"n{plain}"
    taken = {block.name for block in blocks}
    number, candidate = 2, plain
    while candidate in taken:
        number, candidate = number + 1, f"{plain}_{number}"
    return candidate

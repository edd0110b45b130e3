"""Linear programs that are solved again and again with other bounds, by HiGHS's dual simplex.

Nothing is believed of what comes of it: the checker works proofs out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from specdsl.backend import Deadline
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.part_records import FloatArray, IntArray


class Terms(NamedTuple):
    """`coefficients[i]` in row `rows[i]` and column `columns[i]`; what is in one place adds up."""

    rows: IntArray
    columns: IntArray
    coefficients: FloatArray


def dense_terms(values: FloatArray, start: int) -> Terms:
    """Of rows (rows, columns) from row `start` on."""
    rows, columns = np.nonzero(values)
    return Terms(start + rows, columns, values[rows, columns])


def joined(parts: Sequence[Terms]) -> Terms:
    """All of them."""
    none = Terms(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Terms(*(np.concatenate(each) for each in zip(none, *parts, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """`values` of the columns, `duals` of the rows and `reduced` costs of the columns: positive at
    a lower bound, negative at an upper one.
    """

    objective: float
    values: FloatArray
    duals: FloatArray
    reduced: FloatArray


class LinearProgram:
    """Minimise `cost . x` where columns and rows lie between their bounds."""

    def __init__(
        self,
        cost: FloatArray,
        columns: tuple[FloatArray, FloatArray],
        rows: tuple[FloatArray, FloatArray],
        terms: Terms,
    ) -> None:
        import highspy

        self._highs: Any = highspy.Highs()
        # Basis and factors are kept from one solve to the next, which presolve would undo.
        for name, value in (("output_flag", False), ("presolve", "off"), ("threads", 1)):
            self._highs.setOptionValue(name, value)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(cost), len(rows[0])
        model.col_cost_ = cost
        model.col_lower_, model.col_upper_ = columns
        model.row_lower_, model.row_upper_ = rows
        place, at = np.unique(terms.rows * len(cost) + terms.columns, return_inverse=True)
        coefficients = np.bincount(at, terms.coefficients, len(place))
        matrix = model.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.num_col_, matrix.num_row_ = len(cost), len(rows[0])
        matrix.start_ = np.searchsorted(place // len(cost), np.arange(len(rows[0]) + 1))
        matrix.index_ = place % len(cost)
        matrix.value_ = coefficients.astype(np.float64)
        if self._highs.passModel(model) == highspy.HighsStatus.kError:
            raise NotCertified("HiGHS does not take the linear program")
        self._optimal = highspy.HighsModelStatus.kOptimal

    def bound_column(self, column: int, lower: float, upper: float) -> None:
        """Other bounds."""
        self._highs.changeColBounds(column, lower, upper)

    def bound_row(self, row: int, lower: float, upper: float) -> None:
        """Other bounds."""
        self._highs.changeRowBounds(row, lower, upper)

    def change(self, row: int, column: int, coefficient: float) -> None:
        """Another coefficient."""
        self._highs.changeCoeff(row, column, coefficient)

    def solve(self, deadline: Deadline) -> Solved:
        """Raises NotCertified where HiGHS finds no optimum, OutOfTime."""
        deadline.check()
        highs = self._highs
        if deadline.end is not None:
            # HiGHS's clock goes on from one run to the next.
            highs.setOptionValue("time_limit", highs.getRunTime() + deadline.remaining)
        highs.run()
        deadline.check()
        if highs.getModelStatus() != self._optimal:
            # A basis that leads nowhere is no reason to give up.
            highs.clearSolver()
            highs.run()
        status = highs.getModelStatus()
        if status != self._optimal:
            raise NotCertified(
                f"HiGHS says of a part's program: {highs.modelStatusToString(status)}"
            )
        found = highs.getSolution()
        values, duals, reduced = (
            np.array(v) for v in (found.col_value, found.row_dual, found.col_dual)
        )
        return Solved(highs.getInfo().objective_function_value, values, duals, reduced)

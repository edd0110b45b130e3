"""Minimising a `LinearModel` on HiGHS, and what of the answer may be believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.model.linear_model import (
    BoolArray,
    FloatArray,
    IndexArray,
    LinearModel,
    SparseTerms,
)
from specdsl.encoding.solvers.dual_bound import safe_bound
from specdsl.encoding.solvers.session import (
    ENOUGH,
    INFEASIBLE,
    OPTIMAL,
    OPTIMUM,
    TARGET_REACHED,
    TIME_LIMIT,
    TOO_LARGE,
    Session,
    Solution,
    Until,
    hidden_by_tolerances,
    lowest,
    with_whole_ends,
)

# HiGHS allows each row, reduced cost and whole number this error. Its own default is 1e-7, and 1e-6
# for whole numbers, which a large big-M turns into visible violations; it takes no less than 1e-10.
SOLVER_TOLERANCE = 1e-9
# HiGHS silently drops matrix entries up to this (`small_matrix_value`).
SMALLEST_COEFFICIENT = 1e-9
# HiGHS refuses matrix entries above 1e15, and such numbers mean nothing beside its tolerances.
LARGEST_NUMBER = 1e15


def solve(model: LinearModel, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
    """Minimise on HiGHS with one thread; `until` is for models with whole columns."""
    return HighsSession(model).solve(deadline, until)


class HighsSession(Session):
    """A model that HiGHS holds: changed, it is solved again without being built again, a linear
    program from the last solution's basis.
    """

    def __init__(self, model: LinearModel) -> None:
        super().__init__(model)
        # None until the first solution, and where what HiGHS holds can only be built anew.
        self._highs: Any = None
        self._absorbed = False
        self._enough = np.inf

    def bound_columns(self, columns: IndexArray, lower: FloatArray, upper: FloatArray) -> None:
        super().bound_columns(columns, lower, upper)
        if self._changeable:
            self._give_ends(columns)

    def bound_rows(self, rows: IndexArray, lower: FloatArray, upper: FloatArray) -> None:
        super().bound_rows(rows, lower, upper)
        if self._changeable:
            given = self.model.row_lower[rows], self.model.row_upper[rows]
            self._must(self._highs.changeRowsBounds(len(rows), rows.astype(np.int32), *given))

    def whole(self, integer: BoolArray) -> None:
        changed = np.flatnonzero(integer != self.model.integer)
        super().whole(integer)
        if self._changeable and changed.size:
            own, kinds = changed.astype(np.int32), integer[changed].astype(np.uint8)
            self._must(self._highs.changeColsIntegrality(len(own), own, kinds))
            self._give_ends(changed)

    def minimise(self, cost: FloatArray) -> None:
        changed = np.flatnonzero(cost != self.model.cost)
        super().minimise(cost)
        if self._changeable:
            own = changed.astype(np.int32)
            self._must(self._highs.changeColsCost(len(own), own, cost[changed]))

    def add_rows(
        self,
        name: str,
        indices: IndexArray,
        terms: SparseTerms,
        lower: FloatArray | float,
        upper: FloatArray | float,
    ) -> None:
        first = self.model.rows
        super().add_rows(name, indices, terms, lower, upper)
        if self._changeable and _tiny(terms).any():
            self._highs = None
        if self._changeable:
            starts, places, numbers = _compressed(terms, len(indices))
            sides = self.model.row_lower[first:], self.model.row_upper[first:]
            own = (len(indices), *sides, len(places), starts[:-1], places, numbers)
            self._must(self._highs.addRows(*own))

    def solve(self, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
        if not _in_range(self.model):
            return Solution(TOO_LARGE, lowest(self.model), None, None, 0)
        highs = self._ready()
        whole = bool(self.model.binaries)
        for name, value in (
            ("mip_rel_gap", until.gap),
            ("objective_target", until.target if whole else -np.inf),
        ):
            highs.setOptionValue(name, value)
        self._enough = until.enough + (
            hidden_by_tolerances(self.model, SOLVER_TOLERANCE) if whole else 0.0
        )
        # Its presolve calls models with points infeasible, too, where a bound lies within the
        # tolerances of what a row implies (seen in HiGHS 1.15.1): it is asked again without.
        self._run(deadline, presolve=True)
        if self._status() in INFEASIBLE:
            self._run(deadline, presolve=False)
        return self._solution()

    @property
    def _changeable(self) -> bool:
        """Whether HiGHS holds the model number by number, and takes changes."""
        if self._absorbed:
            self._highs = None
        return self._highs is not None

    def _give_ends(self, columns: IndexArray) -> None:
        model = with_whole_ends(self.model)
        given = model.lower[columns], model.upper[columns]
        self._must(self._highs.changeColsBounds(len(columns), columns.astype(np.int32), *given))

    def _ready(self) -> Any:
        if self._highs is None:
            given = absorb_tiny_terms(self.model)
            self._absorbed = given is not self.model
            self._highs = handed_over(given)
            self._highs.cbMipInterrupt.subscribe(self._end_where_enough)
        return self._highs

    def _end_where_enough(self, event: Any) -> None:
        bound = event.data_out.mip_dual_bound
        # Said each time: what one run was told stays with HiGHS in the next.
        event.interrupt(bool(np.isfinite(bound) and bound > self._enough))

    def _must(self, status: Any) -> None:
        """A change that HiGHS refuses would leave it with another model."""
        import highspy

        if status == highspy.HighsStatus.kError:
            raise RuntimeError("HiGHS refused a change of its model")

    def _run(self, deadline: Deadline, *, presolve: bool) -> None:
        highs = self._highs
        if self.model.binaries or not presolve:
            # No branch and bound starts from what an earlier one, of other bounds, has left.
            highs.clearSolver()
        highs.setOptionValue("presolve", "choose" if presolve else "off")
        # HiGHS's clock goes on from one run to the next.
        limit = np.inf if deadline.end is None else max(deadline.remaining, MINIMAL_TIME)
        highs.setOptionValue("time_limit", highs.getRunTime() + limit)
        highs.run()

    def _status(self) -> str:
        import highspy

        status = self._highs.getModelStatus()
        named = {
            highspy.HighsModelStatus.kOptimal: OPTIMAL,
            highspy.HighsModelStatus.kTimeLimit: TIME_LIMIT,
            highspy.HighsModelStatus.kObjectiveTarget: TARGET_REACHED,
            # Nobody else interrupts.
            highspy.HighsModelStatus.kInterrupt: ENOUGH,
        }
        return named.get(status) or self._highs.modelStatusToString(status).lower()

    def _solution(self) -> Solution:
        import highspy

        info, found = self._highs.getInfo(), self._highs.getSolution()
        point = None
        if info.primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible):
            values = np.array(found.col_value, dtype=np.float64)
            point = values if np.isfinite(values).all() else None
        duals = np.zeros(self.model.rows)
        if found.dual_valid:
            duals = np.array(found.row_dual, dtype=np.float64)
        status = self._status()
        return Solution(
            status=status,
            bound=_bound(self.model, duals, info.mip_dual_bound, status),
            objective=None if point is None else float(self.model.cost @ point),
            point=point,
            nodes=max(0, info.mip_node_count),
        )


# HiGHS takes a limit of 0 as an error in some versions.
MINIMAL_TIME = 1e-3


def absorb_tiny_terms(model: LinearModel) -> LinearModel:
    """The model without the terms that HiGHS would drop: their rows make room for all values the
    terms can take, so that the new optimum is at most the old one.
    """
    terms, tiny = model.terms, _tiny(model.terms)
    if not tiny.any():
        return model
    dropped = SparseTerms(terms.rows[tiny], terms.columns[tiny], terms.coefficients[tiny])
    kept = SparseTerms(terms.rows[~tiny], terms.columns[~tiny], terms.coefficients[~tiny])
    center = dropped.times((model.lower + model.upper) / 2, model.rows)
    radius = dropped.magnitude().times((model.upper - model.lower) / 2, model.rows)
    return replace(
        model,
        terms=kept,
        row_lower=model.row_lower - center - radius,
        row_upper=model.row_upper - center + radius,
    )


def _tiny(terms: SparseTerms) -> Any:
    return np.abs(terms.coefficients) <= SMALLEST_COEFFICIENT


def handed_over(model: LinearModel) -> Any:
    """HiGHS with a model, at our tolerances. RuntimeError where it takes none."""
    import highspy

    highs = highspy.Highs()
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("primal_feasibility_tolerance", SOLVER_TOLERANCE),
        ("dual_feasibility_tolerance", SOLVER_TOLERANCE),
        ("mip_feasibility_tolerance", SOLVER_TOLERANCE),
        ("mip_abs_gap", SOLVER_TOLERANCE),
    ):
        highs.setOptionValue(name, value)
    starts, places, numbers = _compressed(model.terms, model.rows)
    # From other bounds of whole columns, HiGHS's presolve draws wrong conclusions (seen in 1.15.1).
    model = with_whole_ends(model)
    status = highs.passModel(
        model.columns,
        model.rows,
        len(places),
        highspy.MatrixFormat.kRowwise.value,
        highspy.ObjSense.kMinimize.value,
        0.0,
        model.cost,
        model.lower,
        model.upper,
        model.row_lower,
        model.row_upper,
        starts,
        places,
        numbers,
        model.integer.astype(np.int32),
    )
    if status == highspy.HighsStatus.kError:
        raise RuntimeError("HiGHS does not take the model")
    return highs


def _compressed(
    terms: SparseTerms, rows: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], FloatArray]:
    """Row by row: where each starts, columns, coefficients."""
    starts = np.searchsorted(terms.rows, np.arange(rows + 1))
    return starts.astype(np.int32), terms.columns.astype(np.int32), terms.coefficients


def _bound(model: LinearModel, duals: FloatArray, claimed: float, status: str) -> float:
    """The best of what column bounds, duals and the branch and bound prove."""
    least = lowest(model)
    if not model.binaries:
        return max(least, safe_bound(model, duals))
    if status not in (OPTIMAL, TIME_LIMIT, ENOUGH) or not np.isfinite(claimed):
        return least
    return max(least, float(claimed) - hidden_by_tolerances(model, SOLVER_TOLERANCE))


def _in_range(model: LinearModel) -> bool:
    """Whether all numbers are such that HiGHS takes them; infinite sides of rows are fine."""
    sides = np.concatenate([model.row_lower, model.row_upper])
    finite = (model.terms.coefficients, model.lower, model.upper, sides[~np.isinf(sides)])
    return all(bool((np.abs(numbers) < LARGEST_NUMBER).all()) for numbers in finite)

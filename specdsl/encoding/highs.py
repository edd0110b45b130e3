"""Solving a `LinearModel` on HiGHS through Pyomo, and what of the answer may be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.dual_bound import safe_bound
from specdsl.encoding.linear_model import FloatArray, LinearModel, SparseTerms
from specdsl.encoding.pyomo_model import PyomoModel, to_pyomo

# HiGHS allows each row, reduced cost and whole number this error. Its own default is 1e-7, and 1e-6
# for whole numbers, which a large big-M turns into visible violations; it takes no less than 1e-10.
SOLVER_TOLERANCE = 1e-9
# HiGHS silently drops matrix entries up to this when it is given the model (`small_matrix_value`;
# Pyomo sets options only afterwards).
SMALLEST_COEFFICIENT = 1e-9

# HiGHS refuses matrix entries above 1e15, and such numbers mean nothing beside its tolerances.
LARGEST_NUMBER = 1e15

OPTIMAL = "optimal"
TIME_LIMIT = "time limit"
TARGET_REACHED = "target reached"
TOO_LARGE = "numbers beyond 1e15"
# What the solver says where it found no point. Its presolve says so of models with points too,
# where a bound lies within the tolerances of what a row implies (seen in HiGHS 1.15.1): it is asked
# again without.
INFEASIBLE = frozenset({"provenInfeasible", "locallyInfeasible", "infeasibleOrUnbounded"})


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What came of minimising a model.

    `status`: `optimal`, `time limit`, `target reached`, or the solver's word for anything else.
    `bound`: a lower bound on the optimum that holds whatever the status; for a linear program it
    rests on our own arithmetic (see `dual_bound`), with whole columns on HiGHS's branch and bound,
    less what its tolerances can hide. `objective` and `point` (every column) are the best found,
    None where nothing was; nothing is proven about them. `nodes`: of the search tree.
    """

    status: str
    bound: float
    objective: float | None
    point: FloatArray | None
    nodes: int


def solve(
    model: LinearModel, deadline: Deadline, gap: float = 0.0, target: float | None = None
) -> Solution:
    """Minimise on HiGHS with one thread, until the deadline or a relative gap of `gap`.

    With whole columns, the search also ends at the first point whose objective is below `target`.
    """
    if not _in_range(model):
        return Solution(TOO_LARGE, _lowest(model), None, None, 0)
    built = to_pyomo(absorb_tiny_terms(model))
    goal = target if model.binaries else None
    results = _run(built, deadline, gap, goal, presolve=True)
    if _status(results) in INFEASIBLE:
        results = _run(built, deadline, gap, goal, presolve=False)
    point = _point(model, built, results)
    status = _status(results)
    bound = _bound(model, built, results, status)
    nodes = getattr(results.extra_info, "mip_node_count", None)
    return Solution(
        status=status,
        bound=bound,
        objective=None if point is None else float(model.cost @ point),
        point=point,
        nodes=max(0, int(nodes)) if isinstance(nodes, int) else 0,
    )


def absorb_tiny_terms(model: LinearModel) -> LinearModel:
    """The model without the terms that HiGHS would drop: their rows make room for all values the
    terms can take, so that the new optimum is at most the old one.
    """
    terms = model.terms
    tiny = np.abs(terms.coefficients) <= SMALLEST_COEFFICIENT
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


def _run(
    built: PyomoModel, deadline: Deadline, gap: float, target: float | None, presolve: bool
) -> Any:
    from pyomo.contrib.solver.solvers.highs import Highs

    # One solve of a fresh model: nothing to look for that might have changed since.
    solver = Highs()
    limit = None if deadline.end is None else max(deadline.remaining, MINIMAL_TIME)
    return solver.solve(
        built.model,
        load_solutions=False,
        raise_exception_on_nonoptimal_result=False,
        threads=1,
        time_limit=limit,
        rel_gap=gap,
        abs_gap=SOLVER_TOLERANCE,
        solver_options={
            "primal_feasibility_tolerance": SOLVER_TOLERANCE,
            "dual_feasibility_tolerance": SOLVER_TOLERANCE,
            "mip_feasibility_tolerance": SOLVER_TOLERANCE,
            "random_seed": 0,
            "presolve": "choose" if presolve else "off",
            "objective_target": -np.inf if target is None else target,
        },
    )


# HiGHS takes a limit of 0 as an error in some versions.
MINIMAL_TIME = 1e-3


def _status(results: Any) -> str:
    from pyomo.contrib.solver.common.results import TerminationCondition

    condition = results.termination_condition
    if condition == TerminationCondition.convergenceCriteriaSatisfied:
        return OPTIMAL
    if condition == TerminationCondition.maxTimeLimit:
        return TIME_LIMIT
    if condition == TerminationCondition.objectiveLimit:
        return TARGET_REACHED
    return str(condition.name)


def _point(model: LinearModel, built: PyomoModel, results: Any) -> FloatArray | None:
    """Values of all columns; columns that occur in no row stand at their lower bound."""
    from pyomo.contrib.solver.common.results import SolutionStatus

    found = (SolutionStatus.optimal, SolutionStatus.feasible)
    if results.solution_status not in found:
        return None
    values = results.solution_loader.get_vars()
    point = np.array(
        [values.get(v, low) for v, low in zip(built.variables, model.lower, strict=True)],
        dtype=np.float64,
    )
    return point if np.isfinite(point).all() else None


def _bound(model: LinearModel, built: PyomoModel, results: Any, status: str) -> float:
    """The best of what column bounds, duals and the branch and bound prove."""
    lowest = _lowest(model)
    if not model.binaries:
        return max(lowest, safe_bound(model, _duals(built, results)))
    claimed = results.objective_bound
    if status not in (OPTIMAL, TIME_LIMIT) or claimed is None or not np.isfinite(claimed):
        return lowest
    return max(lowest, float(claimed) - _hidden_by_tolerances(model))


def _lowest(model: LinearModel) -> float:
    """What the bounds of the objective's columns imply."""
    return float(np.where(model.cost > 0, model.lower, model.upper) @ model.cost)


def _in_range(model: LinearModel) -> bool:
    """Whether all numbers are such that HiGHS takes them; infinite sides of rows are fine."""
    sides = np.concatenate([model.row_lower, model.row_upper])
    finite = (model.terms.coefficients, model.lower, model.upper, sides[~np.isinf(sides)])
    return all(bool((np.abs(numbers) < LARGEST_NUMBER).all()) for numbers in finite)


def _duals(built: PyomoModel, results: Any) -> FloatArray:
    from pyomo.contrib.solver.common.util import NoDualsError

    try:
        duals = results.solution_loader.get_duals()
    except NoDualsError:
        return np.zeros(len(built.constraints))
    return np.array(
        [duals.get(c, 0.0) if c is not None else 0.0 for c in built.constraints], dtype=np.float64
    )


def _hidden_by_tolerances(model: LinearModel) -> float:
    """How far above the true optimum an optimum within the tolerances can lie.

    Errors in primal values only widen the feasible set; an error in a reduced cost can hide that
    part of its column's (or row's) range.
    """
    farthest = np.maximum(np.abs(model.lower), np.abs(model.upper))
    rows = model.terms.magnitude().times(farthest, model.rows).sum()
    return SOLVER_TOLERANCE * float(1.0 + (model.upper - model.lower).sum() + rows)

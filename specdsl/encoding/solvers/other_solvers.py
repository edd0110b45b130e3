"""Minimising a `LinearModel` on a solver that Pyomo starts as a program of its own.

Every solve writes the whole model to a file. What Pyomo reads of a solve that was stopped is no
bound that one could rely on: optima alone are believed, less what the solver's tolerances hide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from shutil import which
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from specdsl.backend import Deadline, Unsupported
from specdsl.encoding.model.linear_model import FloatArray, LinearModel
from specdsl.encoding.model.pyomo_model import PyomoModel, to_pyomo
from specdsl.encoding.solvers.session import (
    OPTIMAL,
    OPTIMUM,
    TIME_LIMIT,
    Session,
    Solution,
    Until,
    hidden_by_tolerances,
    lowest,
    with_whole_ends,
)

OtherName = Literal["scip", "cbc", "glpk", "gurobi", "cplex"]
# By default they allow rows and reduced costs 1e-6 or 1e-7; whole numbers up to 1e-5 (gurobi).
TOLERANCE = 1e-5
# They count whole seconds, and take 0 for no limit.
LEAST_SECONDS = 1


@dataclass(frozen=True, slots=True)
class OtherSolver:
    """`program`: what Pyomo looks for on PATH; `install`: how it gets there; `gap`: the option that
    ends its branch and bound at a relative gap, which some have above 0 by default.
    """

    program: str
    install: str
    gap: str


OTHER_SOLVERS: Mapping[OtherName, OtherSolver] = MappingProxyType(
    {
        "scip": OtherSolver("scip", "SCIP, from its site or by `conda install scip`", "limits/gap"),
        "cbc": OtherSolver("cbc", "`apt install coinor-cbc`, or `brew install cbc`", "ratioGap"),
        "glpk": OtherSolver("glpsol", "`apt install glpk-utils`, or `brew install glpk`", "mipgap"),
        "gurobi": OtherSolver("gurobi_cl", "Gurobi and its licence", "MIPGap"),
        "cplex": OtherSolver("cplex", "CPLEX and its licence", "mipgap"),
    }
)


def require_solver(name: OtherName) -> str:
    """The path of its program. Raises Unsupported where there is none, with how to get one."""
    other = OTHER_SOLVERS[name]
    path = which(other.program)
    if path is None:
        what = f"the solver `{name}`, whose program `{other.program}` is not on the PATH"
        raise Unsupported("milp", what, f"install {other.install}, or leave `solver` out for HiGHS")
    return path


class OtherSession(Session):
    """A model that is written and read anew for every solve."""

    def __init__(self, model: LinearModel, name: OtherName) -> None:
        super().__init__(model)
        self._name: OtherName = name

    def solve(self, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
        """Minimise, to the optimum whatever `until` says: these solvers know no other end."""
        import pyomo.environ as pyo

        model = with_whole_ends(self.model)
        if (model.lower > model.upper).any():
            return Solution("infeasible", lowest(self.model), None, None, nodes=0)
        made = to_pyomo(model)
        solver = pyo.SolverFactory(self._name, executable=require_solver(self._name))
        solver.options[OTHER_SOLVERS[self._name].gap] = 0
        limits: dict[str, Any] = {}
        if deadline.end is not None:
            limits["timelimit"] = max(LEAST_SECONDS, int(np.ceil(deadline.remaining)))
        found = solver.solve(made.model, load_solutions=False, **limits)
        point = _point(made, found, self.model) if len(found.solution) else None
        objective = None if point is None else float(self.model.cost @ point)
        status = _status(found)
        bound = lowest(self.model)
        if status == OPTIMAL and objective is not None:
            bound = max(bound, objective - hidden_by_tolerances(self.model, TOLERANCE))
        return Solution(status, bound, objective, point, nodes=0)


def _status(found: Any) -> str:
    from pyomo.opt import TerminationCondition

    said = found.solver.termination_condition
    named = {
        TerminationCondition.optimal: OPTIMAL,
        TerminationCondition.maxTimeLimit: TIME_LIMIT,
        TerminationCondition.infeasible: "infeasible",
    }
    return named.get(said, str(said))


def _point(made: PyomoModel, found: Any, model: LinearModel) -> FloatArray | None:
    """Columns that no row reads are in no file; any value within their bounds is theirs."""
    made.model.solutions.load_from(found)
    values = [variable.value for variable in made.variables]
    given = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    missing = np.isnan(given)
    given[missing] = model.lower[missing]
    return given if np.isfinite(given).all() else None

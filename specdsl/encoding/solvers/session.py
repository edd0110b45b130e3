"""A model that is minimised again and again, changed between; what a solver's answer is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.model.linear_model import (
    BoolArray,
    FloatArray,
    IndexArray,
    LinearModel,
    SparseTerms,
)

OPTIMAL = "optimal"
TIME_LIMIT = "time limit"
TARGET_REACHED = "target reached"
ENOUGH = "bound is enough"
TOO_LARGE = "numbers beyond 1e15"
# What a solver says where it found no point.
INFEASIBLE = frozenset({"infeasible", "primal infeasible or unbounded"})


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What came of minimising a model.

    `status`: `optimal`, `time limit`, `target reached`, `bound is enough`, or the solver's word for
    anything else.
    `bound`: a lower bound on the optimum that holds whatever the status; for a linear program it
    rests on our own arithmetic (see `dual_bound`), with whole columns on the solver's branch and
    bound, less what its tolerances can hide. `objective` and `point` (every column) are the best
    found, None where nothing was; nothing is proven about them. `nodes`: of the search tree.
    """

    status: str
    bound: float
    objective: float | None
    point: FloatArray | None
    nodes: int


@dataclass(frozen=True, slots=True)
class Until:
    """Where a branch and bound may end before it has the optimum.

    `gap`: the bound is within this part of the best point's objective; `target`: there is a point
    with an objective below; `enough`: a proven lower bound, less what tolerances hide, is above.
    """

    gap: float = 0.0
    target: float = -np.inf
    enough: float = np.inf


OPTIMUM = Until()


class Session(ABC):
    """A model with a solver. `model`: as it is now."""

    def __init__(self, model: LinearModel) -> None:
        self.model = model

    @abstractmethod
    def solve(self, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
        """Minimise; `until` is for models with whole columns."""

    def bound_columns(self, columns: IndexArray, lower: FloatArray, upper: FloatArray) -> None:
        """Other bounds of some columns."""
        ends = self.model.lower.copy(), self.model.upper.copy()
        ends[0][columns], ends[1][columns] = lower, upper
        self.model = replace(self.model, lower=ends[0], upper=ends[1])

    def bound_rows(self, rows: IndexArray, lower: FloatArray, upper: FloatArray) -> None:
        """Other sides of some rows."""
        sides = self.model.row_lower.copy(), self.model.row_upper.copy()
        sides[0][rows], sides[1][rows] = lower, upper
        self.model = replace(self.model, row_lower=sides[0], row_upper=sides[1])

    def whole(self, integer: BoolArray) -> None:
        """Other columns that must be whole. Shape: (columns,)."""
        self.model = replace(self.model, integer=integer)

    def minimise(self, cost: FloatArray) -> None:
        """Another objective. Shape: (columns,)."""
        self.model = replace(self.model, cost=cost)

    def add_rows(
        self,
        name: str,
        indices: IndexArray,
        terms: SparseTerms,
        lower: FloatArray | float,
        upper: FloatArray | float,
    ) -> None:
        """Further rows, as `LinearModel.with_rows` takes them."""
        self.model = self.model.with_rows(name, indices, terms, lower, upper)


def lowest(model: LinearModel) -> float:
    """What the bounds of the objective's columns imply."""
    return float(np.where(model.cost > 0, model.lower, model.upper) @ model.cost)


def with_whole_ends(model: LinearModel) -> LinearModel:
    """The same points, where bounds of whole columns are whole."""
    lower = np.where(model.integer, np.ceil(model.lower), model.lower)
    upper = np.where(model.integer, np.floor(model.upper), model.upper)
    return replace(model, lower=lower, upper=upper)


def hidden_by_tolerances(model: LinearModel, tolerance: float) -> float:
    """How far above the true optimum an optimum within a solver's tolerance can lie.

    Errors in primal values only widen the feasible set; an error in a reduced cost can hide that
    part of its column's (or row's) range.
    """
    farthest = np.maximum(np.abs(model.lower), np.abs(model.upper))
    rows = model.terms.magnitude().times(farthest, model.rows).sum()
    return tolerance * float(1.0 + (model.upper - model.lower).sum() + rows)

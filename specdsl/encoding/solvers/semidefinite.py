"""Minimising a `LinearModel` with what products say as well: multipliers by a semidefinite program.

The program is stated for the multipliers, whose number is that of neurons, and not for the matrix
of all products of columns: of these only `form >= 0` is left. What the solver finds is no more than
a proposal; `Lifting.bound` says what it proves.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, cast

import numpy as np

from specdsl.backend import Deadline, Unsupported
from specdsl.encoding.model.linear_model import FloatArray, LinearModel, SparseTerms
from specdsl.encoding.model.quadratics import Quadratics
from specdsl.encoding.solvers.lifting import Lifting, Multipliers
from specdsl.encoding.solvers.session import (
    OPTIMAL,
    OPTIMUM,
    TIME_LIMIT,
    Session,
    Solution,
    Until,
    lowest,
)

ConicName = Literal["clarabel", "scs"]
# What cvxpy calls a solver's time limit, and what else it is told. SCS creeps up to accuracies that
# add nothing to a bound; shifts make up for what it leaves (see `quadratic_bound`).
CONIC_SOLVERS: Mapping[ConicName, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "clarabel": ("time_limit", MappingProxyType({})),
        "scs": (
            "time_limit_secs",
            MappingProxyType({"eps_abs": 1e-5, "eps_rel": 1e-5, "max_iters": 10_000}),
        ),
    }
)
LEAST_SECONDS = 1e-3
INSTALL = "`pip install specdsl[sdp]`"


def require_cvxpy() -> None:
    """Raises Unsupported where cvxpy is not there, with how to get it."""
    if importlib.util.find_spec("cvxpy") is None:
        raise Unsupported("sdp", "cvxpy, which is not installed", f"{INSTALL}, or use `lp`")


class SdpSession(Session):
    """A relaxed model and the products between its columns. There is no point in its solutions:
    the least of a relaxation by products is none of single columns.
    """

    def __init__(self, model: LinearModel, known: Quadratics, solver: ConicName) -> None:
        super().__init__(model)
        self._known = known
        self._solver: ConicName = solver

    def solve(self, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
        lifting = Lifting.of(self.model, self._known)
        program = _Program(self.model, lifting)
        status, multipliers = program.solve(self._solver, deadline)
        bound, objective = lowest(self.model), None
        if multipliers is not None:
            proven = lifting.bound(self.model, multipliers)
            bound, objective = max(bound, proven), proven
        return Solution(status, bound, objective, None, 0)


class _Program:
    """The best multipliers, as a semidefinite program in cvxpy."""

    def __init__(self, model: LinearModel, lifting: Lifting) -> None:
        import cvxpy as cp

        self._cp: Any = cp
        self._model = model
        sides = (np.isfinite(model.row_lower), np.isfinite(model.row_upper))
        equal = model.row_lower == model.row_upper
        self._equal, self._below, self._above = (
            np.flatnonzero(each) for each in (equal, sides[0] & ~equal, sides[1] & ~equal)
        )
        self._free = cp.Variable(self._equal.size)
        self._lower, self._upper = (
            cp.Variable(each.size, nonneg=True) for each in (self._below, self._above)
        )
        self._products = cp.Variable(lifting.product_sizes.size)
        self._boxes = cp.Variable(lifting.columns.size, nonneg=True)
        self._squares = cp.Variable(lifting.square_sizes.size, nonneg=True)
        self.problem = self._stated(lifting)

    def solve(self, solver: ConicName, deadline: Deadline) -> tuple[str, Multipliers | None]:
        """The solver's word and its multipliers, if it has any."""
        limit, options = CONIC_SOLVERS[solver]
        given = dict(options)
        if deadline.end is not None:
            given[limit] = max(deadline.remaining, LEAST_SECONDS)
        try:
            with warnings.catch_warnings():
                # That a solution may be inaccurate: bounds are computed from it in any case.
                warnings.simplefilter("ignore", UserWarning)
                self.problem.solve(cast("Any", solver.upper()), **given)
        except self._cp.error.SolverError as error:
            word = TIME_LIMIT if deadline.passed else f"error: {error}"
            return word, None
        if self._products.value is None and self._boxes.value is None:
            word = TIME_LIMIT if deadline.passed else str(self.problem.status)
            return word, None
        # What an inaccurate optimum proves is told by the bound.
        done = self.problem.status in (self._cp.OPTIMAL, self._cp.OPTIMAL_INACCURATE)
        word = OPTIMAL if done else TIME_LIMIT if deadline.passed else str(self.problem.status)
        return word, self._multipliers()

    def _stated(self, lifting: Lifting) -> Any:
        """Maximise the least value of the Lagrangian.

        What is linear in a column that is not lifted is at least its middle less its radius.
        """
        cp, model, order = self._cp, self._model, lifting.order
        rows = _matrix(model.terms, (model.rows, model.columns))
        reduced = model.cost - (
            rows[self._equal].T @ self._free
            + rows[self._below].T @ self._lower
            - rows[self._above].T @ self._upper
        )
        flat = np.ones(model.columns, dtype=bool)
        flat[lifting.columns] = False
        others = np.flatnonzero(flat)
        center = (model.lower + model.upper)[others] / 2
        radius = (model.upper - model.lower)[others] / 2
        least = cp.Variable()
        value = (
            model.row_lower[self._equal] @ self._free
            + model.row_lower[self._below] @ self._lower
            - model.row_upper[self._above] @ self._upper
            + center @ reduced[others]
            - radius @ cp.abs(reduced[others])
            + least
        )
        places = order * order
        linear = lifting.linear_terms()
        form = (
            _matrix(linear, (lifting.columns.size, places)).T @ reduced[lifting.columns]
            + _matrix(lifting.products, (lifting.product_sizes.size, places)).T @ self._products
            + _matrix(lifting.box_terms(), (lifting.columns.size, places)).T @ self._boxes
            + _matrix(lifting.squares, (lifting.square_sizes.size, places)).T @ self._squares
        )
        corner = np.zeros(places)
        corner[0] = 1.0
        square = cp.reshape(form - corner * least, (order, order), order="C")
        return cp.Problem(cp.Maximize(value), [square >> 0])

    def _multipliers(self) -> Multipliers:
        rows = np.zeros(self._model.rows)
        for places, variable, sign in (
            (self._equal, self._free, 1.0),
            (self._below, self._lower, 1.0),
            (self._above, self._upper, -1.0),
        ):
            if places.size:
                rows[places] += sign * _value(variable)
        return Multipliers(rows, *map(_value, (self._products, self._boxes, self._squares)))


def _value(variable: Any) -> FloatArray:
    return np.zeros(0) if variable.size == 0 else np.asarray(variable.value, dtype=np.float64)


def _matrix(terms: SparseTerms, shape: tuple[int, int]) -> Any:
    """As scipy has it, which cvxpy brings along."""
    from scipy.sparse import csr_array

    return csr_array((terms.coefficients, (terms.rows, terms.columns)), shape=shape)

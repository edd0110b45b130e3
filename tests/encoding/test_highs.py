"""What is believed of a solution: bounds hold whatever the solver says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.cases import case_models
from specdsl.encoding.model.linear_model import LinearModel, ModelBuilder, SparseTerms
from specdsl.encoding.solvers.dual_bound import safe_bound
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL, TOO_LARGE, Until
from tests.strategies import generators, queries

FOREVER = Deadline.after(None)
TOLERANCE = 1e-6
quick = settings(max_examples=25, deadline=None)


def first_model(data: st.DataObject) -> LinearModel:
    _, model = next(iter(case_models(data.draw(queries()))))
    assert model is not None
    return model


def small_model(integer: bool = False) -> LinearModel:
    """minimise y with y >= x - 1, y >= 1 - x, 0 <= x <= 3."""
    builder = ModelBuilder()
    zero = np.zeros(1, dtype=np.int64)
    x = builder.add_columns("x", zero, np.array([0.0]), np.array([3.0]), integer)
    y = builder.add_columns("y", zero, np.array([-9.0]), np.array([9.0]), False)
    columns, rows = np.concatenate([y, x]), np.zeros(2, dtype=np.int64)
    builder.add_rows("up", zero, SparseTerms.of(rows, columns, np.array([1.0, -1.0])), -1, np.inf)
    builder.add_rows("down", zero, SparseTerms.of(rows, columns, np.array([1.0, 1.0])), 1, np.inf)
    return builder.build("small", int(y[0]), x)


@given(st.data())
@quick
def test_any_multipliers_give_a_lower_bound(data: st.DataObject) -> None:
    model = first_model(data).relaxed()
    optimum = solve(model, FOREVER).objective
    assert optimum is not None
    rng = data.draw(generators())
    for _ in range(5):
        assert safe_bound(model, rng.normal(size=model.rows)) <= optimum + TOLERANCE


@given(st.data())
@quick
def test_the_dual_bound_of_a_linear_program_is_tight(data: st.DataObject) -> None:
    solution = solve(first_model(data).relaxed(), FOREVER)
    assert solution.objective is not None
    assert solution.objective - TOLERANCE <= solution.bound <= solution.objective + TOLERANCE


@given(st.data())
@quick
def test_a_gap_never_raises_the_bound_above_the_optimum(data: st.DataObject) -> None:
    model = first_model(data)
    optimum = solve(model, FOREVER).objective
    loose = solve(model, FOREVER, Until(gap=0.9))
    assert optimum is not None
    assert loose.bound <= optimum + TOLERANCE


def test_multipliers_that_need_an_infinite_side_count_as_zero() -> None:
    model = small_model()
    assert safe_bound(model, np.array([-1.0, -1.0])) == pytest.approx(-9.0)
    assert safe_bound(model, np.array([0.5, 0.5])) == pytest.approx(0.0, abs=1e-8)
    assert safe_bound(model, np.array([np.nan, 0.0])) == -np.inf


def test_an_infeasible_model_proves_nothing() -> None:
    model = small_model()
    impossible = replace(model, row_lower=np.array([50.0, 1.0]))
    solution = solve(impossible, FOREVER)
    assert solution.status != OPTIMAL
    assert solution.point is None
    integer = solve(replace(impossible, integer=np.array([True, False])), FOREVER)
    assert integer.status != OPTIMAL
    assert integer.bound == -9.0


def test_numbers_beyond_the_solver_are_not_given_to_it() -> None:
    model = small_model()
    terms = replace(model.terms, coefficients=model.terms.coefficients * 1e16)
    solution = solve(replace(model, terms=terms), FOREVER)
    assert solution.status == TOO_LARGE
    assert solution.bound == -9.0


def test_tiny_coefficients_are_not_dropped() -> None:
    builder = ModelBuilder()
    zero = np.zeros(1, dtype=np.int64)
    x = builder.add_columns("x", zero, np.array([-1e9]), np.array([1e9]), False)
    y = builder.add_columns("y", zero, np.array([-9.0]), np.array([9.0]), False)
    columns, rows = np.concatenate([y, x]), np.zeros(2, dtype=np.int64)
    terms = SparseTerms.of(rows, columns, np.array([1.0, -5e-10]))
    builder.add_rows("tie", zero, terms, 0.0, 0.0)
    solution = solve(builder.build("tiny", int(y[0]), x), FOREVER)
    assert solution.objective == pytest.approx(-0.5)


def test_a_row_of_tiny_coefficients_alone_is_left_out() -> None:
    model = small_model()
    first = np.where(model.terms.rows == 0, 1e-12, 1.0)
    solution = solve(replace(model, terms=replace(model.terms, coefficients=first)), FOREVER)
    assert solution.objective == pytest.approx(-2.0)
    assert solution.bound <= -2.0


def test_whole_columns_are_whole() -> None:
    model = small_model(integer=True)
    shifted = replace(model, row_lower=np.array([-1.5, 1.5]))  # y >= |x - 1.5|
    solution = solve(shifted, FOREVER)
    assert solution.objective == pytest.approx(0.5)
    assert solution.bound <= 0.5
    assert solve(shifted.relaxed(), FOREVER).objective == pytest.approx(0.0, abs=TOLERANCE)


def test_a_model_with_points_is_not_called_infeasible() -> None:
    """HiGHS's presolve says so: a bound is 5e-10 off what a row implies (see `INFEASIBLE`)."""
    builder = ModelBuilder()
    single = np.zeros(1, dtype=np.int64)

    def column(name: str, lower: float, upper: float) -> int:
        ends = np.array([lower]), np.array([upper])
        return int(builder.add_columns(name, single, *ends, whole=False)[0])

    def row(terms: dict[int, float], lower: float, upper: float) -> None:
        columns = np.array(list(terms), dtype=np.int64)
        rows = np.zeros_like(columns)
        sparse = SparseTerms.of(rows, columns, np.array(list(terms.values())))
        builder.add_rows("row", single, sparse, lower, upper)

    x = column("x", -0.25, 0.75)
    distance = column("distance", 0.0, 1.0)
    worst = column("worst", -0.5175781255175781, -0.400390625)
    row({x: -1.0, distance: 1.0}, -0.3125, np.inf)
    row({x: 1.0, distance: 1.0}, 0.3125, np.inf)
    row({distance: 1.0}, -np.inf, 1.0)
    row({x: -0.1171875, worst: 1.0}, -0.48828125, np.inf)
    solution = solve(builder.build("narrow", worst, np.array([x])), FOREVER)
    assert solution.status == OPTIMAL
    assert solution.objective == pytest.approx(-0.517578125)

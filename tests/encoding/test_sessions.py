"""A model that is changed and solved again gives what a new model would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.encoding.cases import case_models
from specdsl.encoding.model.linear_model import LinearModel, SparseTerms
from specdsl.encoding.solvers.highs import HighsSession, solve
from specdsl.encoding.solvers.session import ENOUGH, INFEASIBLE, OPTIMAL, Solution, Until, lowest
from specdsl.query.query import Query
from tests.encoding.test_highs import small_model
from tests.strategies import generators, queries

TOLERANCE = 1e-6
quick = settings(max_examples=40, deadline=None)


def assert_same(again: Solution, new: Solution) -> None:
    assert (again.status == OPTIMAL) == (new.status == OPTIMAL)
    if new.objective is not None and again.objective is not None:
        assert again.objective == pytest.approx(new.objective, abs=TOLERANCE)
    # Either bound holds for the model, so neither may exceed what the other has found.
    for one, other in ((again, new), (new, again)):
        assert other.objective is None or one.bound <= other.objective + TOLERANCE


def narrowed(
    model: LinearModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some columns, and bounds inside of theirs."""
    columns = np.flatnonzero(rng.random(model.columns) < 0.3)
    lower, upper = model.lower[columns], model.upper[columns]
    ends = np.sort(rng.random((2, len(columns))), axis=0)
    return columns, lower + ends[0] * (upper - lower), lower + ends[1] * (upper - lower)


@given(st.data(), st.booleans())
@quick
def test_changes_are_those_of_a_new_model(data: st.DataObject, relaxed: bool) -> None:
    _, model = next(iter(case_models(data.draw(queries()))))
    assert model is not None
    rng = data.draw(generators())
    session = HighsSession(model.relaxed() if relaxed else model)
    assert_same(session.solve(FOREVER), solve(session.model, FOREVER))
    for _ in range(3):
        session.bound_columns(*narrowed(session.model, rng))
        assert_same(session.solve(FOREVER), solve(session.model, FOREVER))
        # And back again, towards somewhere else.
        every = np.arange(model.columns)
        session.bound_columns(every, model.lower, model.upper)
        session.minimise(np.where(rng.random(model.columns) < 0.3, rng.normal(), 0.0))
        assert_same(session.solve(FOREVER), solve(session.model, FOREVER))


@given(st.data(), st.booleans())
@quick
def test_rows_are_those_of_a_new_model(data: st.DataObject, relaxed: bool) -> None:
    _, model = next(iter(case_models(data.draw(queries()))))
    assert model is not None
    rng = data.draw(generators())
    session = HighsSession(model.relaxed() if relaxed else model)
    found = session.solve(FOREVER)
    for _ in range(3):
        if found.point is None:
            return
        count = 2
        values = rng.normal(size=(count, model.columns)).round(3)
        rows, columns = np.nonzero(values)
        terms = SparseTerms.of(rows, columns, values[rows, columns])
        session.add_rows("more", np.arange(count), terms, -np.inf, values @ found.point - 1e-2)
        found = session.solve(FOREVER)
        assert_same(found, solve(session.model, FOREVER))
    last = np.array([session.model.rows - 1])
    session.bound_rows(last, np.array([-np.inf]), np.array([np.inf]))
    assert_same(session.solve(FOREVER), solve(session.model, FOREVER))


def test_what_was_absorbed_makes_room_anew() -> None:
    """A term that HiGHS drops counts by the bounds of its column as they are."""
    model = small_model()
    coefficients = np.where(model.terms.columns == 0, -5e-10, 1.0)
    tiny = replace(model, terms=replace(model.terms, coefficients=coefficients))
    session = HighsSession(replace(tiny, lower=np.array([0.0, -9.0]), upper=np.array([1e9, 9.0])))
    for upper in (1e9, 1e6, 2e9):
        session.bound_columns(np.array([0]), np.array([0.0]), np.array([upper]))
        assert_same(session.solve(FOREVER), solve(session.model, FOREVER))


def test_whole_columns_keep_to_whole_numbers() -> None:
    session = HighsSession(small_model(integer=True))
    for lower, upper, least in ((0.5, 3.0, 0.0), (1.5, 2.5, 1.0), (0.25, 0.75, None)):
        session.bound_columns(np.array([0]), np.array([lower]), np.array([upper]))
        found = session.solve(FOREVER)
        assert found.objective == (None if least is None else pytest.approx(least))


@given(queries())
@quick
def test_an_early_end_is_one_solve_s(query: Query) -> None:
    """A bound that is enough ends a search; the next one goes on to the optimum."""
    for _, model in case_models(query):
        if model is None:
            continue
        session, least = HighsSession(model), lowest(model)
        early = session.solve(FOREVER, Until(enough=least - 1))
        assert early.status in (OPTIMAL, ENOUGH, *INFEASIBLE)
        assert_same(session.solve(FOREVER), solve(model, FOREVER))

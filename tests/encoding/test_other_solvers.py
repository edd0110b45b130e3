"""Other solvers through Pyomo: the optima of HiGHS, for those that this machine has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER, Deadline, Unsupported
from specdsl.backends.milp import Milp
from specdsl.encoding.cases import case_models
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.other_solvers import (
    OTHER_SOLVERS,
    TOLERANCE,
    OtherName,
    OtherSession,
    require_solver,
)
from specdsl.encoding.solvers.session import INFEASIBLE, OPTIMAL, hidden_by_tolerances
from specdsl.verdict import Falsified, Verified
from tests.backends.test_lp_milp import query
from tests.encoding.test_highs import small_model
from tests.strategies import queries


@pytest.fixture(params=OTHER_SOLVERS, scope="module")
def name(request: pytest.FixtureRequest) -> OtherName:
    try:
        require_solver(request.param)
    except Unsupported as error:
        pytest.skip(str(error))
    return request.param


@settings(max_examples=8, deadline=None)
@given(st.data(), st.booleans())
def test_the_optimum_is_that_of_highs(name: OtherName, data: st.DataObject, relaxed: bool) -> None:
    for _, model in case_models(data.draw(queries())):
        assert model is not None
        asked = model.relaxed() if relaxed else model
        ours, theirs = solve(asked, FOREVER), OtherSession(asked, name).solve(FOREVER)
        assert theirs.status == ours.status == OPTIMAL
        assert theirs.objective == pytest.approx(ours.objective, abs=1e-4)
        assert theirs.point is not None
        assert model.violation(theirs.point) <= TOLERANCE
        assert ours.objective is not None
        assert theirs.bound <= ours.objective + 1e-6
        hidden = hidden_by_tolerances(asked, TOLERANCE)
        assert theirs.bound >= ours.objective - 2 * hidden - 1e-6


def test_a_changed_model_is_solved_as_changed(name: OtherName) -> None:
    session = OtherSession(small_model(integer=True), name)
    assert session.solve(FOREVER).objective == pytest.approx(0.0)
    x = session.model.inputs
    session.bound_columns(x, np.array([2.5]), np.array([3.0]))
    assert session.solve(Deadline.after(10.0)).objective == pytest.approx(2.0)
    for lower, upper in ((1.2, 1.4), (-0.5, 0.5)):
        session.bound_columns(x, np.array([lower]), np.array([upper]))
        session.bound_columns(np.array([1]), np.array([-9.0]), np.array([0.5]))
        found = session.solve(FOREVER)
        assert found.status in INFEASIBLE
        assert found.point is None
        assert found.bound == -9.0


def test_verdicts_are_those_of_highs(name: OtherName) -> None:
    for bias in (1.5, 1.75, 2.25, 2.5):
        answer = Milp(solver=name).answer(query(-1.0, bias), FOREVER)
        assert isinstance(answer.verdict, Verified if bias > 2 else Falsified)
        assert answer.method in (f"milp/{name}", "milp/bounds")


def test_a_row_without_sides_says_nothing(name: OtherName) -> None:
    """As rows of cases that are not asked, where a model serves several."""
    model = small_model(integer=True)
    session = OtherSession(model, name)
    rows = np.arange(model.rows)
    session.bound_rows(rows, np.full(rows.size, -np.inf), np.full(rows.size, np.inf))
    found = session.solve(FOREVER)
    assert found.status == OPTIMAL
    assert found.objective == pytest.approx(solve(session.model, FOREVER).objective)
    assert found.objective != pytest.approx(solve(model, FOREVER).objective)


def test_several_cases_over_one_set_are_decided(name: OtherName) -> None:
    plain = query(-1.0, 2.5)
    for bias, kind in ((2.5, Verified), (1.5, Falsified)):
        asked = replace(query(-1.0, bias), cases=plain.cases * 2)
        assert isinstance(Milp(solver=name).answer(asked, FOREVER).verdict, kind)


def test_a_solver_that_is_missing_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unsupported, match=r"glpsol.*not on the PATH") as raised:
        Milp(solver="glpk").answer(query(-1.0, 2.5), FOREVER)
    assert raised.value.advice == (
        "install `apt install glpk-utils`, or `brew install glpk`, or leave `solver` out for HiGHS"
    )


def test_a_gap_is_for_highs() -> None:
    with pytest.raises(ValueError, match="gap is for HiGHS: cbc"):
        Milp(gap=0.1, solver="cbc")
    with pytest.raises(ValueError, match="highs, scip, cbc, glpk, gurobi or cplex, not soplex"):
        Milp(solver="soplex")  # type: ignore[arg-type]

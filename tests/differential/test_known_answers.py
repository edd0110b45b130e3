"""Every method on problems whose answers are known: none contradicts, complete ones decide."""

from __future__ import annotations

import pytest
import z3

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.smt import write_smt2
from specdsl.encoding.cases import Bounds, encoded_groups
from specdsl.encoding.encode import encode_case, worst_range
from specdsl.encoding.solvers.other_solvers import OtherName, require_solver
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.rewrites import restate
from specdsl.query.query import Query
from specdsl.run.asked_backend import asked_backend
from specdsl.verdict import Falsified, Unknown, Verified
from tests.backends.test_differential import BALL_TOLERANCE, least_of
from tests.differential.problems import PROBLEMS, Problem

# Each is decided within a second on one slow core; what is asked of 10 s is an answer, not speed.
SECONDS = 10.0
# HiGHS solves to 1e-9 a row, and a few layers multiply that.
TOLERANCE = 1e-6

INCOMPLETE = (
    "attack",
    "incomplete",
    "incomplete(method = interval)",
    "incomplete(method = crown)",
    "lp(bounds = greedy)",
    "lp(bounds = last)",
    "lp(bounds = crown)",
    "lp(bounds = alpha_crown)",
    "lp(bounds = all)",
    "lp(multi_neuron = 2)",
    "lp(bounds = all, multi_neuron = 3)",
    "sdp",
)
COMPLETE = (
    "milp",
    "milp(bounds = alpha_crown)",
    "milp(bounds = milp)",
    "milp(multi_neuron = 2)",
    "milp(cases = together)",
    "milp(solver = glpk)",
    "milp(solver = cbc)",
    "smt",
    "search(split = input)",
    "search(split = neuron)",
    "portfolio",
)
OTHERS: dict[str, OtherName] = {"milp(solver = glpk)": "glpk", "milp(solver = cbc)": "cbc"}

problems = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))


def decided(problem: Problem, method: str) -> bool | None:
    """Whether a method says that the property holds; None where it is unsure, or refuses."""
    backend = asked_backend(method).create()
    query = problem.query
    try:
        answer = backend.answer(query, Deadline.after(SECONDS))
    except Unsupported:
        return None
    assert settle(query, answer) is answer
    if isinstance(answer.verdict, Falsified):
        point = answer.verdict.witness.point
        assert point in query.cases[answer.verdict.witness.case].inputs
    return None if isinstance(answer.verdict, Unknown) else isinstance(answer.verdict, Verified)


@problems
@pytest.mark.parametrize("method", INCOMPLETE)
def test_no_incomplete_method_contradicts(problem: Problem, method: str) -> None:
    assert decided(problem, method) in (None, problem.holds)


@problems
@pytest.mark.parametrize("method", COMPLETE)
def test_complete_methods_decide(problem: Problem, method: str) -> None:
    if method in OTHERS:
        try:
            require_solver(OTHERS[method])
        except Unsupported as error:
            pytest.skip(str(error))
    said = decided(problem, method)
    if said is None:
        assert problem.beyond & {method, method.partition("(")[0]}
    else:
        assert said == problem.holds


@pytest.mark.parametrize("method", INCOMPLETE[1:])
def test_every_incomplete_method_proves_something(method: str) -> None:
    """Else, that none contradicts says nothing."""
    assert any(decided(problem, method) for problem in PROBLEMS.values() if problem.holds)


def test_attacks_find_points() -> None:
    broken = [problem for problem in PROBLEMS.values() if not problem.holds]
    assert [decided(problem, "attack") for problem in broken] == [False] * len(broken)


@problems
def test_the_smt2_text_has_a_point_where_the_query_has(problem: Problem) -> None:
    solver = z3.Solver()
    solver.from_string(write_smt2(problem.query))
    assert solver.check() == (z3.unsat if problem.holds else z3.sat)


# --- what models come to --------------------------------------------------------------------------


def least(query: Query, bounds: Bounds, relax: bool) -> float:
    """The least proven bound of a case's largest margin, after as many tangents as it takes."""
    found: list[float] = []
    for group in encoded_groups(query, bounds):
        assert group.encoded is not None
        for member in group.members:
            model = encode_case(group.encoded, query.cases[member].atoms, "case")
            asked = model.relaxed() if relax else model
            found.append(least_of(asked, group.encoded.balls).bound)
    return min(found)


def least_by_bounds(query: Query, bounds: Bounds) -> float:
    """What bounds prove without any program."""
    found: list[float] = []
    for group in encoded_groups(query, bounds):
        assert group.encoded is not None
        found += [worst_range(group.encoded, query.cases[i].atoms)[0] for i in group.members]
    return min(found)


@problems
def test_tighter_bounds_of_neurons_prove_no_less(problem: Problem) -> None:
    query = problem.query
    if any(isinstance(op, ops.Square) for _, op, _ in restate(query.graph).graph):
        pytest.skip("where tangents of a square touch moves with its interval")
    greedy = least_by_bounds(query, "fast_lin")
    last, crown, alpha, everywhere = (
        least(query, bounds, relax=True) for bounds in ("fast_lin", "crown", "alpha_crown", "lp")
    )
    assert greedy <= last + TOLERANCE
    assert last <= everywhere + TOLERANCE
    assert crown <= alpha + TOLERANCE
    assert alpha <= everywhere + TOLERANCE
    if problem.margin is not None:
        assert everywhere <= float(problem.margin) + TOLERANCE


@pytest.mark.parametrize("bounds", ["crown", "alpha_crown", "milp"])
@problems
def test_the_optimum_with_binaries_is_the_margin(problem: Problem, bounds: Bounds) -> None:
    query = problem.query
    if problem.margin is None or query.nonlinear:
        pytest.skip("no margin is known, or the model only encloses products")
    ball = any(ball.norm == "l2" for case in query.cases for ball in case.inputs.balls)
    room = BALL_TOLERANCE if ball else TOLERANCE
    assert least(query, bounds, relax=False) == pytest.approx(float(problem.margin), abs=room)


def test_some_problem_needs_each_step() -> None:
    """Else, the order of methods would hold of methods that are all the same."""
    clip, deep, layers = (PROBLEMS[name].query for name in ("clip", "loose", "three layers"))
    assert least_by_bounds(clip, "fast_lin") < least(clip, "fast_lin", relax=True) - 0.1
    assert least(layers, "crown", relax=True) < least(layers, "lp", relax=True) - 0.1
    assert least(deep, "lp", relax=True) < least(deep, "crown", relax=False) - 0.1

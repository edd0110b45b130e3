"""CROWN <= LP <= MILP = Z3 <= sampled minimum, and no two backends contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import z3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Backend, Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.lp import Lp
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.backends.smt import Smt, write_smt2
from specdsl.backends.smt.formula import encode_network, number
from specdsl.bounds import pre_activation_bounds
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.integers import round_inward
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.rules.balls import OuterBall, cut_off
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL, Solution
from specdsl.evidence import settle
from specdsl.graph.evaluate import evaluate
from specdsl.graph.rewrites import restate
from specdsl.query.query import Query
from specdsl.query.sets import Box
from specdsl.verdict import Falsified, Unknown, Verified
from tests.backends.set_queries import sample_set, set_queries
from tests.strategies import queries, sample

# Hypothesis repeats some draws: this many give at least 300 different queries. Both laws together
# take about a minute for all, so the fast suite checks the first ones only.
CASES = 400
FAST_CASES = 60
# The orders hold in exact arithmetic; HiGHS solves to 1e-9 a row, a network multiplies that.
TOLERANCE = 1e-6
# The bound that verdicts rest on is lowered by all that solver tolerances could hide.
GIVEN_AWAY = 1e-4
FOREVER = Deadline.after(None)
AMPLE = 60.0

how_many = pytest.mark.parametrize(
    "cases", [FAST_CASES, pytest.param(CASES, marks=pytest.mark.slow)]
)


def for_random_queries(
    cases: int,
    law: Callable[[Query], None],
    drawn: st.SearchStrategy[Query] | None = None,
) -> None:
    """Check the law on that many queries, the same in every run."""
    chosen = settings(
        max_examples=cases,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(queries() if drawn is None else drawn)(law))()


@dataclass(frozen=True)
class Minima:
    """Of the largest margin of one case: proven below (crown, lp) or attained (milp, sampled)."""

    crown: float
    lp: float
    milp: float
    milp_bound: float
    sampled: float


def minima(query: Query, case: int) -> Minima:
    graph, atoms, inputs = query.graph, query.cases[case].atoms, query.cases[case].inputs
    assert isinstance(inputs, Box)
    read = [atom.index for atom in atoms]
    bounds = dict(pre_activation_bounds(graph, inputs))
    crown = float(bounds[graph.output].lower[read].max())
    # Without CROWN's bounds of the output itself, `CROWN <= LP` says something.
    del bounds[graph.output]
    model = encode_case(encode_graph(graph, inputs, bounds), atoms, "case")
    relaxed, whole = solve(model.relaxed(), FOREVER), solve(model, FOREVER)
    assert relaxed.status == whole.status == OPTIMAL
    assert relaxed.objective is not None
    assert whole.objective is not None
    assert relaxed.bound == pytest.approx(relaxed.objective, abs=TOLERANCE)
    points = sample(inputs, 500).reshape(500, *graph.shapes[graph.input])
    values = evaluate(graph, {graph.input: points}, [graph.output])[graph.output][:, read]
    sampled = float(values.max(axis=1).min())
    return Minima(crown, relaxed.bound, whole.objective, whole.bound, sampled)


def z3_has_a_point(query: Query, case: int, limit: float) -> bool:
    """Whether some input has all margins of the case at or below the limit, exactly."""
    formula = encode_network(query, [case])
    solver = z3.SolverFor("QF_LRA")
    solver.add(formula.network)
    solver.add([margin <= number(Fraction(limit)) for margin in formula.margins.values()])
    result = solver.check()
    assert result != z3.unknown
    return result == z3.sat


@how_many
def test_crown_lp_milp_z3_and_samples_are_in_order(cases: int) -> None:
    for_random_queries(cases, minima_are_in_order)


def minima_are_in_order(query: Query) -> None:
    # Only signs of margins are the same for all: Z3 is asked about these, so all others are.
    query = replace(query, graph=restate(query.graph).graph)
    for case in range(len(query.cases)):
        least = minima(query, case)
        assert least.crown <= least.lp + TOLERANCE
        assert least.lp <= least.milp + TOLERANCE
        assert least.milp - GIVEN_AWAY <= least.milp_bound <= least.milp + TOLERANCE
        assert z3_has_a_point(query, case, least.milp + TOLERANCE)
        assert not z3_has_a_point(query, case, least.milp - TOLERANCE)
        assert least.milp <= least.sampled + TOLERANCE


BACKENDS: tuple[Backend, ...] = (
    Attack(steps=10, restarts=5),
    Incomplete(),
    Lp(),
    Milp(),
    Smt(),
    Search(),
)
COMPLETE = {"milp", "smt", "search"}


@how_many
def test_verdicts_of_all_backends_agree(cases: int) -> None:
    for_random_queries(cases, verdicts_agree)


def verdicts_agree(query: Query) -> None:
    verdicts = {b.name: b.answer(query, Deadline.after(AMPLE)).verdict for b in BACKENDS}
    decided = {name: v for name, v in verdicts.items() if not isinstance(v, Unknown)}
    assert set(decided) >= COMPLETE, verdicts
    assert len({type(v) for v in decided.values()}) == 1, decided
    assert ("incomplete" in decided) <= (isinstance(decided["milp"], Verified))
    solver = z3.Solver()
    solver.from_string(write_smt2(query))
    assert (solver.check() == z3.sat) == isinstance(decided["smt"], Falsified)


def fingerprint(query: Query) -> tuple[object, ...]:
    """Equal for equal queries (up to hash collisions of float sums)."""
    inputs = query.cases[0].inputs
    points = sample(inputs.box, 8).reshape(8, *query.graph.shapes[query.graph.input])
    values = evaluate(query.graph, {query.graph.input: points})[query.graph.output]
    atoms = tuple(case.atoms for case in query.cases)
    return (points.tobytes(), np.asarray(values).tobytes(), atoms)


def test_at_least_300_queries_are_different() -> None:
    seen: set[tuple[object, ...]] = set()

    def collect(query: Query) -> None:
        seen.add(fingerprint(query))

    for_random_queries(CASES, collect)
    assert len(seen) >= 300


# --- input sets of all kinds ---------------------------------------------------------------------

# A tangent gap of 1e-6 of the radius, times weights of a few units.
BALL_TOLERANCE = 1e-4
# Polynomials over a few neurons are at the edge of what Z3 does in seconds.
SHORT = 3.0
ROUNDS = 400


def least_of(model: LinearModel, balls: tuple[OuterBall, ...]) -> Solution:
    """The optimum after as many tangents as it takes."""
    for _ in range(ROUNDS):
        solution = solve(model, FOREVER)
        assert solution.status == OPTIMAL
        assert solution.point is not None
        tightened = cut_off(model, balls, solution.point)
        if tightened is None:
            return solution
        model = tightened
    raise AssertionError("the tangents do not come to an end")


def sampled_minimum(query: Query, case: int) -> float:
    """Of the largest margin of the case."""
    graph, read = query.graph, [atom.index for atom in query.cases[case].atoms]
    points = sample_set(query.cases[case].inputs, query.integers)
    shaped = points.reshape(-1, *graph.shapes[graph.input])
    values = evaluate(graph, {graph.input: shaped}, [graph.output])[graph.output]
    return float(values[:, read].max(axis=1).min())


@how_many
@pytest.mark.parametrize("products", [False, True], ids=["linear", "products"])
def test_lp_milp_and_samples_are_in_order_on_every_set(cases: int, products: bool) -> None:
    def law(query: Query) -> None:
        (case,) = query.cases
        inputs = round_inward(case.inputs, query.integers)
        # Without bounds of its nodes, the encoding uses those of its columns.
        encoded = encode_graph(query.graph, inputs, {}, query.groups(), query.integers)
        model = encode_case(encoded, case.atoms, "case")
        relaxed, whole = (least_of(m, encoded.balls) for m in (model.relaxed(), model))
        assert relaxed.bound <= whole.bound + BALL_TOLERANCE
        assert whole.bound <= sampled_minimum(query, 0) + TOLERANCE

    for_random_queries(cases, law, set_queries(products))


@how_many
@pytest.mark.parametrize("products", [False, True], ids=["linear", "products"])
def test_verdicts_agree_on_every_set(cases: int, products: bool) -> None:
    backends: tuple[Backend, ...] = (
        (Lp(), Smt(), Search()) if products else (Lp(), Milp(), Smt(), Search())
    )

    def law(query: Query) -> None:
        answers = {b.name: b.answer(query, Deadline.after(SHORT)) for b in backends}
        for answer in answers.values():
            assert settle(query, answer) is answer
            if isinstance(answer.verdict, Falsified):
                point = answer.verdict.witness.point
                assert all(point[i].denominator == 1 for i in query.integers)
        verdicts = {name: answer.verdict for name, answer in answers.items()}
        decided = {n: type(v) for n, v in verdicts.items() if not isinstance(v, Unknown)}
        assert len(set(decided.values())) <= 1, verdicts
        round_ball = any(ball.norm == "l2" for ball in query.cases[0].inputs.balls)
        if not products:
            assert "smt" in decided, verdicts
            # A whole point of the outer set may be in no ball, however little it is outside.
            assert "milp" in decided or (round_ball and query.integers.size), verdicts
        if Verified in decided.values():
            assert sampled_minimum(query, 0) >= 0

    for_random_queries(cases, law, set_queries(products))

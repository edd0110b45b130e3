"""What `lp` and `milp` say, and what they never say."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.lp import Lp
from specdsl.backends.milp import Milp
from specdsl.encoding.solvers.highs import HighsSession
from specdsl.encoding.solvers.session import OPTIMAL, OPTIMUM, Solution, Until
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Case, Nonlinear, Query
from specdsl.query.sets import Box, InputSet, Norm, exact, norm_ball
from specdsl.source import Source, Span
from specdsl.verdict import Falsified, Unknown, Verified
from tests.strategies import margin_query

FOREVER = Deadline.after(None)
UNIT = Box(exact([-1, -1]), exact([1, 1]))


def absolute_values() -> Graph:
    """`|x0| + |x1|`, written `2 |x| - |x|` with neurons of their own: loose when relaxed.

    On [-1, 1]^2 its range is [0, 2]; the triangle relaxation believes [-2, 4].
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    both = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]] * 2, dtype=np.float32)
    node = builder.add(ops.Dense(both, np.zeros(8, dtype=np.float32)), x)
    node = builder.add(ops.Relu(), node)
    ones = np.array([[2.0] * 4 + [-1.0] * 4], dtype=np.float32)
    return builder.build(builder.add(ops.Dense(ones, np.zeros(1, dtype=np.float32)), node))


def query(
    weight: float, bias: float, inputs: InputSet = UNIT, atoms: tuple[Atom, ...] = (Atom(0),)
) -> Query:
    """Case: `weight * (|x0| + |x1|) + bias <= 0`."""
    network = absolute_values()
    return margin_query(
        network, inputs, np.array([[weight]], np.float32), np.array([bias], np.float32), (atoms,)
    )


def test_milp_proves_what_the_relaxation_leaves_open() -> None:
    hard = query(-1.0, 2.5)
    relaxed, whole = Lp().answer(hard, FOREVER), Milp().answer(hard, FOREVER)
    assert isinstance(relaxed.verdict, Unknown)
    assert relaxed.verdict.bound is not None
    assert relaxed.verdict.bound < 0
    assert "relaxation" in relaxed.verdict.reason
    assert isinstance(whole.verdict, Verified)
    assert whole.verdict.certificate.margin == pytest.approx(0.5, abs=1e-6)
    assert whole.verdict.certificate.margin <= 0.5
    assert "highs" in whole.verdict.certificate.trusted
    # Opposite neurons share one: `relu(-x) = relu(x) - x`.
    assert whole.statistics["binaries"] == 4
    assert settle(hard, whole) is whole


def test_lp_verifies_by_its_own_arithmetic() -> None:
    answer = Lp().answer(query(-1.0, 4.5), FOREVER)
    assert isinstance(answer.verdict, Verified)
    assert "highs" not in answer.verdict.certificate.trusted
    assert answer.verdict.certificate.margin == pytest.approx(0.5, abs=1e-6)


def test_milp_falsifies_at_the_minimiser() -> None:
    answer = Milp().answer(query(-1.0, 1.5), FOREVER)
    assert isinstance(answer.verdict, Falsified)
    assert answer.verdict.witness.exact_margin == Fraction(-1, 2)
    assert [abs(v) for v in answer.verdict.witness.point] == [1, 1]


def test_a_tie_is_a_witness_for_a_weak_atom_and_open_for_a_strict_one() -> None:
    weak = Milp().answer(query(1.0, 0.0), FOREVER)
    assert isinstance(weak.verdict, Falsified)
    assert weak.verdict.witness.exact_margin == 0
    strict = Milp().answer(query(1.0, 0.0, atoms=(Atom(0, strict=True),)), FOREVER)
    assert isinstance(strict.verdict, Unknown)


def test_cases_are_settled_one_by_one() -> None:
    far = Box(exact([2, 2]), exact([3, 3]))
    base = query(1.0, -1.0, far)  # |x0| + |x1| >= 4 there: no point
    near = Case(Box(exact([0, 0]), exact([1, 1])), (Atom(0),))
    both = Query(base.name, base.graph, (*base.cases, near), base.variables, base.calls)
    answer = Milp().answer(both, FOREVER)
    assert isinstance(answer.verdict, Falsified)
    assert answer.verdict.witness.case == 1


def test_a_case_without_atoms_is_its_input_set() -> None:
    assert isinstance(Lp().answer(query(1.0, 1.0, atoms=()), FOREVER).verdict, Falsified)


@pytest.mark.parametrize(
    ("norm", "greatest"), [("l1", 1.0), ("l2", math.sqrt(2))], ids=["l1", "l2"]
)
def test_balls_are_taken(norm: Norm, greatest: float) -> None:
    # |x0| + |x1| reaches 1 on the unit l1 ball, sqrt(2) on the l2 ball, 2 on their box.
    ball = norm_ball(exact([0, 0]), Fraction(1), norm)
    above, below = query(-1.0, greatest + 0.01, ball), query(-1.0, greatest - 0.01, ball)
    proof = Milp().answer(above, FOREVER)
    assert isinstance(proof.verdict, Verified)
    assert proof.verdict.certificate.margin == pytest.approx(0.01, abs=1e-4)
    witness = Milp().answer(below, FOREVER)
    assert isinstance(witness.verdict, Falsified)
    for case, answer in ((above, proof), (below, witness)):
        assert settle(case, answer) is answer


def test_lp_on_a_linear_margin_over_an_l2_ball_is_exact_up_to_the_gap() -> None:
    network = GraphBuilder()
    graph = network.build(network.add(ops.Input((1, 20)), name="x"))
    ball = norm_ball(exact([0] * 20), Fraction(1), "l2")
    ones, atoms = np.ones((1, 20), np.float32), ((Atom(0),),)
    for distance in (1e-4, -1e-4):
        bias = np.array([math.sqrt(20) + distance])
        verdict = Lp().answer(margin_query(graph, ball, ones, bias, atoms), FOREVER).verdict
        assert isinstance(verdict, Verified if distance > 0 else Falsified)


def test_what_tangents_leave_is_said() -> None:
    ball = norm_ball(exact([0, 0]), Fraction(1), "l2")
    # Strictly below the true maximum of sqrt(2) by less than float32 and tolerances resolve.
    tie = query(-1.0, math.sqrt(2), ball, (Atom(0, strict=True),))
    verdict = Milp().answer(tie, FOREVER).verdict
    assert isinstance(verdict, Unknown)
    assert "of the radius" in verdict.reason


def test_a_set_without_whole_numbers_is_verified() -> None:
    fractional = Box(exact([Fraction(1, 4), -1]), exact([Fraction(3, 4), 1]))
    plain = query(-1.0, 0.0, fractional)
    for method in (Lp(), Milp()):
        assert isinstance(method.answer(plain, FOREVER).verdict, Falsified)
        whole = replace(plain, integers=np.array([0]))
        assert isinstance(method.answer(whole, FOREVER).verdict, Verified)


def test_whole_numbers_make_a_difference() -> None:
    # |x0| + |x1| is at least 1/2 on [-1, 1] x [1/2, 1] and at least 1 where x1 is whole.
    box = Box(exact([-1, Fraction(1, 2)]), exact([1, 1]))
    plain = query(1.0, -0.75, box)
    assert isinstance(Milp().answer(plain, FOREVER).verdict, Falsified)
    whole = replace(plain, integers=np.array([1]))
    assert isinstance(Milp().answer(whole, FOREVER).verdict, Verified)


def test_products_are_relaxed_by_lp_and_refused_by_milp() -> None:
    network = GraphBuilder()
    x = network.add(ops.Input((1, 2)), name="x")
    graph = network.build(network.add(ops.Square(), x))
    one, atoms = np.ones((1, 2), np.float32), ((Atom(0),),)
    text = Source("s.spec", "x * x")
    place = Nonlinear("x * x", Span(text, 0, 5))
    above = margin_query(graph, UNIT, one, np.array([0.25], np.float32), atoms)
    above = replace(above, nonlinear=(place,))
    with pytest.raises(Unsupported, match="x \\* x") as refused:
        Milp().answer(above, FOREVER)
    assert refused.value.place is place.span
    assert isinstance(Lp().answer(above, FOREVER).verdict, Verified)


@pytest.mark.parametrize("method", [Lp(), Milp()], ids=["lp", "milp"])
def test_no_time_gives_unknown_at_once(method: Lp | Milp) -> None:
    start = time.monotonic()
    answer = method.answer(query(-1.0, 2.5), Deadline.after(0.0))
    assert isinstance(answer.verdict, Unknown)
    assert answer.verdict.timeout
    assert time.monotonic() - start < 5


def lying_solver(**changes: object) -> object:
    def solve(session: HighsSession, deadline: Deadline, until: Until = OPTIMUM) -> Solution:
        point = np.zeros(session.model.columns)
        said = {"status": OPTIMAL, "bound": -1.0, "objective": -1.0, "point": point, "nodes": 0}
        return Solution(**(said | changes))  # type: ignore[arg-type]

    return solve


def test_a_point_that_does_not_confirm_is_never_a_falsification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HighsSession, "solve", lying_solver())
    answer = Milp().answer(query(-1.0, 2.5), FOREVER)  # margin 2.5 at the point 0
    assert isinstance(answer.verdict, Unknown)
    assert "not confirmed" in answer.verdict.reason


@pytest.mark.parametrize("status", ["infeasible", "unknown", "error", "unbounded"])
def test_a_status_that_proves_nothing_gives_unknown(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    nothing = lying_solver(status=status, objective=None, point=None)
    monkeypatch.setattr(HighsSession, "solve", nothing)
    answer = Milp().answer(query(-1.0, 2.5), FOREVER)
    assert isinstance(answer.verdict, Unknown)
    assert f"`{status}`" in answer.verdict.reason
    assert answer.verdict.bound == -1.0


def test_a_wide_gap_costs_answers_but_is_never_wrong() -> None:
    for bias in (1.5, 1.75, 1.9375, 2.0625, 2.25, 2.5):
        verdict = Milp(gap=0.99).answer(query(-1.0, bias), FOREVER).verdict
        assert not isinstance(verdict, Verified if bias < 2 else Falsified)


def test_a_gap_is_a_part() -> None:
    for gap in (-0.5, 1.0, float("nan")):
        with pytest.raises(ValueError, match="gap"):
            Milp(gap=gap)


def test_backends_are_light_until_they_answer() -> None:
    code = (
        "import sys\n"
        "from specdsl.encoding.solvers.highs import solve\n"
        "from specdsl.encoding.model.write import write_lp\n"
        "assert not {'pyomo', 'highspy', 'z3', 'torch'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- bounds of neurons ----------------------------------------------------------------------------


def deep(seed: int) -> Graph:
    """Three hidden layers of ten neurons on two inputs, two outputs."""
    generator = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="x")
    for size in (10, 10, 10):
        (width,) = builder.shape(node)
        weight = generator.normal(size=(size, width)) / math.sqrt(width)
        node = builder.add(ops.Dense(weight, generator.normal(size=size) / 4), node)
        node = builder.add(ops.Relu(), node)
    return builder.build(builder.add(ops.Dense(generator.normal(size=(2, 10)), np.zeros(2)), node))


def test_tighter_bounds_of_neurons_change_sizes_and_not_verdicts() -> None:
    binaries: dict[str, float] = {}
    for seed in range(3):
        rows = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
        offsets = np.array([0.5, 0.25, 1.0], np.float32)
        asked = margin_query(deep(seed), UNIT, rows, offsets, tuple((Atom(k),) for k in range(3)))
        loose = Milp().answer(asked, FOREVER)
        tight = Milp(bounds="alpha_crown").answer(asked, FOREVER)
        assert type(loose.verdict) is type(tight.verdict)
        for name, answer in (("loose", loose), ("tight", tight)):
            binaries[name] = binaries.get(name, 0) + answer.statistics.get("binaries", 0)
    assert 0 < binaries["tight"] < binaries["loose"]


def test_bounds_of_neurons_are_those_there_are() -> None:
    with pytest.raises(ValueError, match="crown, alpha_crown or milp, not interval"):
        Milp(bounds="interval")  # type: ignore[arg-type]

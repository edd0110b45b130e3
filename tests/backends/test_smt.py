"""Exactness of `smt`: strict is strict, rationals are rationals, timeouts are honest."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import z3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.milp import Milp
from specdsl.backends.smt import Smt, write_smt2
from specdsl.backends.smt.formula import encode_network, exact_point, number
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.rewrites import restate
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact, norm_ball
from specdsl.verdict import Falsified, Unknown, Verified
from tests.backends.test_lp_milp import UNIT, query
from tests.strategies import generators, margin_query, queries

FOREVER = Deadline.after(None)
quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def exact_query(op: ops.Op, bias: Fraction, strict: bool, box: Box) -> Query:
    """Case: `op(x) + bias <= 0` (or < 0) for one input."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(op, x, name="act")
    shift = np.array([bias], dtype=object)
    node = builder.add(ops.Scale(np.array([Fraction(1)], dtype=object), shift), node)
    cases = (Case(box, (Atom(0, strict),)),)
    return Query("exact", builder.build(node), cases, (Variable.at("x", 0, ()),), ())


THIRD = Fraction(1, 3)
# No float32 number lies in here, so a witness is kept exact.
THIRD_UP = Box(exact([THIRD]), exact([THIRD + Fraction(1, 10**12)]))


def test_a_strict_tie_is_verified_and_a_weak_one_falsified() -> None:
    # relu(x) - 1/3 from 1/3 on: the least value is exactly 0, which no float computation settles.
    strict = Smt().answer(exact_query(ops.Relu(), -THIRD, True, THIRD_UP), FOREVER)
    assert isinstance(strict.verdict, Verified)
    assert strict.verdict.certificate.trusted == ("z3",)
    weak = Smt().answer(exact_query(ops.Relu(), -THIRD, False, THIRD_UP), FOREVER)
    assert isinstance(weak.verdict, Falsified)
    assert weak.verdict.witness.point.tolist() == [THIRD]
    assert weak.verdict.witness.exact_margin == 0


def test_the_least_rational_step_decides() -> None:
    step = Fraction(1, 10**40)
    above = exact_query(ops.Relu(), step - THIRD, False, THIRD_UP)
    assert isinstance(Smt().answer(above, FOREVER).verdict, Verified)
    below = exact_query(ops.Relu(), -step - THIRD, False, THIRD_UP)
    assert isinstance(Smt().answer(below, FOREVER).verdict, Falsified)


@pytest.mark.parametrize("op", [ops.Relu(), ops.LeakyRelu(0.125), ops.Abs(), ops.Clip(-0.5, 1.0)])
@given(data=st.data())
@quick
def test_the_formula_of_a_neuron_is_its_function(
    op: ops.PiecewiseLinear, data: st.DataObject
) -> None:
    ends = sorted(data.draw(st.lists(st.integers(-24, 24), min_size=2, max_size=2)))
    x = Fraction(data.draw(st.integers(*ends)), 8)
    neuron = exact_query(
        op, Fraction(0), False, Box(exact([Fraction(e, 8) for e in ends][:1]), exact([ends[1] / 8]))
    )
    formula = encode_network(neuron, [0])
    # What is asked is the sign of the margin, which other margins may have as well.
    graph = restate(neuron.graph).graph
    y = evaluate_exact(graph, {graph.input: exact([x])})[graph.output][0]
    solver = z3.Solver()
    solver.add(formula.network)
    solver.add(formula.inputs[0] == number(x))
    assert solver.check(formula.margins[0] == number(y)) == z3.sat
    assert solver.check(formula.margins[0] != number(y)) == z3.unsat


@given(queries(), generators())
@quick
def test_a_model_is_an_exact_evaluation(query: Query, rng: np.random.Generator) -> None:
    formula = encode_network(query, [0])
    solver = z3.Solver()
    solver.add(formula.network)
    box = query.cases[0].inputs.box
    chosen = [
        lo + (up - lo) * Fraction(int(rng.integers(0, 8)), 7)
        for lo, up in zip(box.lower, box.upper, strict=True)
    ]
    for symbol, value in zip(formula.inputs, chosen, strict=True):
        solver.add(symbol == number(value))
    assert solver.check() == z3.sat
    model = solver.model()
    assert exact_point(model, formula.inputs).tolist() == chosen
    point = exact(chosen).reshape(query.graph.shapes[query.graph.input])
    # What is compared may be restated: margins are then others, of the same signs.
    plain, restated = (
        evaluate_exact(graph, {graph.input: point})[graph.output].reshape(-1)
        for graph in (query.graph, restate(query.graph).graph)
    )
    for atom in query.cases[0].atoms:
        margin = formula.margins[atom.index]
        value = model.eval(margin, model_completion=True).as_fraction()
        assert value == restated[atom.index]
        assert (value > 0) == (plain[atom.index] > 0)
        assert (value < 0) == (plain[atom.index] < 0)


@given(queries())
@quick
def test_answers_pass_the_last_gate(query: Query) -> None:
    answer = Smt().answer(query, FOREVER)
    assert settle(query, answer) is answer


@pytest.mark.parametrize("name", ["relu", "dense", "distance", "relu[0].pre", "name", "objective"])
def test_a_variable_may_be_named_like_a_layer(name: str) -> None:
    ball = norm_ball(exact([0, 0]), Fraction(1), "l1")
    for inputs, bias, expected in ((UNIT, 1.5, "sat"), (UNIT, 2.5, "unsat"), (ball, 0.5, "sat")):
        plain = query(-1.0, bias, inputs)
        renamed = replace(plain, variables=(Variable.at(name, 0, (2,)),))
        kind = Falsified if expected == "sat" else Verified
        assert isinstance(Smt().answer(renamed, FOREVER).verdict, kind)
        assert isinstance(Milp().answer(renamed, FOREVER).verdict, kind)
        solver = z3.Solver()
        solver.from_string(write_smt2(renamed))
        assert str(solver.check()) == expected


def test_l1_balls_are_exact() -> None:
    ball = norm_ball(exact([0, 0]), Fraction(1), "l1")
    # On the ball |x0| + |x1| reaches exactly 1.
    assert isinstance(Smt().answer(query(-1.0, 1.0, ball), FOREVER).verdict, Falsified)
    strict = query(-1.0, 1.0, ball, (Atom(0, strict=True),))
    assert isinstance(Smt().answer(strict, FOREVER).verdict, Verified)


def test_l2_balls_are_exact() -> None:
    # On the ball of radius 5/4 around 0, |x0| + |x1| reaches (5/4) sqrt(2) = 1.76776...
    ball = norm_ball(exact([0, 0]), Fraction(5, 4), "l2")
    for bias, kind in ((1.7676, Falsified), (1.7679, Verified)):
        tight = query(-1.0, bias, ball)
        answer = Smt().answer(tight, FOREVER)
        assert isinstance(answer.verdict, kind)
        assert settle(tight, answer) is answer
        solver = z3.Solver()
        solver.from_string(write_smt2(tight))
        assert (solver.check() == z3.sat) == (kind is Falsified)
        assert "(set-logic QF_NRA)" in write_smt2(tight)


def test_a_rational_tie_on_an_l2_ball_is_decided() -> None:
    # The line 3 x + 4 y = 5 touches the unit disc at (3/5, 4/5), in no float32 point.
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    graph = builder.build(x)
    disc = norm_ball(exact([0, 0]), Fraction(1), "l2")
    weight, bias = np.array([[-3.0, -4.0]], np.float32), np.array([5.0], np.float32)
    strict = margin_query(graph, disc, weight, bias, ((Atom(0, strict=True),),))
    assert isinstance(Smt().answer(strict, FOREVER).verdict, Verified)
    weak = margin_query(graph, disc, weight, bias, ((Atom(0),),))
    assert not isinstance(Smt().answer(weak, FOREVER).verdict, Verified)


def test_an_irrational_point_is_a_candidate_and_no_crash() -> None:
    # x^2 <= 2 and x^2 >= 2 only at sqrt(2): no rational point has that, so nothing is confirmed.
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    square = builder.add(ops.Square(), x)
    both = builder.add(ops.Dense(np.array([[1.0], [-1.0]]), np.array([-2.0, 2.0])), square)
    box = Box(exact([1]), exact([2]))
    case = Case(box, (Atom(0), Atom(1)))
    tie = Query("tie", builder.build(both), (case,), (Variable.at("x", 0, ()),), ())
    verdict = Smt().answer(tie, FOREVER).verdict
    assert isinstance(verdict, Unknown)
    strict = replace(tie, cases=(Case(box, (Atom(0, strict=True), Atom(1))),))
    assert isinstance(Smt().answer(strict, FOREVER).verdict, Verified)


def test_products_are_exact() -> None:
    # x y on [-1, 2] x [-3, 1] has its least value -6 at (2, -3), its greatest 3 at (-1, -3).
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    parts = [builder.add(ops.Select(np.array([[i]])), x) for i in (0, 1)]
    graph = builder.build(builder.add(ops.Multiply(), *parts))
    box = Box(exact([-1, -3]), exact([2, 1]))
    one = np.ones((1, 1), np.float32)
    for sign, bias, kind in ((1, 6, Falsified), (1, 6.001, Verified), (-1, 3.001, Verified)):
        bound = np.array([bias])
        asked = margin_query(graph, box, sign * one, bound, ((Atom(0),),))
        assert isinstance(Smt().answer(asked, FOREVER).verdict, kind)


def test_whole_numbers_are_whole() -> None:
    box = Box(exact([-1, Fraction(1, 2)]), exact([1, 1]))
    plain = query(1.0, -0.75, box)
    assert isinstance(Smt().answer(plain, FOREVER).verdict, Falsified)
    whole = replace(plain, integers=np.array([1]))
    assert isinstance(Smt().answer(whole, FOREVER).verdict, Verified)
    text = write_smt2(whole)
    assert "(set-logic QF_LIRA)" in text
    assert "Int)" in text
    empty = replace(plain, cases=(Case(Box(exact([0, 0.25]), exact([1, 0.75])), (Atom(0),)),))
    assert isinstance(Smt().answer(empty, FOREVER).verdict, Falsified)
    empty = replace(empty, integers=np.array([1]))
    assert isinstance(Smt().answer(empty, FOREVER).verdict, Verified)


def test_a_case_without_atoms_is_its_input_set() -> None:
    assert isinstance(Smt().answer(query(1.0, 1.0, atoms=()), FOREVER).verdict, Falsified)


def wide_query() -> Query:
    """Too many unstable neurons for a fraction of a second."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder()
    node = builder.add(ops.Input((8,)), name="x")
    for width in (40, 40):
        inputs = builder.shape(node)[0]
        node = builder.add(ops.Dense(rng.normal(size=(width, inputs)), np.zeros(width)), node)
        node = builder.add(ops.Relu(), node)
    node = builder.add(ops.Dense(rng.normal(size=(1, 40)), np.array([60.0])), node)
    box = Box(exact([-1] * 8), exact([1] * 8))
    cases = (Case(box, (Atom(0),)),)
    return Query("wide", builder.build(node), cases, (Variable.at("x", 0, (8,)),), ())


def test_the_deadline_is_kept() -> None:
    answer = Smt().answer(wide_query(), Deadline.after(0.5))
    assert isinstance(answer.verdict, Unknown)
    assert answer.verdict.timeout
    assert "timeout after 0.5 s" in answer.verdict.reason
    assert answer.seconds < 10


def test_smt2_text_is_readable_and_says_what_sat_means() -> None:
    text = write_smt2(query(-1.0, 2.5, UNIT))
    assert text.startswith("; random: sat means that a counterexample exists\n")
    assert "(set-logic QF_LRA)" in text
    assert "|x[0]|" in text
    assert "|relu[0]|" in text
    assert text.rstrip().endswith("(check-sat)")
    solver = z3.Solver()
    solver.from_string(text)
    assert solver.check() == z3.unsat

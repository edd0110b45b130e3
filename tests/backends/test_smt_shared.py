"""`smt`: one formula and solver for all cases over an input set, and exact bounds of neurons."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import z3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.smt import Smt, write_smt2
from specdsl.backends.smt import backend as smt_backend
from specdsl.backends.smt.backward import lines_around
from specdsl.backends.smt.forms import Pieces
from specdsl.backends.smt.formula import NetworkFormula, encode_network
from specdsl.backends.smt.terms import number
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.rewrites import restate
from specdsl.query.groups import exact_groups
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact, norm_ball
from specdsl.verdict import Falsified, Unknown, Verified
from tests.strategies import generators, queries

FOREVER = Deadline.after(None)
quick = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def line_query(scale: int, shift: Fraction | int, *cases: Case) -> Query:
    """One input, one margin: scale * relu(x) + shift."""
    builder = GraphBuilder()
    node = builder.add(ops.Relu(), builder.add(ops.Input((1,)), name="x"), name="act")
    node = builder.add(ops.Scale(exact([scale]), exact([shift])), node)
    return Query("line", builder.build(node), cases, (Variable.at("x", 0, ()),), ())


# --- sharing --------------------------------------------------------------------------------------


@given(queries(), st.booleans())
@quick
def test_many_cases_are_decided_as_each_alone(query: Query, backwards: bool) -> None:
    cases = query.cases[::-1] if backwards else query.cases
    alone = [Smt().answer(replace(query, cases=(case,)), FOREVER).verdict for case in cases]
    together = Smt().answer(replace(query, cases=cases), FOREVER).verdict
    if any(isinstance(verdict, Falsified) for verdict in alone):
        assert isinstance(together, Falsified)
    elif all(isinstance(verdict, Verified) for verdict in alone):
        assert isinstance(together, Verified)
    else:
        assert isinstance(together, Unknown)


def test_what_one_case_asserts_is_gone_in_the_next() -> None:
    """The first case has no point; left behind, its atoms would refute the second."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    act = builder.add(ops.Abs(), x, name="act")
    weight, bias = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([0.5, 1.0])
    graph = builder.build(builder.add(ops.Dense(weight, bias), act))
    box, disc = Box(exact([-1] * 2), exact([1] * 2)), norm_ball(exact([0, 0]), Fraction(1), "l2")
    for inputs in (box, disc):
        cases = (Case(inputs, (Atom(0),)), Case(inputs, (Atom(1),)))
        query = Query("two", graph, cases, (Variable.at("x", 0, (2,)),), ())
        verdict = Smt().answer(query, FOREVER).verdict
        assert isinstance(verdict, Falsified)
        assert verdict.witness.case == 1


def test_a_network_is_encoded_once_for_each_input_set(monkeypatch: pytest.MonkeyPatch) -> None:
    quarter, third = (Box(exact([0]), exact([Fraction(1, d)])) for d in (4, 3))
    equal = Box(exact([0]), exact([Fraction(1, 4)]))
    sets = (quarter, third, equal, quarter, third)
    seen: list[Sequence[int]] = []
    original = smt_backend.encode_network

    def counted(query: Query, cases: Sequence[int], deadline: Deadline) -> NetworkFormula:
        seen.append(cases)
        return original(query, cases, deadline=deadline)

    monkeypatch.setattr(smt_backend, "encode_network", counted)
    query = line_query(-1, Fraction(1, 2), *(Case(inputs, (Atom(0),)) for inputs in sets))
    assert isinstance(Smt().answer(query, FOREVER).verdict, Verified)
    assert seen == [(0, 2, 3), (1, 4)]


def test_sets_that_float64_does_not_tell_apart_are_two() -> None:
    """relu(x) <= 1/3 at x = 1/3, and nowhere above."""
    third = Fraction(1, 3)
    above = Box(exact([third + Fraction(1, 10**40)]), exact([1]))
    at = Box(exact([third]), exact([1]))
    assert above.float_bounds()[0] == at.float_bounds()[0]
    one, other = (Case(inputs, (Atom(0),)) for inputs in (above, at))
    for cases in ((one, other), (other, one)):
        query = line_query(1, -third, *cases)
        assert exact_groups(query) == ((0,), (1,))
        verdict = Smt().answer(query, FOREVER).verdict
        assert isinstance(verdict, Falsified)
        assert cases[verdict.witness.case] is other
    assert isinstance(Smt().answer(line_query(1, -third, one), FOREVER).verdict, Verified)


def test_the_text_states_a_network_once_for_all_cases() -> None:
    unit, half = (Box(exact([-1]), exact([Fraction(1, d)])) for d in (1, 2))
    cases = [Case(unit, (Atom(0),)), Case(unit, (Atom(0, True),)), Case(half, (Atom(0),))]
    shared = write_smt2(line_query(1, -2, *cases[:2]))
    assert shared.count("(declare-fun |act[0]| () Real)") == 1
    assert shared.count("(ite ") == 1
    apart = write_smt2(line_query(1, -2, *cases))
    assert "|set_0.act[0]|" in apart
    assert "|set_1.act[0]|" in apart
    for bias, expected in ((-2, z3.sat), (2, z3.unsat)):
        solver = z3.Solver()
        solver.from_string(write_smt2(line_query(1, bias, *cases)))
        assert solver.check() == expected


# --- bounds of neurons ----------------------------------------------------------------------------


def test_substitution_leaves_out_a_neuron_that_intervals_split() -> None:
    """relu(x) - x is never negative; intervals alone say it is from -2 to 3 on [-1, 2]."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    first = builder.add(ops.Relu(), x, name="first")
    rest = builder.add(ops.Sum((1.0, -1.0)), first, x)
    second = builder.add(ops.Relu(), rest, name="second")
    graph = builder.build(builder.add(ops.Scale(np.array([1.0]), np.array([0.25])), second))
    box = Box(exact([-1]), exact([2]))
    query = Query("rest", graph, (Case(box, (Atom(0),)),), (Variable.at("x", 0, ()),), ())
    text = write_smt2(query)
    assert "|first[0]|" in text
    assert "second" not in text
    assert text.count("(ite ") == 1
    assert isinstance(Smt().answer(query, FOREVER).verdict, Verified)


@given(queries(), generators())
@quick
def test_bounds_by_substitution_hold(query: Query, rng: np.random.Generator) -> None:
    formula = encode_network(query, [0])
    graph, box = restate(query.graph).graph, query.cases[0].inputs.box
    solver = z3.Solver()
    for _ in range(10):
        parts = [Fraction(int(k), 8) for k in rng.integers(0, 9, box.size)]
        point = box.lower + np.array(parts, dtype=object) * (box.upper - box.lower)
        shaped = point.reshape(graph.shapes[graph.input])
        values = evaluate_exact(graph, {graph.input: shaped})[graph.output].reshape(-1)
        for index, known in formula.ranges.items():
            assert known.lower <= values[index] <= known.upper
        # Every row about inner variables holds as well: the point has a model.
        solver.push()
        solver.add(formula.network)
        solver.add([v == number(p) for v, p in zip(formula.inputs, point, strict=True)])
        assert solver.check() == z3.sat
        solver.pop()


@pytest.mark.parametrize("op", [ops.Relu(), ops.LeakyRelu(-0.5), ops.Abs(), ops.Clip(-0.5, 1.0)])
@given(data=st.data())
@quick
def test_lines_are_on_their_sides_of_a_function(
    op: ops.PiecewiseLinear, data: st.DataObject
) -> None:
    ends = data.draw(st.lists(st.integers(-30, 30), min_size=2, max_size=2, unique=True))
    low, high = (Fraction(end, 7) for end in sorted(ends))
    pieces = Pieces.of(op)
    inner = [p for p in pieces.points if low < p < high]
    first = sum(p <= low for p in pieces.points)
    lines = pieces.lines[first : first + len(inner) + 1]
    points = [low, *inner, high]
    values = [line.at(p) for line, p in zip([*lines, lines[-1]], points, strict=True)]
    below, above = lines_around(lines, points, values)
    for k in range(33):
        x = low + (high - low) * Fraction(k, 32)
        y = lines[sum(p < x for p in inner)].at(x)
        assert below.at(x) <= y <= above.at(x)
    for line in (below, above):  # and they touch it
        assert any(line.at(p) == v for p, v in zip(points, values, strict=True))


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "whole", "polynomial"])
def test_z3_is_interrupted_at_the_deadline(kind: str) -> None:
    """40 + 40 neurons, squared where polynomials are asked: hours of work for Z3."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder()
    node = builder.add(ops.Input((8,)), name="x")
    for width in (40, 40):
        weight = rng.normal(size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Dense(weight, np.zeros(width)), node)
        node = builder.add(ops.Relu(), node)
        if kind == "polynomial":
            node = builder.add(ops.Square(), node)
    weight = rng.normal(size=(2, 40))
    node = builder.add(ops.Dense(weight, np.array([60.0, 61.0])), node)
    box = Box(exact([-1] * 8), exact([1] * 8))
    cases = tuple(Case(box, (Atom(i),)) for i in range(2))
    query = Query("wide", builder.build(node), cases, (Variable.at("x", 0, (8,)),), ())
    if kind == "whole":
        query = replace(query, integers=np.arange(4))
    start = time.monotonic()
    verdict = Smt().answer(query, Deadline.after(2.0)).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.timeout
    assert time.monotonic() - start < 12

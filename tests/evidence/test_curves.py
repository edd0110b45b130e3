"""Witnesses whose graphs have curves: they hold by more than elementary functions may be off by."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.evidence import Replayer, Suspected, confirm, settle
from specdsl.evidence.atoms import ELEMENTARY, atoms_hold
from specdsl.graph import ops
from specdsl.graph.enclosure import Enclosed
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom, Case, Query
from specdsl.query.sets import Box, exact
from specdsl.verdict import Answer, Falsified, Unknown, Witness
from tests.evidence.test_replay import above, one_dimensional
from tests.graph.test_new_ops import exactly

CURVED = one_dimensional(ops.Tanh(), ops.Exp())


def test_a_witness_says_how_exact_it_is() -> None:
    found = confirm(above(CURVED, 2.0), np.array([1.0]))
    assert isinstance(found, Witness)
    assert 0 < found.error < 1e-10
    assert float(found.exact_margin) == pytest.approx(2 - np.exp(np.tanh(1.0)))
    assert any(note.startswith(ELEMENTARY) for note in found.notes)
    answer = Answer(Falsified(found), "test", 0.0)
    assert settle(above(CURVED, 2.0), answer) is answer


def test_graphs_without_curves_give_exact_witnesses() -> None:
    found = confirm(above(one_dimensional(ops.Relu()), 0.5), np.array([1.0]))
    assert isinstance(found, Witness)
    assert found.error == 0
    assert not any(ELEMENTARY in note for note in found.notes)


@pytest.mark.parametrize("strict", [False, True])
def test_where_the_error_decides_there_is_no_witness(strict: bool) -> None:
    """e^0 is 1, but nothing that rounds can know it."""
    network = one_dimensional(ops.Scale(np.array(0.0), np.array(0.0)), ops.Exp())
    query = above(network, 1.0, strict)
    found = confirm(query, np.array([0.5]))
    # The runtime says 1 and means it, which is not above 1.
    assert found is None if strict else isinstance(found, Suspected)
    if isinstance(found, Suspected):
        assert not found.exact_holds
        assert ELEMENTARY in found.reason


def test_settling_refuses_a_witness_whose_margin_is_within_its_error() -> None:
    network = one_dimensional(ops.Scale(np.array(0.0), np.array(0.0)), ops.Exp())
    sure = confirm(above(network, 0.5), np.array([0.5]))
    assert isinstance(sure, Witness)
    claimed = replace(sure, exact_margin=Fraction(0))
    settled = settle(above(network, 1.0), Answer(Falsified(claimed), "test", 0.0))
    assert isinstance(settled.verdict, Unknown)


def test_a_point_without_a_value_is_no_witness() -> None:
    network = one_dimensional(ops.Scale(np.array(1.0), np.array(-0.5)), ops.Log())
    query = above(network, -9.0)
    assert confirm(query, np.array([0.25])) is None
    assert confirm(query, np.array([0.5])) is None
    assert isinstance(confirm(query, np.array([1.0])), Witness)


@given(
    margins=st.lists(
        st.tuples(st.fractions(-2, 2, max_denominator=8), st.sampled_from([0.0, 0.5, np.inf])),
        min_size=1,
        max_size=4,
    ),
    strict=st.booleans(),
)
def test_surely_is_for_all_numbers_within_the_error_and_perhaps_for_some(
    margins: list[tuple[Fraction, float]], strict: bool
) -> None:
    box = Box(exact([0]), exact([1]))
    case = Case(box, tuple(Atom(i, strict) for i in range(len(margins))))
    values = exactly([value for value, _ in margins], (len(margins),))
    errors = np.array([error for _, error in margins])
    found = atoms_hold(case, Enclosed(values, errors))

    def below_zero(number: float) -> bool:
        return number < 0 if strict else number <= 0

    assert found.surely == all(below_zero(float(v) + e) for v, e in margins)
    assert found.perhaps == all(below_zero(float(v) - e) for v, e in margins)
    assert found.margin == max(value for value, _ in margins)


@settings(max_examples=40, deadline=None)
@given(threshold=st.floats(-2, 2), point=st.floats(0, 1))
def test_a_witness_is_right(threshold: float, point: float) -> None:
    network = one_dimensional(ops.Scale(np.array(3.0), np.array(-1.0)), ops.Sin())
    query: Query = above(network, threshold, strict=True)
    found = Replayer(query).confirm(np.array([point]))
    value = np.sin(3 * point - 1)
    if isinstance(found, Witness):
        assert value > threshold
    elif found is None:
        assert value < threshold + 1e-6


def test_softmax_of_far_logits_is_judged_by_its_logits() -> None:
    # exp(1000) is no float64: the exact margins have no value as they stand.
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    logits = builder.add(ops.Scale(np.full(2, 2000.0), np.zeros(2)), x)
    others = builder.add(ops.Select(np.array([[0, 1], [0, 1]])), logits)
    own = builder.add(ops.Select(np.array([[0, 0], [1, 1]])), logits)
    growth = builder.add(ops.Exp(), builder.add(ops.Sum((1.0, -1.0)), others, own))
    total = builder.add(ops.Dense(np.ones((1, 2)), np.zeros(1)), growth)
    shares = builder.add(ops.Reshape((2,)), builder.add(ops.Reciprocal(), total))
    graph = builder.build(builder.add(ops.Dense(np.array([[1.0, -1.0]]), np.zeros(1)), shares))
    box = Box(exact([0, 0]), exact([1, 1]))
    query = Query("far", graph, (Case(box, (Atom(0),)),), (), ())
    assert isinstance(confirm(query, np.array([0.25, 0.75])), Witness)
    assert confirm(query, np.array([0.75, 0.25])) is None

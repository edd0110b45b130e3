"""Numbers that floats lose: what vanishes on the way comes back by large weights."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.certificates.question import state
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.passes import Linear
from specdsl.proof.question import BallSet
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from tests.proof.certificates import bounds_of, file_of
from tests.vanishing import through_powers


def chain(powers: list[int], shift: float) -> Query:
    """Whether x in [-1, 1], times powers of 2 one after another, three quarters of each where it is
    negative, and `shift` are ever 0 or less together.
    """
    builder = GraphBuilder()
    node = through_powers(builder, builder.add(ops.Input((1,)), name="x"), powers)
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 1)), np.array([shift])), node))
    case = Case(Box(exact(-np.ones(1)), exact(np.ones(1))), (Atom(0),))
    return Query("q", graph, (case,), (Variable.at("x", 0, (1,)),), ())


LAYERS = {
    "small, then large": [-120] * 10 + [120] * 10,
    "large, then small": [100] * 9 + [-100] * 12,
    "to and fro": [-120, -120, 200] * 8 + [-120, 120] * 4,
}


@pytest.mark.parametrize("powers", LAYERS.values(), ids=LAYERS)
def test_what_has_a_witness_is_refused(powers: list[int]) -> None:
    lowest = Fraction(2) ** sum(powers) * Fraction(3, 4) ** len(powers)
    query = chain(powers, float(lowest) / 2)
    graph = query.graph
    found = evaluate_exact(graph, {graph.input: exact(-np.ones(1))}, nodes=[graph.output])
    assert found[graph.output].item() < 0
    certificate = read_certificate(file_of(state(query, "real")))
    for how in (FLOAT, EXACT):
        with pytest.raises(Refused):
            check(certificate, how)


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=12), st.integers(-600, 600))
def test_intervals_contain_what_vanished(powers: list[int], shift: int) -> None:
    query = chain(powers, 2.0**shift)
    with np.errstate(all="ignore"):
        question, bounds = bounds_of(query)
    graph = query.graph
    low, high = (end.item() for end in bounds.found[question.network.output])
    for point in (-1.0, -0.25, 0.0, 1.0):
        value = evaluate_exact(graph, {graph.input: exact(np.full(1, point))})[graph.output].item()
        assert not np.isfinite(low) or Fraction(low) <= value
        assert not np.isfinite(high) or value <= Fraction(high)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("power", [-700, -500, -200, 0, 200])
def test_rows_that_are_small_fall_over_a_ball(norm: Literal["l1", "l2"], power: int) -> None:
    """From 0 by the norm of the coefficients, times the radius: here by more than sqrt(2)."""
    ones = (Fraction(1),) * 2
    ball = BallSet(np.arange(2), (Fraction(0),) * 2, ones, Fraction(3, 2), norm)
    ends = np.full((1, 2), -2.0), np.full((1, 2), 2.0)
    region = Region(FLOAT, Interval(*ends), (ball,))
    rows = np.full((1, 1, 2), 2.0**power)
    zero = np.zeros((1, 1))
    least = region.minimum(Linear(rows, zero, zero + 2.0**-960), FLOAT.rounding(64)).item()
    falls = Fraction(3, 2) * (1 if norm == "l1" else Fraction(7, 5)) * Fraction(2) ** power
    assert Fraction(least) <= -falls

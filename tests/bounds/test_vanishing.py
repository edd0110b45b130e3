"""Numbers that float64 loses, beside functions that magnify errors."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

from specdsl.backend import Backend, Unsupported
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.lp import Lp
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.search.backend import Search
from specdsl.bounds.rounding import rounding_slack
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.run.answering import answer_query
from specdsl.verdict import Verified
from tests.vanishing import through_powers


def logarithm(powers: list[int], shift: float) -> Graph:
    """`log(2 + v) - log(2) + shift`, v what powers of 2 make of x, and 3/4 of it below 0."""
    builder = GraphBuilder()
    node = through_powers(builder, builder.add(ops.Input((1,)), name="x"), powers)
    node = builder.add(ops.Dense(np.ones((1, 1)), np.full(1, 2.0)), node)
    node = builder.add(ops.Log(), node)
    last = ops.Dense(np.ones((1, 1)), np.array([shift - math.log(2)]))
    return builder.build(builder.add(last, node))


METHODS = (
    Incomplete(),
    Incomplete(method="interval"),
    Incomplete(method="crown"),
    Lp(),
    Search(split="input"),
    Search(split="neuron"),
    Portfolio(),
)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("power", [60, 100, 120])
def test_what_vanishes_and_comes_back_is_not_forgotten(method: Backend, power: int) -> None:
    depth = 1200 // power
    graph = logarithm([-power] * depth + [power] * depth, 2.0 ** -(depth + 2))
    case = Case(Box(exact(-np.ones(1)), exact(np.zeros(1))), (Atom(0),))
    query = Query("q", graph, (case,), (Variable.at("x", 0, (1,)),), ())
    # At -1 there is log(2 - (3/4)**(2 depth)) - log(2), and less of the shift.
    with contextlib.suppress(Unsupported):
        assert not isinstance(answer_query(query, method, 5).verdict, Verified)
    with pytest.raises(Unsupported, match="numbers so small"):
        rounding_slack(graph, query.cases[0].inputs)


def test_zeros_are_no_numbers_that_vanish() -> None:
    builder = GraphBuilder()
    node = builder.add(ops.Input((3,)), name="x")
    for op in (ops.Tanh(), ops.Square()):
        node = builder.add(op, node)
    node = builder.add(ops.Dense(np.eye(3), np.full(3, 2.0)), node)
    graph = builder.build(builder.add(ops.Log(), node))
    box = Box(exact(np.array([0.0, -1.0, 0.0])), exact(np.array([0.0, 1.0, 1e-3])))
    assert rounding_slack(graph, box) == 0.0


def test_small_weights_alone_are_no_reason_to_refuse() -> None:
    assert rounding_slack(logarithm([-10, 8, -30, 20], 1.0), unit()) == 0.0


def unit() -> Box:
    return Box(exact(-np.ones(1)), exact(np.ones(1)))

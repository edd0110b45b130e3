"""Layers with too many unstable neurons for backward bounds are named by whoever stands on them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from specdsl.backend import FOREVER, Backend
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.lp import Lp
from specdsl.backends.milp import Milp
from specdsl.backends.portfolio import Portfolio
from specdsl.bounds.passes import affordable
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Query
from specdsl.query.sets import Box, exact
from specdsl.verdict import Unknown
from tests.strategies import margin_query

INPUTS, WIDTH = 3, 12
SAYS = (
    r"best bound -?[\d.]+; 2 layers have too many unstable neurons for backward bounds: "
    r"`\w+` \(\d+\), `\w+` \(\d+\)$"
)


def network(layers: int) -> Graph:
    random = np.random.default_rng(5)
    builder = GraphBuilder()
    node, last = builder.add(ops.Input((INPUTS,))), INPUTS
    # The first layer is bounded exactly by intervals.
    for _ in range(layers + 1):
        weight = random.normal(0, last**-0.5, size=(WIDTH, last))
        node = builder.add(ops.Dense(weight, random.normal(size=WIDTH) / 4), node)
        node, last = builder.add(ops.Relu(), node), WIDTH
    return builder.build(builder.add(ops.Dense(random.normal(size=(2, last)), np.zeros(2)), node))


def open_query() -> Query:
    """True, but proven by no bounds alone: the least difference at 100,000 points is -2.31."""
    box = Box(exact(np.full(INPUTS, -1.0)), exact(np.ones(INPUTS)))
    weight, bias = np.array([[1, -1]], np.float32), np.array([2.4], np.float32)
    return margin_query(network(2), box, weight, bias, ((Atom(0),),))


@pytest.mark.parametrize("backend", [Incomplete(), Incomplete("crown"), Lp()])
def test_what_gives_up_names_the_layers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    query = open_query()
    usual = backend.answer(query, FOREVER)
    assert isinstance(usual.verdict, Unknown)
    assert "unstable" not in usual.verdict.reason
    assert "coarse_layers" not in usual.statistics
    monkeypatch.setattr(affordable, "MAX_UNSTABLE", 0)
    answer = backend.answer(query, FOREVER)
    assert isinstance(answer.verdict, Unknown)
    assert re.search(SAYS, answer.verdict.reason), answer.verdict.reason
    assert answer.statistics["coarse_layers"] == 2
    assert 0 < answer.statistics["coarse_neurons"] <= 2 * WIDTH


def test_intervals_alone_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affordable, "MAX_UNSTABLE", 0)
    answer = Incomplete("interval").answer(open_query(), FOREVER)
    assert "coarse_layers" not in answer.statistics


@pytest.mark.parametrize("backend", [Milp(), Portfolio()])
def test_what_decides_has_it_among_its_figures(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affordable, "MAX_UNSTABLE", 0)
    assert backend.answer(open_query(), FOREVER).statistics["coarse_layers"] == 2


def test_many_layers_are_counted() -> None:
    one = affordable.describe_coarse({"conv_1": 44_032})
    assert one == "1 layer has too many unstable neurons for backward bounds: `conv_1` (44,032)"
    many = affordable.describe_coarse({f"conv_{i}": 40_000 + i for i in range(5)})
    assert many.endswith("`conv_4` (40,004), `conv_3` (40,003), `conv_2` (40,002) and 2 more")

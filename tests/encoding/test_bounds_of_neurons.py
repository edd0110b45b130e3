"""LP-Greedy, LP-Last, LP-All and exact bounds of neurons, in the order that theory gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from specdsl.backend import FOREVER
from specdsl.backends.lp import Lp
from specdsl.bounds.analysis import graph_bounds
from specdsl.encoding.cases import Bounds, case_models
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Query
from specdsl.verdict import Falsified, Verified
from tests.backends.test_neuron_search import INPUTS, query

# Of optima that HiGHS finds, and what is taken off them for rounding.
TOLERANCE = 1e-6
OPS = (ops.Relu(), ops.LeakyRelu(0.1), ops.Clip(-1.0, 1.0))


def least(asked: Query, bounds: Bounds, *, relax: bool) -> list[float]:
    """Of each case's largest margin, on models that start from such bounds."""
    found: list[float] = []
    for _, model in case_models(asked, bounds):
        assert model is not None
        found.append(solve(model.relaxed() if relax else model, FOREVER).bound)
    return found


def greedy(asked: Query) -> list[float]:
    """By Fast-Lin alone."""
    return [float(m.lower @ m.cost) for _, m in case_models(asked, "fast_lin") if m]


def met(asked: Query, seed: int) -> list[float]:
    """At points and corners."""
    points = np.random.default_rng(seed).uniform(-1, 1, (2000, INPUTS))
    inputs = np.concatenate([points, np.sign(points)])
    values = evaluate(asked.graph, {asked.graph.input: inputs}, [asked.graph.output])
    margins = values[asked.graph.output]
    return [float(margins[:, [a.index for a in c.atoms]].max(1).min()) for c in asked.cases]


@pytest.mark.parametrize("op", OPS, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_in_the_order_of_theory(seed: int, op: ops.Op) -> None:
    asked = query(seed, op)
    last, crown, every = (least(asked, b, relax=True) for b in ("fast_lin", "crown", "lp"))
    exact = least(asked, "milp", relax=False)
    for chain in (
        [greedy(asked), last, every, exact, met(asked, seed)],
        [crown, every],
    ):
        for i, case in enumerate(zip(*chain, strict=True)):
            assert all(a <= b + TOLERANCE for a, b in pairwise(case)), (i, case)


def test_programs_for_all_neurons_gain_something() -> None:
    gains = [
        sum(least(asked, "lp", relax=True)) - sum(least(asked, "crown", relax=True))
        for asked in (query(seed, ops.Relu()) for seed in range(4))
    ]
    assert max(gains) > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_fast_lin_holds_and_is_no_looser_than_intervals(seed: int) -> None:
    asked = query(seed, ops.Relu())
    graph, inputs = asked.graph, asked.cases[0].inputs
    fine, coarse = (graph_bounds(graph, inputs, m).bounds for m in ("fast_lin", "interval"))
    points = np.random.default_rng(seed).uniform(-1, 1, (2000, INPUTS))
    values = evaluate(graph, {graph.input: points}, [*fine])
    for node, found in fine.items():
        assert (found.lower <= values[node].min(0) + 1e-9).all()
        assert (found.upper >= values[node].max(0) - 1e-9).all()
        assert (found.lower >= coarse[node].lower - 1e-9).all()


def raised(asked: Query, by: float) -> Query:
    """Every margin larger by so much."""
    builder = GraphBuilder()
    source = asked.graph.input
    taken = builder.add(ops.Input(asked.graph.shapes[source]), name=source)
    margins = builder.splice(asked.graph, {source: taken})[asked.graph.output]
    graph = builder.build(builder.add(ops.Scale(np.array(1.0), np.array(by)), margins))
    return replace(asked, graph=graph)


@pytest.mark.parametrize("bounds", ["greedy", "last", "crown", "alpha_crown", "all"])
def test_no_verdict_is_another(bounds: str) -> None:
    verified = 0
    for seed in range(4):
        asked = query(seed, ops.Relu())
        lowest = min(least(asked, "milp", relax=False))
        for part in (0.9, 1.1, 2.0, 8.0):
            verdict = Lp(bounds=bounds).answer(raised(asked, -part * lowest), FOREVER).verdict  # type: ignore[arg-type]
            assert not isinstance(verdict, Verified if part < 1 else Falsified)
            assert not (bounds == "greedy" and isinstance(verdict, Falsified))
            verified += isinstance(verdict, Verified)
    assert verified > 3


def test_words_for_bounds_are_those_there_are() -> None:
    with pytest.raises(ValueError, match="greedy, last, crown, alpha_crown or all, not milp"):
        Lp(bounds="milp")  # type: ignore[arg-type]

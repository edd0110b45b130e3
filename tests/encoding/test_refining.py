"""Bounds that the solver refines enclose what the network takes, and decide alike."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.backend import FOREVER, Deadline
from specdsl.backends.milp import Milp
from specdsl.bounds.analysis import GraphBounds, graph_bounds
from specdsl.encoding.tightening.refining import Refinement
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.query import Query
from specdsl.verdict import Verified
from tests.backends.test_neuron_search import INPUTS, query


def refined(asked: Query, deadline: Deadline) -> tuple[Refinement, GraphBounds, GraphBounds]:
    """What is refined, and bounds before and after."""
    graph, inputs = simplify(restate(asked.graph).graph), asked.cases[0].inputs
    on = Refinement(graph, inputs, asked.groups(), asked.integers)
    before = graph_bounds(graph, inputs)
    return on, before, on.refined(before, deadline)


@pytest.mark.parametrize("op", [ops.Relu(), ops.LeakyRelu(0.1), ops.Clip(-1.0, 1.0)], ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_refined_bounds_hold_and_are_narrower(seed: int, op: ops.Op) -> None:
    on, before, after = refined(query(seed, op), FOREVER)
    points = np.random.default_rng(seed).uniform(-1, 1, (2000, INPUTS))
    corners = np.sign(points)
    inputs = np.concatenate([points, corners])
    values = evaluate(on.graph, {on.graph.input: inputs}, [*after.bounds])
    narrower = 0.0
    for node, found in after.bounds.items():
        assert (values[node] >= found.lower - 1e-9).all()
        assert (values[node] <= found.upper + 1e-9).all()
        assert (found.lower >= before.bounds[node].lower - 1e-9).all()
        assert (found.upper <= before.bounds[node].upper + 1e-9).all()
        old, new = before.bounds[node], found
        narrower += float(((old.upper - old.lower) - (new.upper - new.lower)).sum())
    assert narrower > 0.1


def test_without_time_bounds_are_as_they_were() -> None:
    _, before, after = refined(query(0, ops.Relu()), Deadline.after(0))
    assert after is before


@pytest.mark.parametrize("seed", range(6))
def test_verdicts_are_those_without(seed: int) -> None:
    asked = query(seed, ops.Relu())
    plain, fine = (Milp(bounds=b).answer(asked, FOREVER) for b in ("crown", "milp"))
    assert type(plain.verdict) is type(fine.verdict)
    assert fine.statistics.get("binaries", 0) <= plain.statistics.get("binaries", 0)
    if isinstance(fine.verdict, Verified):
        assert "highs" in fine.verdict.certificate.trusted

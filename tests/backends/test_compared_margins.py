"""Claims that only compare outputs of a softmax are decided on its logits, by every backend."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.backends.registry import CLASSES, create
from specdsl.graph import composites, ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, NetworkCall, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.run.answering import answer_query
from specdsl.verdict import Falsified, Unknown, Verified

CLASSES_OF_NETWORK = 3
INEXACT = {"attack", "incomplete", "lp", "sdp", "sampling"}


def classifier() -> Graph:
    """Softmax over `(x + 2, -x, 0.5 relu(x))`: the first class wins where `x > -1`."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    hidden = builder.add(ops.Dense(np.array([[1.0], [-1.0]], np.float32), np.zeros(2)), x)
    active = builder.add(ops.Relu(), hidden)
    weight = np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.0]], np.float32)
    bias = np.array([2.0, 0.0, 0.0], np.float32)
    logits = builder.add(ops.Dense(weight, bias), active)
    return builder.build(composites.softmax(builder, logits, 1))


def query(low: float, high: float) -> Query:
    """Does another class reach the first on the interval?"""
    network = classifier()
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    raw = builder.splice(network, {network.input: x})[network.output]
    flat = builder.add(ops.Reshape((CLASSES_OF_NETWORK,)), raw)
    rows = np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
    graph = builder.build(builder.add(ops.Dense(rows, np.zeros(2)), flat))
    box = Box(exact(np.array([low])), exact(np.array([high])))
    return Query(
        name="wins",
        graph=graph,
        cases=tuple(Case(box, (Atom(i),)) for i in range(2)),
        variables=(Variable.at("x", 0, (1,)),),
        calls=(NetworkCall("f", export(network), (x,), (raw,)),),
    )


@pytest.mark.parametrize("backend", CLASSES)
def test_a_claim_that_holds_is_proven_without_a_bound_in_other_units(backend: str) -> None:
    verdict = answer_query(query(-0.75, 1.0), create(backend, {}), timeout=30).verdict
    if backend in INEXACT and isinstance(verdict, Unknown):
        return
    assert isinstance(verdict, Verified)
    assert verdict.certificate.margin is None


@pytest.mark.parametrize("backend", [name for name in CLASSES if name != "incomplete"])
def test_a_claim_that_fails_has_a_witness_of_the_softmax_itself(backend: str) -> None:
    asked = query(-1.5, 1.0)
    verdict = answer_query(asked, create(backend, {}), timeout=30).verdict
    if backend in INEXACT and isinstance(verdict, Unknown):
        return
    assert isinstance(verdict, Falsified)
    outputs = verdict.witness.calls[0].outputs
    assert np.isclose(outputs.sum(), 1.0)
    assert outputs[1] >= outputs[0]

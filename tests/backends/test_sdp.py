"""The `sdp` backend: what it decides that `lp` does not, and what it says where it cannot."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from specdsl.backend import FOREVER, Deadline, Unsupported
from specdsl.backends.lp import Lp
from specdsl.backends.registry import create
from specdsl.backends.sdp import Sdp
from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Unknown, Verified
from tests.backends.test_neuron_search import query


def shared(bound: float) -> Query:
    """`relu(x + y) + relu(x - y) < bound` on [-1, 1]^2. The greatest value is 2, where x = 1; each
    neuron's triangle by itself gives 3.
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)))
    z = builder.add(ops.Dense(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2)), x)
    y = builder.add(ops.Relu(), z)
    out = builder.add(ops.Dense(np.array([[-1.0, -1.0]]), np.array([bound])), y)
    return asked(builder.build(out), [-1, -1], [1, 1])


def asked(graph: Graph, lower: list[int], upper: list[int]) -> Query:
    """Whether the graph's only output is positive on a box."""
    case = Case(Box(exact(lower), exact(upper)), (Atom(0),))
    variables = (Variable.at("x", 0, (len(lower),)),)
    return Query("positive", graph, (case,), variables, ())


@pytest.mark.parametrize("solver", ["scs", "clarabel"])
def test_it_knows_what_neurons_have_in_common(solver: str) -> None:
    sdp = create("sdp", {"solver": solver})
    found = sdp.answer(shared(2.9), FOREVER)
    assert isinstance(found.verdict, Verified)
    assert found.method == f"sdp/{solver}"
    assert found.verdict.certificate.trusted == ("float64 rounding",)
    for bounds in ("crown", "all"):
        alone = create("lp", {"bounds": bounds}).answer(shared(2.9), FOREVER)
        assert isinstance(alone.verdict, Unknown)


def test_products_are_those_of_single_columns() -> None:
    """`x^2 + y^2 - 2 x y + 0.01 > 0` on [-1, 1]^2: planes alone see no square."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)))
    first = builder.add(ops.Dense(np.array([[1.0, 0.0]]), np.zeros(1)), x)
    second = builder.add(ops.Dense(np.array([[0.0, 1.0]]), np.zeros(1)), x)
    squares = builder.add(ops.Square(), x)
    product = builder.add(ops.Multiply(), first, second)
    sum_of_squares = builder.add(ops.Dense(np.array([[1.0, 1.0]]), np.array([0.01])), squares)
    twice = builder.add(ops.Dense(np.array([[-2.0]]), np.zeros(1)), product)
    question = asked(
        builder.build(builder.add(ops.Sum((1.0, 1.0)), sum_of_squares, twice)), [-1, -1], [1, 1]
    )
    assert isinstance(Sdp().answer(question, FOREVER).verdict, Verified)
    assert isinstance(Lp().answer(question, FOREVER).verdict, Unknown)


def test_what_it_leaves_open_has_a_reason_and_its_bound() -> None:
    verdict = Sdp().answer(shared(1.9), FOREVER).verdict
    assert isinstance(verdict, Unknown)
    assert "the semidefinite relaxation does not settle it" in verdict.reason
    assert verdict.bound is not None
    assert -1.2 < verdict.bound < -0.09


def test_a_timeout_ends_it() -> None:
    verdict = Sdp().answer(query(0, ops.Relu()), Deadline.after(0)).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.timeout


def test_without_cvxpy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cvxpy" else found(name)
    )
    with pytest.raises(Unsupported, match="cvxpy, which is not installed") as refused:
        Sdp().answer(shared(2.9), FOREVER)
    assert refused.value.advice is not None
    assert "pip install specdsl[sdp]" in refused.value.advice


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("bounds", "lp", "the bounds are crown, alpha_crown or all, not lp"),
        ("solver", "mosek", "the solver is clarabel or scs, not mosek"),
    ],
)
def test_options_are_checked(option: str, value: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        create("sdp", {option: value})

"""Networks that cancel huge numbers: rounding must never make a false claim verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import specdsl
from specdsl.backends.registry import create
from specdsl.bounds.rounding import rounding_slack
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.run.answering import answer_query
from specdsl.verdict import Verified

CANCELLING = """spec 1.0
network f: real[1] -> real[1] {
  layer dense(weight = [[1]], bias = [100000000000000000])
  layer relu
  layer dense(weight = [[1]], bias = [-100000000000000000])
  layer relu
  layer dense(weight = [[1]], bias = [-0.3])
}
property p { forall x in [0, 1] show f(x) <= -0.2 }
check p
"""


@pytest.mark.parametrize("using", ["portfolio", "incomplete", "lp", "milp", "search", "smt"])
def test_a_claim_that_only_rounding_makes_true_is_never_verified(
    tmp_path: Path, using: str
) -> None:
    """f(x) is x - 0.3 in real arithmetic; in floats x vanishes beside 1e17."""
    path = tmp_path / "cancel.spec"
    path.write_text(CANCELLING)
    (result,) = specdsl.load(str(path)).check(using=using, timeout=2).results
    assert result.verdict != "verified"


def shifted(offset: float) -> Query:
    """The margin `x + offset` on [0, 1], by way of numbers around 1e9."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    node = builder.add(ops.Dense(np.ones((1, 1)), np.array([1e9])), node)
    node = builder.add(ops.Relu(), node)
    node = builder.add(ops.Dense(np.ones((1, 1)), np.array([-1e9])), node)
    node = builder.add(ops.Relu(), node)
    node = builder.add(ops.Dense(np.ones((1, 1)), np.array([offset])), node)
    case = Case(Box(exact([0]), exact([1])), (Atom(0),))
    return Query("q", builder.build(node), (case,), (Variable.at("x", 0, (1,)),), ())


@pytest.mark.parametrize("using", ["incomplete", "search", "portfolio"])
@pytest.mark.parametrize(("times", "verified"), [(0.5, False), (1.5, True)])
def test_what_rounding_may_hide_is_taken_off_once(using: str, times: float, verified: bool) -> None:
    slack = rounding_slack(shifted(0.0).graph, shifted(0.0).cases[0].inputs)
    assert slack > 1e-5
    answer = answer_query(shifted(times * slack), create(using, {}), timeout=5)
    assert isinstance(answer.verdict, Verified) == verified

"""Witnesses on a jump: there float64 says nothing, and only exact numbers and the runtime count."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.evidence import Suspected, confirm, settle
from specdsl.graph import ops
from specdsl.verdict import Answer, Falsified, Witness
from tests.evidence.test_replay import above, one_dimensional

float32 = st.floats(0.03125, 16, width=32)


@given(weight=float32, share=st.floats(0.03125, 1, width=32))
@settings(max_examples=100, deadline=None)
def test_the_only_point_on_a_jump_is_judged_exactly_and_by_the_runtime(
    weight: float, share: float
) -> None:
    """`weight * x = offset` at one x, which is rarely a float64 number: never passed over."""
    offset = float(np.float32(weight * share))
    layer = ops.Dense(np.array([[weight]], np.float32), np.array([-offset], np.float32))
    query = above(one_dimensional(layer, ops.IsZero()), 0.5)
    at = Fraction(offset) / Fraction(weight)
    if at > 1:
        return
    found = confirm(query, np.array([at], dtype=object))
    assert isinstance(found, Witness | Suspected)
    if isinstance(found, Witness):
        # The runtime agrees at the nearest float32, and the report says where that is.
        assert (found.exact_margin, found.replayed_margin) == (Fraction(-1, 2), Fraction(-1, 2))
        assert found.point.tolist() == [at]
        assert found.notes or Fraction(float(np.float32(at))) == at
        answer = Answer(Falsified(found), "test", 0.0)
        assert settle(query, answer) is answer
    else:
        assert "float32" in found.reason or "ONNX Runtime" in found.reason


# From 0 to 1 the argument of each step runs from -1 to 1.
LAYER = ops.Dense(np.array([[2.0]], np.float32), np.array([-1.0], np.float32))


@pytest.mark.parametrize(
    ("op", "threshold", "point"),
    [
        (ops.IsZero(), 0.5, 0.5),
        (ops.NotNegative(), 0.5, 0.5),
        (ops.Floor(), 1.0, 1.0),
        (ops.Round(), 1.0, 1.0),
        (ops.Truncate(), 1.0, 1.0),
    ],
)
def test_a_candidate_next_to_the_jump_stands_for_none_on_it(
    op: ops.Step, threshold: float, point: float
) -> None:
    query = above(one_dimensional(LAYER, op), threshold)
    assert isinstance(confirm(query, np.array([point])), Witness)
    # The float64 number below it becomes the same float32.
    assert isinstance(confirm(query, np.array([np.nextafter(point, 0)])), Witness)
    assert confirm(query, np.array([0.125])) is None


def test_a_jump_that_float32_crosses_is_suspected() -> None:
    """The argument is 2**-40, and 0 in float32: `x > 0` holds for exact numbers only."""
    shift = ops.Dense(np.array([[1.0]], np.float32), np.array([2.0**20], np.float32))
    back = ops.Dense(np.array([[1.0]], np.float32), np.array([-(2.0**20)], np.float32))
    query = above(one_dimensional(shift, back, ops.Positive()), 0.5)
    found = confirm(query, np.array([2.0**-40]))
    assert isinstance(found, Suspected)
    assert found.exact_holds
    assert found.replayed_margin == Fraction(1, 2)

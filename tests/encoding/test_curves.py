"""Models of curves: as near to them as envelopes say, and refused where they have no values."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.backend import Unsupported
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.model.enclosed import widest_gap
from specdsl.encoding.model.entries import Range
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom
from tests.encoding.nonlinear import (
    FOREVER,
    NARROW_PART,
    SMOOTH,
    TOLERANCE,
    box,
    elementwise,
    encoded,
    model_of,
    values_at,
)


@pytest.mark.parametrize("name", SMOOTH)
def test_lp_milp_and_the_true_minimum_come_in_this_order(name: str) -> None:
    op, ends = SMOOTH[name]
    for sign in (1.0, -1.0):
        builder = GraphBuilder()
        x = builder.add(ops.Input((1,)), name="x")
        node = builder.add(op, x, name="act")
        # A line beside the curve, so that the least value lies somewhere inside.
        slope = 0.8 * float(np.diff(op.value(np.array(ends)))[0])
        line = slope / (ends[1] - ends[0])
        graph = builder.build(builder.add(ops.Sum((sign, -sign * line)), node, x))
        model = model_of(graph, box(*np.array(ends, dtype=float)[:, None]))
        whole, relaxed = solve(model, FOREVER), solve(model.relaxed(), FOREVER)
        assert whole.objective is not None
        values = values_at(graph, np.linspace(*ends, 4001)[:, None])
        assert relaxed.bound <= whole.bound + TOLERANCE
        assert whole.bound <= values.min() + TOLERANCE
        spread = float(np.ptp(op.value(np.linspace(*ends, 4001))))
        assert whole.objective >= values.min() - 2 * NARROW_PART * spread


def test_straight_pieces_are_exact_and_need_no_columns() -> None:
    graph = elementwise(ops.Elu(1.0), 3)
    found = encoded(graph, box(np.array([0.0, 0.5, 2.0]), np.array([1.0, 0.5, 3.0])))
    np.testing.assert_array_equal(found.margins.columns, found.inputs)
    graph = elementwise(ops.HardSwish(), 3)
    found = encoded(graph, box(np.array([3.0, -9.0, -3.0]), np.array([4.0, -3.0, -3.0])))
    assert found.margins.columns.tolist() == [found.inputs[0], -1, -1]
    assert found.margins.offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("op", "ends"),
    [
        (ops.Log(), (0.0, 1.0)),
        (ops.Sqrt(), (-0.5, 1.0)),
        (ops.Reciprocal(), (-1.0, 1.0)),
        (ops.Tan(), (1.0, 2.0)),
        (ops.Exp(), (0.0, 1000.0)),
    ],
    ids=["log", "sqrt", "reciprocal", "tan", "exp"],
)
def test_a_curve_without_values_is_refused(op: ops.Smooth, ends: tuple[float, float]) -> None:
    with pytest.raises(Unsupported, match=f"the `{type(op).__name__}` of a value that may lie"):
        encoded(elementwise(op, 1), box(*np.array(ends)[:, None]))


def test_known_bounds_are_used_and_a_gap_is_named() -> None:
    graph = elementwise(ops.Sigmoid(), 1)
    inputs = box(np.array([-9.0]), np.array([9.0]))
    bounds = {"x": Range(np.array([-1.0]), np.array([1.0]))}
    found = encode_graph(graph, inputs, bounds)
    model = encode_case(found, [Atom(0)], "case")
    solution = solve(model, FOREVER)
    assert solution.point is not None
    assert solution.objective == pytest.approx(1 / (1 + np.e), abs=1e-6)
    moved = solution.point.copy()
    moved[found.margins.columns] += 0.25
    text = widest_gap(found.enclosed, moved)
    assert text == "`Sigmoid` at `act` is only enclosed, and off by 0.25"
    assert widest_gap(found.enclosed, solution.point) is None

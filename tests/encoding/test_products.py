"""Products and squares: the relaxation holds the function, and is exact in the corners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom
from specdsl.query.sets import Box, exact

FOREVER = Deadline.after(None)
TOLERANCE = 1e-6
quick = settings(max_examples=40, deadline=None)


def graph_of(op: ops.Op, sign: float, scale: float, shift: float) -> Graph:
    """`sign * op(scale * x + shift, y)` or `sign * op(scale * x + shift)`."""
    builder = GraphBuilder()
    both = builder.add(ops.Input((2,)), name="both")
    x, y = (builder.add(ops.Select(np.array([i])), both) for i in (0, 1))
    x = builder.add(ops.Scale(np.array(scale), np.array(shift)), x)
    node = builder.add(op, x, y) if op.arity == 2 else builder.add(op, x)
    return builder.build(builder.add(ops.Scale(np.array(sign), np.array(0.0)), node))


def least_at(graph: Graph, box: Box, point: tuple[float, float]) -> float:
    model = encode_case(encode_graph(graph, box, {}), [Atom(0)], "case").relaxed()
    lower, upper = model.lower.copy(), model.upper.copy()
    lower[model.inputs] = upper[model.inputs] = point
    solution = solve(replace(model, lower=lower, upper=upper), FOREVER)
    assert solution.objective is not None
    return solution.objective


numbers = st.integers(-32, 32).map(lambda n: n / 8)
intervals = st.tuples(numbers, numbers).map(sorted)


@pytest.mark.parametrize("op", [ops.Multiply(), ops.Square()], ids=["product", "square"])
@given(st.data())
@quick
def test_the_relaxation_holds_the_function_between_its_edges(
    op: ops.Op, data: st.DataObject
) -> None:
    ends = data.draw(intervals), data.draw(intervals)
    box = Box(exact([e[0] for e in ends]), exact([e[1] for e in ends]))
    scale, shift = data.draw(numbers), data.draw(numbers)
    shares = data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))
    point = tuple(e[0] + s * (e[1] - e[0]) for e, s in zip(ends, shares, strict=True))
    x, y = scale * point[0] + shift, point[1]
    value = x * y if op.arity == 2 else x * x
    above, below = (graph_of(op, sign, scale, shift) for sign in (1.0, -1.0))
    assert least_at(above, box, point) <= value + TOLERANCE
    assert -least_at(below, box, point) >= value - TOLERANCE
    corner = (ends[0][0], ends[1][1])
    x, y = scale * corner[0] + shift, corner[1]
    value = x * y if op.arity == 2 else x * x
    assert least_at(above, box, corner) == pytest.approx(value, abs=TOLERANCE)
    assert -least_at(below, box, corner) == pytest.approx(value, abs=TOLERANCE)


def test_a_product_with_a_constant_is_exact() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    constant = builder.add(ops.Constant(np.array([2.0, -3.0])))
    graph = builder.build(builder.add(ops.Multiply(), x, constant))
    box = Box(exact([-1, -1]), exact([1, 1]))
    for index, least in ((0, -2.0), (1, -3.0)):
        model = encode_case(encode_graph(graph, box, {}), [Atom(index)], "case")
        assert solve(model, FOREVER).bound == pytest.approx(least, abs=TOLERANCE)

"""Nodes of shape (): bounds are those of the same graph with an axis of extent 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds import pre_activation_bounds
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from tests.bounds.random_graphs import INPUTS, random_set


def graph_of(shape: ops.Shape, op: ops.Op) -> Graph:
    """`op(relu(x0 - x1) * relu(x1 + x2))`, every node of one entry in the given shape."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((INPUTS,)))
    first, second, third = (
        builder.add(ops.Select(np.full(shape, i, dtype=np.int64)), x) for i in range(3)
    )
    left = builder.add(ops.Relu(), builder.add(ops.Sum((1.0, -1.0)), first, second))
    right = builder.add(ops.Relu(), builder.add(ops.Sum((1.0, 1.0)), second, third))
    found = builder.add(op, builder.add(ops.Multiply(), left, right))
    return builder.build(builder.add(ops.Reshape((1,)), found))


@pytest.mark.parametrize("method", ["interval", "crown"])
@pytest.mark.parametrize("op", [ops.Relu(), ops.Positive(), ops.Sigmoid()], ids=repr)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_bounds_do_not_depend_on_an_axis_of_extent_one(op: ops.Op, method: str, seed: int) -> None:
    inputs = random_set(seed)
    scalar, vector = (graph_of(shape, op) for shape in ((), (1,)))
    ours = pre_activation_bounds(scalar, inputs, method)
    theirs = pre_activation_bounds(vector, inputs, method)
    for node in ours:
        np.testing.assert_array_equal(ours[node].lower.reshape(-1), theirs[node].lower.reshape(-1))
        np.testing.assert_array_equal(ours[node].upper.reshape(-1), theirs[node].upper.reshape(-1))

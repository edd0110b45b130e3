"""A model without points proves a case only where rounding cannot have emptied it."""

from __future__ import annotations

import numpy as np

from specdsl.backend import FOREVER
from specdsl.encoding.deciding.emptiness import hidden_by_rounding, proven_empty
from specdsl.encoding.model.linear_model import LinearModel, ModelBuilder, SparseTerms
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.sets import Box, exact

FIRST = np.zeros(1, dtype=np.int64)


def beyond_its_bounds(by: float) -> LinearModel:
    """A column in [0, 1] that a row has at 1 and more."""
    builder = ModelBuilder()
    (column,) = builder.add_columns("x", FIRST, np.zeros(1), np.ones(1), whole=False)
    builder.add_rows("row", FIRST, SparseTerms.of(FIRST, FIRST, np.ones(1)), 1 + by, np.inf)
    return builder.build("model", int(column), FIRST)


def lifted(big: float) -> Graph:
    """relu(x + big) - big."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)))
    up = builder.add(ops.Dense(np.ones((1, 1)), np.full(1, big)), x)
    off = builder.add(ops.Relu(), up)
    return builder.build(builder.add(ops.Dense(np.ones((1, 1)), np.full(1, -big)), off))


def test_only_what_rounding_does_not_hide_is_empty() -> None:
    assert proven_empty(beyond_its_bounds(1e-3), FOREVER, hidden=0.0)
    assert proven_empty(beyond_its_bounds(1e-3), FOREVER, hidden=1e-4)
    assert not proven_empty(beyond_its_bounds(1e-3), FOREVER, hidden=1e-2)
    assert not proven_empty(beyond_its_bounds(0.0), FOREVER, hidden=0.0)


def test_rounding_hides_what_cancels() -> None:
    inputs = Box(exact([0]), exact([1]))
    # At 2**54 float64 has multiples of 4 only.
    assert hidden_by_rounding([lifted(2.0**54)], inputs) > 4
    assert hidden_by_rounding([lifted(1.0), lifted(2.0**54)], inputs) > 4
    assert 0 < hidden_by_rounding([lifted(1.0)], inputs) < 1e-9

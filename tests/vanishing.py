"""Layers of powers of 2, which make numbers vanish in floats, and large again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId


def through_powers(builder: GraphBuilder, node: NodeId, powers: Sequence[int]) -> NodeId:
    """Of one number: it times powers of 2, one after another; what is below 0 is three quarters as
    large after each.
    """
    for power in powers:
        both = np.array([[2.0**power], [-(2.0**power)]])
        node = builder.add(ops.Dense(both, np.zeros(2)), node)
        node = builder.add(ops.Relu(), node)
        node = builder.add(ops.Dense(np.array([[1.0, -0.75]]), np.zeros(1)), node)
    return node

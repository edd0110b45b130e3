"""Maxima as ReLUs, `max(a, b) = a + relu(b - a)`, in a tree: for methods without a rule of theirs.

Not part of `simplify`: a tree holds one ReLU less than a group has members, and most methods do
better with the maximum itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.rewrites.rewriting import Construction, rewrite

IndexArray = npt.NDArray[np.int64]


def expand_maxima(graph: Graph) -> Graph:
    """The same values without any `GroupMax`."""
    return rewrite(graph, expand_maximum)[0]


def expand_maximum(graph: Graph, node: NodeId) -> Construction | None:
    """A maximum over k members as a tree of ReLUs, about log2(k) deep."""
    op = graph.op(node)
    if not isinstance(op, ops.GroupMax):
        return None
    groups = op.groups.reshape(-1, op.groups.shape[-1])

    def make(builder: GraphBuilder, images: tuple[NodeId, ...]) -> NodeId:
        flat = builder.add(ops.Select(groups), *images)
        while builder.shape(flat)[1] > 1:
            flat = _round(builder, flat)
        return builder.add(ops.Reshape(graph.shapes[node]), flat)

    return Construction(make, graph.operands(node))


def _round(builder: GraphBuilder, node: NodeId) -> NodeId:
    """(groups, k) to (groups, ceil(k / 2)): neighbours play against each other."""
    rows, count = builder.shape(node)
    place = np.arange(rows * count, dtype=np.int64).reshape(rows, count)
    paired = count - count % 2
    first = builder.add(ops.Select(place[:, 0:paired:2]), node)
    second = builder.add(ops.Select(place[:, 1:paired:2]), node)
    gap = builder.add(ops.Sum((1.0, -1.0)), second, first)
    winners = builder.add(ops.Sum((1.0, 1.0)), first, builder.add(ops.Relu(), gap))
    if paired == count:
        return winners
    return builder.add(ops.Concat(1), winners, builder.add(ops.Select(place[:, paired:]), node))

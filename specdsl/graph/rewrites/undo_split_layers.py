"""Pairs of neurons `relu(z)` and `relu(-z)` inside a layer become one, or none.

With `relu(z) = z + relu(-z)` a pair that the next layer reads with weights a and b is worth
`a z + (a + b) relu(-z)`. Where a = -b nothing nonlinear is left of it. Adversarial splitting of
neurons, after Xu et al. 2024 (ReluSplitter), makes such layers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.ops import as_float
from specdsl.graph.rewrites.rewriting import Construction, only_reader

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]


def undo_split_layers(graph: Graph, node: NodeId) -> Construction | None:
    """`dense(relu(dense(x)))` with opposite rows in the inner layer, as a sum of two paths."""
    outer = graph.op(node)
    if not isinstance(outer, ops.Dense):
        return None
    (hidden,) = graph.operands(node)
    if not isinstance(graph.op(hidden), ops.Relu) or not only_reader(graph, hidden, node):
        return None
    (before,) = graph.operands(hidden)
    inner = graph.op(before)
    if not isinstance(inner, ops.Dense) or not only_reader(graph, before, hidden):
        return None
    right, left = _opposite_rows(inner)
    if not right.size:
        return None
    return Construction(_two_paths(inner, outer, right, left), graph.operands(before))


def _opposite_rows(inner: ops.Dense) -> tuple[IndexArray, IndexArray]:
    """Rows i and j of the layer with `row j = -row i`, offsets included, each row in one pair."""
    rows = np.column_stack([as_float(inner.weight), as_float(inner.bias)])
    # 0 and -0 are one number with two representations.
    waiting: dict[bytes, list[int]] = {}
    pairs: list[tuple[int, int]] = []
    for j, row in enumerate(rows + 0.0):
        partners = waiting.get((-row + 0.0).tobytes())
        if partners:
            pairs.append((partners.pop(), j))
        else:
            waiting.setdefault(row.tobytes(), []).append(j)
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _two_paths(
    inner: ops.Dense, outer: ops.Dense, right: IndexArray, left: IndexArray
) -> Callable[[GraphBuilder, tuple[NodeId, ...]], NodeId]:
    weight, bias = as_float(inner.weight), as_float(inner.bias)
    read = as_float(outer.weight).copy()
    straight = read[:, right]
    read[:, left] += straight
    read[:, right] = 0.0
    kept = np.flatnonzero(read.any(axis=0))

    def make(builder: GraphBuilder, images: tuple[NodeId, ...]) -> NodeId:
        values = builder.add(ops.Dense(weight[right], bias[right]), *images)
        offset = as_float(outer.bias)
        linear = builder.add(ops.Dense(straight, offset), values)
        if not kept.size:
            return linear
        neurons = builder.add(ops.Dense(weight[kept], bias[kept]), *images)
        active = builder.add(ops.Relu(), neurons)
        bent = builder.add(ops.Dense(read[:, kept], np.zeros_like(offset)), active)
        return builder.add(ops.Sum((1.0, 1.0)), linear, bent)

    return make

"""`relu(z)` and `relu(-z)` in one sum are one function of z: linear, |z|, or a leaky ReLU.

Exporters write leaky ReLUs and absolute values this way, and layers are made hard to verify by
writing a value z as `relu(z) - relu(-z)`, which every method must take apart neuron by neuron.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.rewrites.rewriting import Construction
from specdsl.graph.rewrites.share_repeats import same


def undo_relu_splitting(graph: Graph, node: NodeId) -> Construction | None:
    """`a relu(z) + b relu(-z)` among the terms of a sum: one term instead of two."""
    op, operands = graph.op(node), graph.operands(node)
    if not isinstance(op, ops.Sum):
        return None
    for i, j in combinations(range(len(operands)), 2):
        for right, left in ((i, j), (j, i)):
            if not _are_halves(graph, operands[right], operands[left]):
                continue
            shape = _joined(op.coefficients[right], op.coefficients[left])
            if shape is not None:
                (z,) = graph.operands(operands[right])
                return _with_term(op, operands, (right, left), shape, z)
    return None


def _joined(a: float, b: float) -> tuple[ops.Op, ...] | None:
    """Ops f with `a f(z) = a relu(z) + b relu(-z)` exactly: none where f(z) is z."""
    if b == -a:
        return ()
    if b == a:
        return (ops.Abs(),)
    slope = -b / a if a else 0.0
    exact = 0 < slope < 1 and Fraction(slope) * Fraction(a) == -Fraction(b)
    return (ops.LeakyRelu(slope),) if exact else None


def _with_term(
    op: ops.Sum,
    operands: tuple[NodeId, ...],
    pair: tuple[int, int],
    joined: tuple[ops.Op, ...],
    z: NodeId,
) -> Construction:
    others = [k for k in range(len(operands)) if k not in pair]
    coefficients = (op.coefficients[pair[0]], *(op.coefficients[k] for k in others))

    def make(builder: GraphBuilder, images: tuple[NodeId, ...]) -> NodeId:
        first, *rest = images
        for step in joined:
            first = builder.add(step, first)
        return builder.add(ops.Sum(coefficients), first, *rest)

    return Construction(make, (z, *(operands[k] for k in others)))


def _are_halves(graph: Graph, right: NodeId, left: NodeId) -> bool:
    """Whether the nodes are `relu(z)` and `relu(-z)`."""
    if not (isinstance(graph.op(right), ops.Relu) and isinstance(graph.op(left), ops.Relu)):
        return False
    (z,), (turned,) = graph.operands(right), graph.operands(left)
    return _turns(graph, z, turned) or _turns(graph, turned, z)


def _turns(graph: Graph, z: NodeId, turned: NodeId) -> bool:
    """Whether `turned = -z`: a factor -1, or the same layer with all weights turned."""
    inner, outer = graph.op(z), graph.op(turned)
    if isinstance(outer, ops.Scale) and graph.operands(turned) == (z,):
        return bool((outer.scale == -1).all()) and not (outer.shift != 0).any()
    if graph.operands(z) != graph.operands(turned):
        return False
    match inner, outer:
        case ops.Dense(), ops.Dense():
            return same(ops.Dense(np.negative(inner.weight), np.negative(inner.bias)), outer)
        case ops.Scale(), ops.Scale():
            return same(ops.Scale(np.negative(inner.scale), np.negative(inner.shift)), outer)
        case _:
            return False

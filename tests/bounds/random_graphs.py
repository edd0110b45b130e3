"""Random convolutional graphs with branches, and random input sets, from one seed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.sets import InputSet, exact, norm_ball

INPUT_SHAPE = (1, 2, 5, 4)
INPUTS = 40


def random_graph(seed: int, products: bool = True) -> Graph:
    """Convolution, a nonlinearity, a residual sum, for some seeds a product or square, batch norm,
    ReLU or the absolute value, select, concat, dense.
    """
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input(INPUT_SHAPE))
    strides = [(1, 1), (2, 1), (2, 2), (1, 3)][seed % 4]
    conv = builder.add(_conv(random, (3, 2, 3, 3), strides, ((1, 0), (1, 1))), x)
    nonlinearity = [
        *(ops.Relu(), ops.LeakyRelu(0.1), ops.Clip(-0.5, 1.0), ops.LeakyRelu(-0.3)),
        ops.Abs(),
    ]
    hidden = builder.add(nonlinearity[seed // 4 % 5], conv)
    mixed = builder.add(_conv(random, (3, 3, 1, 1), (1, 1), ((0, 0), (0, 0))), hidden)
    total = builder.add(ops.Sum((1.0, -2.0)), mixed, hidden)
    if products:
        total = _with_product(builder, seed // 20 % 4, total, mixed, hidden)
    normal = random.normal(size=(3, 3))
    norm = ops.BatchNorm(normal[0], normal[1], normal[2], random.random(3), 1e-5)
    relu = builder.add((ops.Relu(), ops.Abs())[seed // 80 % 2], builder.add(norm, total))
    moved = builder.add(ops.Transpose((0, 2, 3, 1)), relu)
    size = int(np.prod(builder.shape(moved)))
    flat = builder.add(ops.Reshape((size,)), moved)
    picked = builder.add(ops.Select(random.integers(0, size, 7)), flat)
    fixed = builder.add(ops.Constant(random.normal(size=2)))
    joined = builder.add(ops.Concat(0), flat, picked, fixed)
    scaled = builder.add(ops.Scale(random.normal(size=1), random.normal(size=1)), joined)
    weight = random.normal(size=(4, builder.shape(scaled)[0]))
    return builder.build(builder.add(ops.Dense(weight, random.normal(size=4)), scaled))


def _with_product(
    builder: GraphBuilder, kind: int, total: NodeId, mixed: NodeId, hidden: NodeId
) -> NodeId:
    """`total`, plus for some kinds a product of two nodes, a square, or a node times itself."""
    if kind == 1:
        added = builder.add(ops.Multiply(), mixed, hidden)
    elif kind == 2:
        added = builder.add(ops.Square(), mixed)
    elif kind == 3:
        added = builder.add(ops.Multiply(), total, total)
    else:
        return total
    return builder.add(ops.Sum((1.0, -0.5)), total, added)


def _conv(
    random: np.random.Generator,
    shape: tuple[int, ...],
    strides: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
) -> ops.Conv:
    return ops.Conv(random.normal(size=shape), random.normal(size=shape[0]), strides, pads, (1, 1))


def random_set(seed: int) -> InputSet:
    """A box or a ball around a random centre, of radius 1/2, 1/10 or 1/100."""
    random = np.random.default_rng(seed + 1)
    center = exact(random.normal(size=INPUTS))
    norm = ("linf", "l2", "l1")[seed % 3]
    return norm_ball(center, Fraction(1, (2, 10, 100)[seed // 3 % 3]), norm)


def points_of(inputs: InputSet, count: int, seed: int) -> np.ndarray:
    """Points of the set, boundary and corners included: (count, inputs)."""
    random = np.random.default_rng(seed + 2)
    lower, upper = inputs.box.float_bounds()
    unit = random.uniform(-1, 1, size=(count, INPUTS))
    unit[::3] = np.sign(unit[::3])
    for ball in inputs.balls:
        order = {"l1": 1, "l2": 2}[ball.norm]
        size = np.linalg.norm(unit, ord=order, axis=1, keepdims=True)
        unit /= np.maximum(size, 1.0)
    return (lower + upper) / 2 + unit * (upper - lower) / 2

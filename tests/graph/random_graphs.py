"""Random graphs that use every op, for laws about evaluation, rewriting and export."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

import numpy as np
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId

Step = Callable[[GraphBuilder, NodeId, np.random.Generator], NodeId]


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _dense(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    rows, columns = int(rng.integers(1, 5)), builder.shape(node)[-1]
    return builder.add(ops.Dense(_weights(rng, rows, columns), _weights(rng, rows)), node)


def _conv(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)
    if len(shape) < 3:
        return node
    rank, channels = len(shape) - 2, shape[1]
    groups = channels if rng.random() < 0.3 else 1
    kernel = tuple(int(rng.integers(1, min(n, 3) + 1)) for n in shape[2:])
    filters = groups * int(rng.integers(1, 3))
    op = ops.Conv(
        weight=_weights(rng, filters, channels // groups, *kernel),
        bias=_weights(rng, filters),
        strides=tuple(int(rng.integers(1, 3)) for _ in range(rank)),
        pads=tuple((int(rng.integers(0, 2)), int(rng.integers(0, 2))) for _ in range(rank)),
        dilations=(1,) * rank,
        groups=groups,
    )
    return builder.add(op, node)


def _scale(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)

    def parameter() -> np.ndarray:
        kept = tuple(n if rng.random() < 0.5 else 1 for n in shape)
        values = _weights(rng, *kept)
        return values if rng.random() < 0.7 else values.reshape(-1)[:1].reshape(())

    return builder.add(ops.Scale(parameter(), parameter()), node)


def _exact_scale(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    third = np.array(Fraction(int(rng.integers(1, 9)), 3), dtype=object)
    shift = np.array(Fraction(int(rng.integers(-9, 9)), 7), dtype=object)
    return builder.add(ops.Scale(third, shift), node)


def _batch_norm(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)
    if len(shape) < 2:
        return node
    gamma, beta, mean = (_weights(rng, shape[1]) for _ in range(3))
    variance = np.abs(_weights(rng, shape[1])) + np.float32(0.1)
    return builder.add(ops.BatchNorm(gamma, beta, mean, variance, 1e-5), node)


def _sum(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    other = builder.add(ops.Relu(), node)
    return builder.add(ops.Sum((1.0, float(np.float32(rng.standard_normal())))), node, other)


def _constant_sum(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    constant = builder.add(ops.Constant(_weights(rng, *builder.shape(node))))
    scaled = builder.add(ops.Scale(np.array(2.0), np.array(0.5)), constant)
    return builder.add(ops.Sum((1.0, -1.0)), scaled, node)


def _reshape(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)
    flat = (1, prod(shape))
    split = (1, 2, prod(shape) // 2) if prod(shape) % 2 == 0 else (1, *shape)
    return builder.add(ops.Reshape(flat if rng.random() < 0.5 else split), node)


def _transpose(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    axes = tuple(int(a) for a in rng.permutation(len(builder.shape(node))))
    return builder.add(ops.Transpose(axes), node)


def _select(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    size = prod(builder.shape(node))
    indices = rng.integers(0, size, size=(1, int(rng.integers(1, size + 2))))
    return builder.add(ops.Select(indices), node)


def _concat(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)
    if prod(shape) > 40:
        return node
    axis = int(rng.integers(0, len(shape)))
    return builder.add(ops.Concat(axis), node, builder.add(ops.Relu(), node))


def _activation(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    kinds = (ops.Relu(), ops.LeakyRelu(0.25), ops.Clip(-0.5, 1.0), ops.Abs())
    return builder.add(kinds[int(rng.integers(0, len(kinds)))], node)


def _product(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """Of bounded factors: squares of squares leave float32 behind."""
    bounded = builder.add(ops.Clip(-2.0, 2.0), node)
    if rng.random() < 0.5:
        return builder.add(ops.Square(), bounded)
    return builder.add(ops.Multiply(), bounded, node)


STEPS: tuple[Step, ...] = (
    _dense,
    _conv,
    _scale,
    _exact_scale,
    _batch_norm,
    _sum,
    _constant_sum,
    _reshape,
    _transpose,
    _select,
    _concat,
    _activation,
    _product,
)


def _curve(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """Of bounded arguments: e^e^e^x leaves the floats behind."""
    kinds = (ops.Sigmoid(), ops.Tanh(), ops.Exp(), ops.Softplus(), ops.Elu(0.5), ops.Sin())
    bounded = builder.add(ops.Clip(-4.0, 4.0), node)
    return builder.add(kinds[int(rng.integers(0, len(kinds)))], bounded)


def _step(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    kinds = (ops.Sign(), ops.Positive(), ops.NotNegative(), ops.IsZero(), ops.Floor(), ops.Round())
    return builder.add(kinds[int(rng.integers(0, len(kinds)))], node)


def _gate(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """`x` times a number that depends on its sign."""
    kinds = (ops.Sign(), ops.Positive(), ops.NotNegative())
    step = builder.add(kinds[int(rng.integers(0, len(kinds)))], node)
    slope, shift = (np.array(float(rng.integers(-2, 3))) for _ in range(2))
    return builder.add(ops.Multiply(), builder.add(ops.Scale(slope, shift), step), node)


def _maximum(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    size = prod(builder.shape(node))
    shape = (1, int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    return builder.add(ops.GroupMax(rng.integers(0, size, size=shape)), node)


def _halves(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """`a relu(x) + b relu(-x)`, now and then with a = -b or the like."""
    right = builder.add(ops.Relu(), node)
    turned = builder.add(ops.Scale(np.array(-1.0), np.array(0.0)), node)
    left = builder.add(ops.Relu(), turned)
    a, b = (float(rng.choice([-1.0, 1.0, 0.5, 0.3])) for _ in range(2))
    return builder.add(ops.Sum((a, b)), right, left)


def _split_layer(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """A layer that holds some rows with both signs, a ReLU, and a layer that reads both."""
    columns = builder.shape(node)[-1]
    weight, bias = _weights(rng, 2, columns), _weights(rng, 2)
    own, own_bias = _weights(rng, 1, columns), _weights(rng, 1)
    rows = np.concatenate([weight, own, -weight])
    split = builder.add(ops.Dense(rows, np.concatenate([bias, own_bias, -bias])), node)
    read = _weights(rng, 3, 5)
    if rng.random() < 0.5:
        read[:, 3:] = -read[:, :2]
    return builder.add(ops.Dense(read, _weights(rng, 3)), builder.add(ops.Relu(), split))


def _repeat(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    """The same twice, summed: what sharing and sums make one term of."""
    twice = [builder.add(ops.Abs(), node) for _ in range(2)]
    return builder.add(ops.Sum((1.0, float(rng.choice([-1.0, 0.5])))), *twice)


def _transposed_conv(builder: GraphBuilder, node: NodeId, rng: np.random.Generator) -> NodeId:
    shape = builder.shape(node)
    if len(shape) != 4 or prod(shape) > 40:
        return node
    weight, bias = _weights(rng, shape[1], 2, 2, 2), _weights(rng, 2)
    op = ops.ConvTranspose(weight, bias, (2, 1), ((0, 0), (0, 0)), (1, 1), (0, 0))
    return builder.add(op, node)


PIECEWISE: tuple[Step, ...] = (*STEPS, _maximum, _halves, _split_layer, _repeat, _transposed_conv)
"""Continuous and exact over the rationals."""
CURVED: tuple[Step, ...] = (*PIECEWISE, _curve)
"""Continuous."""
STEPPED: tuple[Step, ...] = (*PIECEWISE, _step, _gate)
"""Exact over the rationals, with jumps."""
INPUT_SHAPES = ((1, 3), (4,), (1, 2, 4), (1, 2, 3, 4), (1, 1, 1, 5))


@st.composite
def graphs(draw: st.DrawFn, max_steps: int = 8, steps: tuple[Step, ...] = STEPS) -> Graph:
    """A chain of random ops (with branches inside some) on an input of one of several shapes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = GraphBuilder()
    node = builder.add(ops.Input(draw(st.sampled_from(INPUT_SHAPES))), name="x")
    for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=max_steps)):
        node = step(builder, node, rng)
    return builder.build(node)


def random_points(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """(count, *input shape), standard normals in float64 with float32 values."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, *graph.shapes[graph.input]))
    return points.astype(np.float32).astype(np.float64)


def as_exact(point: np.ndarray) -> np.ndarray:
    """The same array of `Fraction`."""
    result = np.empty(point.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(v) for v in point.reshape(-1).tolist()]
    return result

"""Small random networks, boxes and queries for hypothesis; shared by all tests.

Structure is drawn by hypothesis (so it shrinks); weights come from a drawn seed. All weights are
float32 numbers with few bits, so that exact arithmetic stays short and ONNX Runtime's float32
rounds little.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, NetworkCall, Query, Variable
from specdsl.query.sets import Box, InputSet, exact, norm_ball

Activation = Literal["relu", "leaky_relu", "clip"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "leaky_relu", "clip")

# Weights are multiples of this: sums of a few layers stay exact in float64.
WEIGHT_STEP = 1 / 16


@dataclass(frozen=True)
class Limits:
    """How large drawn networks may be."""

    inputs: tuple[int, int] = (2, 3)
    layers: tuple[int, int] = (1, 2)
    width: tuple[int, int] = (2, 5)
    outputs: tuple[int, int] = (1, 3)


SMALL = Limits()


def random_weights(
    rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0
) -> npt.NDArray[np.float32]:
    """Normal, rounded to multiples of WEIGHT_STEP."""
    values = rng.normal(size=shape) * scale
    return (np.round(values / WEIGHT_STEP) * WEIGHT_STEP).astype(np.float32)


def activation_op(kind: Activation) -> ops.PiecewiseLinear:
    """The op of that name, with fixed parameters that float32 holds exactly."""
    if kind == "relu":
        return ops.Relu()
    return ops.LeakyRelu(slope=0.125) if kind == "leaky_relu" else ops.Clip(-0.5, 1.0)


@st.composite
def generators(draw: st.DrawFn) -> np.random.Generator:
    """A seeded numpy generator."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def dense_networks(
    draw: st.DrawFn,
    limits: Limits = SMALL,
    activations: tuple[Activation, ...] = ACTIVATIONS,
    skips: bool = True,
) -> Graph:
    """`(1, n) -> (1, m)`: dense layers with activations, now and then a skip connection."""
    rng = draw(generators())
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, draw(st.integers(*limits.inputs)))), name="x")
    for _ in range(draw(st.integers(*limits.layers))):
        before = node
        node = _dense(builder, node, draw(st.integers(*limits.width)), rng)
        node = builder.add(activation_op(draw(st.sampled_from(activations))), node)
        if skips and builder.shape(before) == builder.shape(node) and draw(st.booleans()):
            node = builder.add(ops.Sum((1.0, draw(st.sampled_from((1.0, -0.5))))), node, before)
    return builder.build(_dense(builder, node, draw(st.integers(*limits.outputs)), rng))


def _dense(builder: GraphBuilder, node: NodeId, width: int, rng: np.random.Generator) -> NodeId:
    inputs = builder.shape(node)[-1]
    weight = random_weights(rng, (width, inputs))
    return builder.add(ops.Dense(weight, random_weights(rng, (width,), 0.5)), node)


@st.composite
def conv_networks(
    draw: st.DrawFn, activations: tuple[Activation, ...] = ACTIVATIONS, outputs: int = 2
) -> Graph:
    """`(1, 1, 2..3, 2..3) -> (1, outputs)`: convolution, activation, flatten, dense."""
    rng = draw(generators())
    builder = GraphBuilder()
    extent = (draw(st.integers(2, 3)), draw(st.integers(2, 3)))
    node = builder.add(ops.Input((1, 1, *extent)), name="x")
    channels, pad = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    conv = ops.Conv(
        weight=random_weights(rng, (channels, 1, 2, 2)),
        bias=random_weights(rng, (channels,), 0.5),
        strides=(1, draw(st.integers(1, 2))),
        pads=((pad, 0), (0, pad)),
        dilations=(1, 1),
    )
    node = builder.add(conv, node)
    if draw(st.booleans()):
        node = builder.add(_batch_norm(rng, channels), node)
    node = builder.add(activation_op(draw(st.sampled_from(activations))), node)
    size = int(np.prod(builder.shape(node)))
    node = builder.add(ops.Reshape((1, size)), node)
    return builder.build(_dense(builder, node, outputs, rng))


def _batch_norm(rng: np.random.Generator, channels: int) -> ops.BatchNorm:
    return ops.BatchNorm(
        gamma=random_weights(rng, (channels,)),
        beta=random_weights(rng, (channels,), 0.5),
        mean=random_weights(rng, (channels,), 0.5),
        variance=np.abs(random_weights(rng, (channels,))) + np.float32(0.25),
        epsilon=1e-5,
    )


def networks(activations: tuple[Activation, ...] = ACTIVATIONS) -> st.SearchStrategy[Graph]:
    """Mostly dense networks, some convolutional."""
    dense = dense_networks(activations=activations)
    return st.one_of(dense, dense, conv_networks(activations=activations))


@st.composite
def boxes(draw: st.DrawFn, size: int) -> Box:
    """A box around a point of [-1, 1]^size with dyadic ends; now and then a side has no width."""
    rng = draw(generators())
    center = np.round(rng.uniform(-1, 1, size) * 16) / 16
    radius = draw(st.sampled_from((0.125, 0.25, 0.5, 1.0)))
    widths = np.full(size, radius)
    if size > 1 and draw(st.integers(0, 9)) == 0:
        widths[draw(st.integers(0, size - 1))] = 0.0
    return Box(exact(center - widths), exact(center + widths))


@st.composite
def l1_balls(draw: st.DrawFn, size: int) -> InputSet:
    """An l1 ball around a point of [-1, 1]^size."""
    rng = draw(generators())
    center = exact(np.round(rng.uniform(-1, 1, size) * 16) / 16)
    return norm_ball(center, Fraction(draw(st.sampled_from(("1/4", "1/2", "1")))), "l1")


def sample(inputs: Box, count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Points of the box, corners and centre included: (count, size)."""
    lower, upper = inputs.float_bounds()
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(count, inputs.size))
    corners = count // 4
    points[:corners] = np.round(points[:corners])
    points[0] = 0.5
    return lower + points * (upper - lower)


def margin_query(
    network: Graph,
    inputs: InputSet,
    weight: npt.NDArray[np.floating],
    bias: npt.NDArray[np.floating],
    conjunctions: tuple[tuple[Atom, ...], ...],
) -> Query:
    """The query over `weight @ network(x) + bias`, one case for each tuple of atoms."""
    builder = GraphBuilder()
    entry = network.input
    node = builder.add(network.op(entry), name=entry)
    spliced = builder.splice(network, {entry: node})
    raw = spliced[network.output]
    flat = builder.add(ops.Reshape((network.size(network.output),)), raw)
    margins = builder.add(ops.Dense(weight, bias), flat, name="margins")
    call = NetworkCall("f", export(network), (node,), (raw,))
    return Query(
        name="random",
        graph=builder.build(margins),
        cases=tuple(Case(inputs, atoms) for atoms in conjunctions),
        variables=(Variable.at("x", 0, network.shapes[entry]),),
        calls=(call,),
    )


# How far, in margin, a drawn case lies from the boundary; positive: probably no point in it.
CLEARANCES = (-1.0, -0.25, -0.0625, -0.015625, 0.015625, 0.0625, 0.25, 1.0)


@st.composite
def queries(draw: st.DrawFn, graphs: st.SearchStrategy[Graph] | None = None) -> Query:
    """One or two cases of one or two atoms over a random network and box.

    Margins are shifted so that the least value sampled is one of CLEARANCES: both verdicts are
    common, and how near they are to the other varies.
    """
    network = draw(networks() if graphs is None else graphs)
    inputs = draw(boxes(network.size(network.input)))
    rng = draw(generators())
    count = draw(st.integers(1, 3))
    weight = random_weights(rng, (count, network.size(network.output)))
    atoms = [Atom(i, draw(st.booleans())) for i in range(count)]
    cut = draw(st.integers(1, count))
    conjunctions = tuple(c for c in (tuple(atoms[:cut]), tuple(atoms[cut:])) if c)
    points = sample(inputs, 200).reshape(200, *network.shapes[network.input])
    outputs = evaluate(network, {network.input: points}, [network.output])[network.output]
    margins = outputs.reshape(200, -1) @ weight.T
    bias = np.zeros(count, dtype=np.float32)
    for conjunction in conjunctions:
        read = [atom.index for atom in conjunction]
        shift = draw(st.sampled_from(CLEARANCES)) - float(margins[:, read].max(axis=1).min())
        bias[read] = np.round(shift * 256) / 256
    return margin_query(network, inputs, weight, bias, conjunctions)

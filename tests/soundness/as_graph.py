"""A network of `networks` as a graph, layer by layer."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from tests.soundness import networks
from tests.soundness.networks import Layer, Network

_POINTWISE = {
    "relu": ops.Relu,
    "leaky_relu": ops.LeakyRelu,
    "abs": ops.Abs,
    "clip": ops.Clip,
    "sigmoid": ops.Sigmoid,
    "tanh": ops.Tanh,
}


def as_graph(network: Network) -> Graph:
    """One input `x` of the network's shape, one output of (1, outputs)."""
    builder = GraphBuilder()
    node = builder.add(ops.Input(network.shape), name="x")
    return builder.build(_chain(builder, network.layers, node))


def _chain(builder: GraphBuilder, layers: tuple[Layer, ...], node: NodeId) -> NodeId:
    for layer in layers:
        node = add(layer, builder, node)
    return node


@singledispatch
def add(layer: Layer, builder: GraphBuilder, node: NodeId) -> NodeId:
    """The node that a layer makes of another."""
    raise TypeError(f"{type(layer).__name__} is no layer")


@add.register
def _(layer: networks.Dense, builder: GraphBuilder, node: NodeId) -> NodeId:
    return builder.add(ops.Dense(layer.weight, layer.bias), node)


@add.register
def _(layer: networks.Conv, builder: GraphBuilder, node: NodeId) -> NodeId:
    strides, pads = (layer.stride,) * 2, ((layer.pad,) * 2,) * 2
    return builder.add(ops.Conv(layer.weight, layer.bias, strides, pads, (1, 1)), node)


@add.register
def _(layer: networks.Shift, builder: GraphBuilder, node: NodeId) -> NodeId:
    return builder.add(ops.Scale(np.array(1.0), layer.offset), node)


@add.register
def _(layer: networks.Pointwise, builder: GraphBuilder, node: NodeId) -> NodeId:
    return builder.add(_POINTWISE[layer.kind](*layer.numbers), node)


@add.register
def _(layer: networks.AveragePool, builder: GraphBuilder, node: NodeId) -> NodeId:
    channels, size = builder.shape(node)[1], layer.size
    weight = np.full((channels, 1, size, size), 1 / size**2)
    bias, none = np.zeros(channels), ((0, 0), (0, 0))
    op = ops.Conv(weight, bias, (size, size), none, (1, 1), groups=channels)
    return builder.add(op, node)


@add.register
def _(layer: networks.MaxOf, builder: GraphBuilder, node: NodeId) -> NodeId:
    size = builder.shape(node)[1]
    return builder.add(ops.GroupMax(np.arange(size).reshape(1, -1, layer.count)), node)


@add.register
def _(_layer: networks.Flatten, builder: GraphBuilder, node: NodeId) -> NodeId:
    shape = builder.shape(node)
    return builder.add(ops.Reshape((1, int(np.prod(shape)))), node)


@add.register
def _(layer: networks.Residual, builder: GraphBuilder, node: NodeId) -> NodeId:
    return builder.add(ops.Sum((1.0, 1.0)), node, _chain(builder, layer.body, node))


@add.register
def _(layer: networks.Parallel, builder: GraphBuilder, node: NodeId) -> NodeId:
    parts = [_chain(builder, layers, node) for layers in (layer.first, layer.second)]
    return builder.add(ops.Concat(1), *parts)

"""A network of `networks` as the bytes of an ONNX file, by the onnx package alone.

What exporters write differs: `form` draws how each layer is spelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.soundness import networks
from tests.soundness.networks import Layer, Network, Shape

OPSET, IR_VERSION = 13, 8


def as_onnx(network: Network, form: int = 0) -> bytes:
    """A model with input `x` of the network's shape and output `y` of (1, outputs).

    Raises ValueError for a parameter that is no float32 number.
    """
    writer = Writer(form)
    last, shape = writer.chain(network.layers, "x", network.shape)
    writer.node("Identity", [last], name="y")
    graph = helper.make_graph(
        writer.nodes,
        "adversary",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, network.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        writer.tensors,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Writer:
    """Nodes and tensors so far."""

    def __init__(self, form: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(form)

    def chain(self, layers: tuple[Layer, ...], name: str, shape: Shape) -> tuple[str, Shape]:
        """The value that layers make of another, and its shape."""
        for layer in layers:
            name, shape = write(layer, self, name, shape)
        return name, shape

    def node(self, op: str, operands: Sequence[str], name: str = "", **attributes: object) -> str:
        """The name of the result."""
        result = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(operands), [result], **attributes))
        return result

    def floats(self, value: networks.Array) -> str:
        """A constant, exactly."""
        rounded = np.asarray(value, dtype=np.float64).astype(np.float32)
        if not np.array_equal(rounded.astype(np.float64), np.asarray(value, dtype=np.float64)):
            raise ValueError("a parameter is no float32 number")
        return self._tensor(rounded)

    def integers(self, *values: int) -> str:
        """A vector of int64."""
        return self._tensor(np.array(values, dtype=np.int64))

    def _tensor(self, value: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


@singledispatch
def write(layer: Layer, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    """The value that a layer makes of another, and its shape."""
    raise TypeError(f"{type(layer).__name__} is no layer")


@write.register
def _(layer: networks.Dense, writer: Writer, name: str, _shape: Shape) -> tuple[str, Shape]:
    weight, bias = layer.weight, writer.floats(layer.bias)
    after = (1, len(layer.weight))
    match writer.random.integers(3):
        case 0:
            return writer.node("Gemm", [name, writer.floats(weight), bias], transB=1), after
        case 1:
            return writer.node("Gemm", [name, writer.floats(weight.T), bias]), after
        case _:
            product = writer.node("MatMul", [name, writer.floats(weight.T)])
            return writer.node("Add", [product, bias]), after


@write.register
def _(layer: networks.Conv, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    size, pad, stride = layer.weight.shape[-1], layer.pad, layer.stride
    operands = [name, writer.floats(layer.weight), writer.floats(layer.bias)]
    result = writer.node(
        "Conv", operands, kernel_shape=[size] * 2, pads=[pad] * 4, strides=[stride] * 2
    )
    extents = ((extent + 2 * pad - size) // stride + 1 for extent in shape[2:])
    return result, (1, len(layer.weight), *extents)


@write.register
def _(layer: networks.Shift, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    if writer.random.integers(2):
        return writer.node("Add", [name, writer.floats(layer.offset)]), shape
    return writer.node("Sub", [name, writer.floats(-layer.offset)]), shape


@write.register
def _(layer: networks.Pointwise, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    match layer.kind:
        case "leaky_relu":
            return writer.node("LeakyRelu", [name], alpha=layer.numbers[0]), shape
        case "clip":
            ends = [writer.floats(np.array(number)) for number in layer.numbers]
            return writer.node("Clip", [name, *ends]), shape
        case "relu" if not writer.random.integers(4):
            return writer.node("Max", [writer.floats(np.array(0.0)), name]), shape
        case kind:
            return writer.node(kind.capitalize(), [name]), shape


@write.register
def _(layer: networks.AveragePool, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    size = layer.size
    after = (*shape[:2], shape[2] // size, shape[3] // size)
    if after[2:] == (1, 1) and writer.random.integers(2):
        return writer.node("GlobalAveragePool", [name]), after
    return writer.node("AveragePool", [name], kernel_shape=[size] * 2, strides=[size] * 2), after


@write.register
def _(layer: networks.MaxOf, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    groups = shape[1] // layer.count
    apart = writer.node("Reshape", [name, writer.integers(1, groups, layer.count)])
    return writer.node("ReduceMax", [apart], axes=[2], keepdims=0), (1, groups)


@write.register
def _(_layer: networks.Flatten, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    if writer.random.integers(2):
        return writer.node("Flatten", [name], axis=1), (1, prod(shape))
    return writer.node("Reshape", [name, writer.integers(1, -1)]), (1, prod(shape))


@write.register
def _(layer: networks.Residual, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    body, _ = writer.chain(layer.body, name, shape)
    operands = [name, body] if writer.random.integers(2) else [body, name]
    return writer.node("Add", operands), shape


@write.register
def _(layer: networks.Parallel, writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    first, one = writer.chain(layer.first, name, shape)
    second, other = writer.chain(layer.second, name, shape)
    return writer.node("Concat", [first, second], axis=1), (1, one[1] + other[1], *one[2:])

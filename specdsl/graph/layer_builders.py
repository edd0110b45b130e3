"""What each sort of layer adds to the graph. Linear and piecewise linear layers are exact, but for
`batch_norm`, whose root is rounded once to float64. The others are in `layer_composites`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.layer_call import ExactArray, LayerCall, array_of, compact
from specdsl.graph.layer_composites import COMPOSITES, EPSILON, LayerBuilder, window_of


def _dense(call: LayerCall) -> NodeId:
    weight = _weight(call)
    if weight.ndim != 2:
        call.refuse("E0621", f"a dense weight is a matrix, not {list(weight.shape)}", "weight")
    bias = _bias(call, weight.shape[0])
    if len(call.shape) != 2 or call.shape[1] != weight.shape[1]:
        found = list(call.shape[1:])
        entries = prod(call.shape)
        flatten = len(call.shape) != 2 and entries == weight.shape[1]
        call.refuse(
            "E0621",
            f"the weight takes {weight.shape[1]} entries but {found} arrive",
            "weight",
            help="put `layer flatten` before it" if flatten else None,
        )
    return call.result(ops.Dense(compact(weight), compact(bias)))


def _conv(call: LayerCall) -> NodeId:
    weight = _weight(call)
    rank = weight.ndim - 2
    if rank < 1 or rank != len(call.shape) - 2:
        text = f"a weight {list(weight.shape)} on a value {list(call.shape[1:])}"
        call.refuse("E0621", text, "weight", help="weight: out, in, then one extent for each axis")
    strides = call.integers("stride", rank, 1)
    padding = call.integers("padding", rank, 0)
    if min(strides) < 1:
        call.refuse("E0620", "`stride` is at least 1", "stride")
    pads = tuple((p, p) for p in padding)
    bias = _bias(call, weight.shape[0])
    op = ops.Conv(compact(weight), compact(bias), strides, pads, (1,) * rank)
    return call.result(op)


def _conv_transpose(call: LayerCall) -> NodeId:
    weight = _weight(call)
    rank = weight.ndim - 2
    if rank < 1 or rank != len(call.shape) - 2:
        text = f"a weight {list(weight.shape)} on a value {list(call.shape[1:])}"
        call.refuse("E0621", text, "weight", help="weight: in, out, then one extent for each axis")
    strides = call.integers("stride", rank, 1)
    if min(strides) < 1:
        call.refuse("E0620", "`stride` is at least 1", "stride")
    op = ops.ConvTranspose(
        compact(weight),
        compact(_bias(call, weight.shape[1])),
        strides,
        pads=tuple((p, p) for p in call.integers("padding", rank, 0)),
        dilations=(1,) * rank,
        output_pads=call.integers("output_padding", rank, 0),
    )
    if any(added >= stride for added, stride in zip(op.output_pads, strides, strict=True)):
        call.refuse("E0621", "`output_padding` must be below the stride", "output_padding")
    return call.result(op)


def _weight(call: LayerCall) -> ExactArray:
    if not call.has("weight"):
        text = f"layer `{call.kind}` has no `weight`"
        help_ = (
            "write `weight = [[...]]`, read `weights = safetensors(...)`, or `train` the network"
        )
        call.refuse("E0622", text, help=help_)
    return call.tensor("weight")


def _bias(call: LayerCall, size: int) -> ExactArray:
    if not call.has("bias"):
        return array_of(*([Fraction(0)] * size)).reshape(size)
    bias = call.tensor("bias").reshape(-1)
    if bias.size != size:
        call.refuse("E0621", f"the bias has {bias.size} entries, the weight {size} rows", "bias")
    return bias


def _normalize(call: LayerCall) -> NodeId:
    """`(x - mean) / std`, one number or one for each entry of the first axis."""
    mean = call.tensor("mean") if call.has("mean") else array_of(Fraction(0)).reshape(())
    std = call.tensor("std") if call.has("std") else array_of(Fraction(1)).reshape(())
    if any(v <= 0 for v in std.reshape(-1)):
        call.refuse("E0620", "`std` must be positive", "std")
    extent = (1, -1, *(1 for _ in call.shape[2:]))
    parameters: list[ExactArray] = []
    for name, value in (("mean", mean), ("std", std)):
        if value.size not in {1, call.shape[1]}:
            text = f"`{name}` has {value.size} entries, the value {call.shape[1]} channels"
            call.refuse("E0621", text, name)
        parameters.append(value.reshape(()) if value.size == 1 else value.reshape(extent))
    scale = np.asarray(1 / parameters[1], dtype=object)
    shift = np.asarray(-parameters[0] * scale, dtype=object)
    return call.result(ops.Scale(compact(scale), compact(shift)))


def _relu(call: LayerCall) -> NodeId:
    return call.result(ops.Relu())


def _leaky_relu(call: LayerCall) -> NodeId:
    """Ops hold slopes as floats; a slope that is none becomes `slope x + (1 - slope) relu(x)`."""
    if not call.has("slope"):
        call.refuse("E0620", "`leaky_relu` needs its `slope`", help="`leaky_relu(slope = 1/8)`")
    slope = call.number("slope")
    if not 0 <= slope <= 1:
        call.refuse("E0620", f"the slope {slope} is not in [0, 1]", "slope")
    if Fraction(float(slope)) == slope:
        return call.result(ops.LeakyRelu(float(slope)))
    line = call.add(_scale(slope, Fraction(0)))
    bend = call.add(_scale(1 - slope, Fraction(0)), call.add(ops.Relu()))
    return call.result(ops.Sum((1.0, 1.0)), line, bend)


def _clip(call: LayerCall) -> NodeId:
    """Ops hold bounds as floats; others are met by a clip to [0, 1] between exact scales."""
    if not (call.has("minimum") and call.has("maximum")):
        call.refuse("E0620", "`clip` needs both bounds", help="`clip(minimum = 0, maximum = 6)`")
    minimum, maximum = call.number("minimum"), call.number("maximum")
    if minimum >= maximum:
        call.refuse("E0620", f"the minimum {minimum} is not below the maximum {maximum}")
    if all(Fraction(float(bound)) == bound for bound in (minimum, maximum)):
        return call.result(ops.Clip(float(minimum), float(maximum)))
    width = maximum - minimum
    unit = call.add(_scale(1 / width, -minimum / width))
    clipped = call.add(ops.Clip(0.0, 1.0), unit)
    return call.result(_scale(width, minimum), clipped)


def _flatten(call: LayerCall) -> NodeId:
    return call.result(ops.Reshape((1, prod(call.shape))))


def _reshape(call: LayerCall) -> NodeId:
    extents = shape_of(call)
    if prod(extents) != prod(call.shape):
        text = f"{list(extents)} has other entries than {list(call.shape[1:])}, which arrives"
        call.refuse("E0621", text, "shape")
    return call.result(ops.Reshape((1, *extents)))


def shape_of(call: LayerCall) -> tuple[int, ...]:
    """The shape that a `reshape` gives, without the batch axis."""
    return call.integers("shape", call.tensor("shape").size, 1)


def _hardtanh(call: LayerCall) -> NodeId:
    return call.result(ops.Clip(-1.0, 1.0))


def _average_pool(call: LayerCall) -> NodeId:
    """The mean of each window, as a convolution of each channel by itself."""
    window = window_of(call)
    channels = call.shape[1]
    weight = np.empty((channels, 1, *window.kernel), dtype=object)
    weight[...] = Fraction(1, prod(window.kernel))
    bias = array_of(*([Fraction(0)] * channels)).reshape(channels)
    op = ops.Conv(
        compact(weight),
        compact(bias),
        window.strides,
        window.pads,
        window.dilations,
        groups=channels,
    )
    return call.result(op)


def _batch_norm(call: LayerCall) -> NodeId:
    """With given statistics; every parameter is one number, or one for each channel."""
    if not (call.has("mean") and call.has("variance")):
        text = "layer `batch_norm` has no `mean` and `variance`"
        call.refuse("E0622", text, help="give `mean = [...]` and `variance = [...]`")
    parameters = [
        _channelwise(call, name, Fraction(default))
        for name, default in (("gamma", 1), ("beta", 0), ("mean", 0), ("variance", 0))
    ]
    gamma, beta, mean, variance = parameters
    epsilon = call.number("epsilon") if call.has("epsilon") else EPSILON
    if any(Fraction(v) + epsilon <= 0 for v in variance):
        call.refuse("E0620", "`variance + epsilon` must be positive", "variance")
    return call.result(ops.BatchNorm(gamma, beta, mean, variance, float(epsilon)))


def _channelwise(call: LayerCall, name: str, default: Fraction) -> npt.NDArray[np.float64]:
    channels = call.shape[1]
    given = call.tensor(name).reshape(-1) if call.has(name) else array_of(default).reshape(-1)
    if given.size not in {1, channels}:
        text = f"`{name}` has {given.size} entries, the value {channels} channels"
        call.refuse("E0621", text, name)
    values = np.array([float(v) for v in given], dtype=np.float64)
    return np.broadcast_to(values, (channels,)).copy()


def _dropout(call: LayerCall) -> NodeId:
    """Nothing, once training is over."""
    return call.result(ops.Reshape(call.shape))


BUILDERS: Mapping[str, LayerBuilder] = MappingProxyType(
    {
        **COMPOSITES,
        "average_pool": _average_pool,
        "avgpool": _average_pool,
        "batch_norm": _batch_norm,
        "clip": _clip,
        "conv": _conv,
        "conv_transpose": _conv_transpose,
        "dense": _dense,
        "dropout": _dropout,
        "flatten": _flatten,
        "hardtanh": _hardtanh,
        "leaky_relu": _leaky_relu,
        "normalize": _normalize,
        "relu": _relu,
        "reshape": _reshape,
    }
)
"""Each layer with a graph, by its name."""


def _scale(factor: Fraction, shift: Fraction) -> ops.Scale:
    return ops.Scale(compact(array_of(factor)), compact(array_of(shift)))

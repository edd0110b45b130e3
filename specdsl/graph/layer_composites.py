"""Layers with curves, maxima and statistics of their own, by the ops and composites they are.

Their numbers go into ops as float64: a parameter such as `alpha = 1/3` is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import prod
from types import MappingProxyType

from specdsl.graph import composites, ops
from specdsl.graph.composites import Builder, Window
from specdsl.graph.graph import NodeId
from specdsl.graph.layer_call import LayerCall, compact

LayerBuilder = Callable[[LayerCall], NodeId]

EPSILON = Fraction(1, 100_000)
"""What is added to a variance where no `epsilon` is given: as in PyTorch."""

# Klambauer et al. 2017, arXiv:1706.02515, as float64.
SELU_ALPHA = 1.6732632423543772
SELU_GAMMA = 1.0507009873554805


# --- entry by entry ------------------------------------------------------------------------------


def _one(op: ops.Op) -> LayerBuilder:
    return lambda call: call.result(op)


def _elu(call: LayerCall) -> NodeId:
    return call.result(ops.Elu(_alpha(call)))


def _celu(call: LayerCall) -> NodeId:
    return _composed(call, lambda builder, x: composites.celu(builder, x, _alpha(call)))


def _selu(call: LayerCall) -> NodeId:
    return _composed(call, lambda builder, x: composites.selu(builder, x, SELU_ALPHA, SELU_GAMMA))


def _hard_sigmoid(call: LayerCall) -> NodeId:
    sixth, half = Fraction(1, 6), Fraction(1, 2)
    return _composed(call, lambda builder, x: composites.hard_sigmoid(builder, x, sixth, half))


def _alpha(call: LayerCall) -> float:
    alpha = call.number("alpha") if call.has("alpha") else Fraction(1)
    if float(alpha) <= 0:
        call.refuse("E0620", "`alpha` must be positive", "alpha")
    return float(alpha)


# --- of a vector ---------------------------------------------------------------------------------


def _softmax(call: LayerCall) -> NodeId:
    _expect_vector(call)
    return _composed(call, lambda builder, x: composites.softmax(builder, x, 1))


def _log_softmax(call: LayerCall) -> NodeId:
    _expect_vector(call)
    return _composed(call, lambda builder, x: composites.log_softmax(builder, x, 1))


def _expect_vector(call: LayerCall) -> None:
    if len(call.shape) != 2:
        text = f"`{call.kind}` takes a vector, not {list(call.shape[1:])}"
        call.refuse("E0621", text, help="put `layer flatten` before it")


# --- windows -------------------------------------------------------------------------------------


def _max_pool(call: LayerCall) -> NodeId:
    window = window_of(call)
    return _composed(call, lambda builder, x: composites.max_pool(builder, x, window))


def window_of(call: LayerCall) -> Window:
    """The `kernel`, `stride` and `padding` of a pooling. Raises SpecError E0620, E0621."""
    rank = len(call.shape) - 2
    if rank < 1:
        text = f"`{call.kind}` takes channels and axes, not {list(call.shape[1:])}"
        call.refuse("E0621", text)
    if not call.has("kernel"):
        call.refuse("E0620", f"`{call.kind}` needs its `kernel`", help=f"`{call.kind}(2)`")
    kernel = call.integers("kernel", rank, 1)
    strides = call.integers("stride", rank, 1) if call.has("stride") else kernel
    padding = call.integers("padding", rank, 0)
    if min(kernel) < 1 or min(strides) < 1:
        call.refuse("E0620", "`kernel` and `stride` are at least 1")
    return Window(kernel, strides, tuple((p, p) for p in padding), (1,) * rank)


# --- statistics of the value itself --------------------------------------------------------------


def _layer_norm(call: LayerCall) -> NodeId:
    shape = call.shape[1:]
    scale, bias = (_parameter(call, name, shape) for name in ("gamma", "beta"))
    return _composed(
        call, lambda builder, x: composites.layer_norm(builder, x, 1, _epsilon(call), scale, bias)
    )


def _instance_norm(call: LayerCall) -> NodeId:
    _expect_channels(call)
    channels = call.shape[1:2]
    scale, bias = (_parameter(call, name, channels) for name in ("gamma", "beta"))
    return _composed(
        call, lambda builder, x: composites.instance_norm(builder, x, _epsilon(call), scale, bias)
    )


def _group_norm(call: LayerCall) -> NodeId:
    _expect_channels(call)
    if not call.has("groups"):
        call.refuse("E0620", "`group_norm` needs its `groups`", help="`group_norm(2)`")
    (groups,) = call.integers("groups", 1, 1)
    channels = call.shape[1:2]
    scale, bias = (_parameter(call, name, channels) for name in ("gamma", "beta"))
    return _composed(
        call,
        lambda builder, x: composites.group_norm(builder, x, groups, _epsilon(call), scale, bias),
    )


def _expect_channels(call: LayerCall) -> None:
    if len(call.shape) < 3:
        text = f"`{call.kind}` takes channels and axes, not {list(call.shape[1:])}"
        call.refuse("E0621", text)


def _parameter(call: LayerCall, name: str, shape: ops.Shape) -> ops.Array | None:
    """One number for each entry of `shape`, or one number for all; None where it is not given."""
    if not call.has(name):
        return None
    value = call.tensor(name)
    size = prod(shape)
    if value.size not in {1, size}:
        call.refuse("E0621", f"`{name}` has {value.size} entries, the value {size}", name)
    if value.size == 1:
        value = value.reshape(-1).repeat(size)
    return compact(value.reshape(shape))


def _epsilon(call: LayerCall) -> float:
    epsilon = float(call.number("epsilon") if call.has("epsilon") else EPSILON)
    if epsilon <= 0:
        call.refuse("E0620", "`epsilon` must be positive", "epsilon")
    return epsilon


# --- what they share -----------------------------------------------------------------------------


def _composed(call: LayerCall, build: Callable[[Builder, NodeId], NodeId]) -> NodeId:
    """The nodes that `build` adds. A layer with a name ends in a node of that name."""
    try:
        node = build(call.builder, call.operand)
    except ops.ShapeMismatch as error:
        call.refuse("E0621", f"layer `{call.kind}`: {error}")
    if call.name is None:
        return node
    return call.result(ops.Reshape(call.builder.shape(node)), node)


COMPOSITES: Mapping[str, LayerBuilder] = MappingProxyType(
    {
        "sigmoid": _one(ops.Sigmoid()),
        "tanh": _one(ops.Tanh()),
        "softplus": _one(ops.Softplus()),
        "softsign": _one(ops.Softsign()),
        "gelu": _one(ops.Gelu()),
        "gelu_tanh": _one(ops.GeluTanh()),
        "silu": _one(ops.Silu()),
        "mish": _one(ops.Mish()),
        "hardswish": _one(ops.HardSwish()),
        "elu": _elu,
        "celu": _celu,
        "selu": _selu,
        "hardsigmoid": _hard_sigmoid,
        "softmax": _softmax,
        "log_softmax": _log_softmax,
        "max_pool": _max_pool,
        "maxpool": _max_pool,
        "layer_norm": _layer_norm,
        "instance_norm": _instance_norm,
        "group_norm": _group_norm,
    }
)
"""The layers of this module, by their names."""

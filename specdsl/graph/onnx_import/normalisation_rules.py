"""Rules of the ONNX import for normalisations, by constants or by the value's own statistics."""

from __future__ import annotations

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.onnx_import.arithmetic_rules import common_shape
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

EPSILON = float(np.float32(1e-5))


def batch_norm(call: NodeCall) -> tuple[Value, ...]:
    """By constant statistics, as in inference."""
    if call.integer("training_mode", 0) or len([r for r in call.node.results if r]) > 1:
        call.refuse("training mode is not supported")
    if call.integer("spatial", 1) != 1:
        call.refuse("`spatial = 0` is not supported")
    x = call.computed(0)
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (call.weight(i, n) for i, n in enumerate(names, start=1))
    epsilon = call.number("epsilon", EPSILON)
    if any(p.shape != gamma.shape or p.ndim != 1 for p in (gamma, beta, mean, variance)):
        call.refuse("its parameters have different shapes", code="E0609")
    if (variance.astype(np.float64) + epsilon <= 0).any():
        call.refuse("the variance plus epsilon is not positive")
    return (call.add(ops.BatchNorm(gamma, beta, mean, variance, epsilon), x),)


def _epsilon(call: NodeCall) -> float:
    epsilon = call.number("epsilon", EPSILON)
    if epsilon < 0:
        call.refuse(f"epsilon is {epsilon}", code="E0601")
    return epsilon


def layer_norm(call: NodeCall) -> tuple[Value, ...]:
    """Over all axes from one on; the statistics themselves are no results."""
    if any(call.node.results[1:]):
        call.refuse("its statistics as results are not supported")
    x = call.computed(0)
    axis = call.axis(call.integer("axis", -1), len(x.shape))
    scale, bias = call.weight(1, "scale"), call.optional_weight(2, "bias")
    for parameter in (scale, bias):
        if parameter is not None and common_shape(call, x, parameter) != x.shape:
            call.refuse(f"a parameter of shape {parameter.shape} for {x.shape}", code="E0609")
    return (
        call.composed(
            composites.layer_norm, x, axis=axis, epsilon=_epsilon(call), scale=scale, bias=bias
        ),
    )


def instance_norm(call: NodeCall) -> tuple[Value, ...]:
    """Every channel of every sample by itself."""
    x = call.computed(0)
    if len(x.shape) < 3:
        call.refuse(f"a value of shape {x.shape} has no spatial axes", code="E0609")
    scale, bias = _per_channel(call, x.shape[1])
    return (
        call.composed(composites.instance_norm, x, epsilon=_epsilon(call), scale=scale, bias=bias),
    )


def group_norm(call: NodeCall) -> tuple[Value, ...]:
    """Groups of channels. (The checker refuses the older form, of one scale for each group.)"""
    x = call.computed(0)
    groups = call.integer("num_groups", 0)
    channels = x.shape[1] if len(x.shape) > 1 else 0
    if groups < 1 or channels % groups:
        call.refuse(f"{groups} groups of {channels} channels", code="E0609")
    scale, bias = _per_channel(call, channels)
    return (
        call.composed(
            composites.group_norm,
            x,
            groups=groups,
            epsilon=_epsilon(call),
            scale=scale,
            bias=bias,
        ),
    )


def _per_channel(call: NodeCall, count: int) -> tuple[Tensor, ...]:
    scale, bias = call.weight(1, "scale"), call.weight(2, "bias")
    if scale.shape != (count,) or bias.shape != (count,):
        call.refuse(f"scale {scale.shape} and bias {bias.shape} of {count} channels", code="E0609")
    return scale, bias


def lp_normalisation(call: NodeCall) -> tuple[Value, ...]:
    """Divided by its norm of order 1 or 2."""
    x = call.computed(0)
    axis, order = call.axis(call.integer("axis", -1), len(x.shape)), call.integer("p", 2)
    if order not in {1, 2}:
        call.refuse(f"the norm of order {order}")
    return (call.composed(composites.lp_normalised, x, axis=axis, p=order),)


def local_response(call: NodeCall) -> tuple[Value, ...]:
    """`x / (bias + alpha / size * sum of squares of neighbouring channels) ** beta`.

    Krizhevsky, Sutskever and Hinton 2012.
    """
    x = call.computed(0)
    size = call.integer("size", 0)
    if len(x.shape) < 3 or size < 1:
        call.refuse(f"size {size} of a value of shape {x.shape}", code="E0601")
    alpha, beta = call.number("alpha", float(np.float32(1e-4))), call.number("beta", 0.75)
    bias = call.number("bias", 1.0)
    channels = x.shape[1]
    call.guard_size((channels, channels))
    offsets = np.arange(channels)[np.newaxis] - np.arange(channels)[:, np.newaxis]
    band = (offsets >= -((size - 1) // 2)) & (offsets <= size // 2)
    squares = call.add(ops.Square(), x)
    total = call.composed(composites.along_axis, squares, axis=1, weight=band.astype(np.float32))
    share = composites.share(size)
    scaled = call.composed(
        composites.affine, call.composed(composites.affine, total, scale=share), scale=alpha
    )
    shifted = call.composed(composites.affine, scaled, shift=bias)
    inverse = call.composed(composites.power, shifted, exponent=-beta)
    return (call.composed(composites.multiply, x, inverse),)

"""Rules of the ONNX import for functions of one number: activations, curves, roundings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.arithmetic_rules import common_shape
from specdsl.graph.onnx_import.call import NodeCall, Value

Rule = Callable[[NodeCall], tuple[Value, ...]]

# Exporters write the ends of float32 for "no bound" (they are the defaults before opset 11).
FLOAT32_MAX = float(np.finfo(np.float32).max)
# Defaults of attributes that are no float32 numbers, rounded to float32 as a file would hold them.
SELU_ALPHA = float(np.float32(1.67326319217681884765625))
SELU_GAMMA = float(np.float32(1.05070102214813232421875))


def elementwise(op: ops.Op) -> Rule:
    """The rule of an ONNX op without attributes that is one op of the graph."""

    def rule(call: NodeCall) -> tuple[Value, ...]:
        return (call.add(op, call.computed(0)),)

    return rule


def stepwise(op: ops.Step) -> Rule:
    """The same for a step function, which of constants is exact."""

    def rule(call: NodeCall) -> tuple[Value, ...]:
        x = call.operand(0)
        if isinstance(x, Computed):
            return (call.add(op, x),)
        return (x if x.dtype.kind in "iu" and isinstance(op, ops.Rounding) else _step(op, x),)

    return rule


def _step(op: ops.Step, x: constants.Tensor) -> constants.Tensor:
    return constants.stepped(op, x).astype(x.dtype)


# --- piecewise linear ----------------------------------------------------------------------------


def leaky_relu(call: NodeCall) -> tuple[Value, ...]:
    """With any slope."""
    slope = call.number("alpha", float(np.float32(0.01)))
    return (call.composed(composites.leaky_relu, call.computed(0), slope=slope),)


def prelu(call: NodeCall) -> tuple[Value, ...]:
    """Slopes broadcast to the value, as numpy does."""
    x, slope = call.computed(0), call.weight(1, "slope")
    if common_shape(call, x, slope) != x.shape:
        call.refuse(f"slopes of shape {slope.shape} for a value of shape {x.shape}", code="E0609")
    return (call.composed(composites.prelu, x, slope=slope),)


def hard_sigmoid(call: NodeCall) -> tuple[Value, ...]:
    """`min(max(alpha x + beta, 0), 1)`."""
    alpha, beta = call.number("alpha", float(np.float32(0.2))), call.number("beta", 0.5)
    return (call.composed(composites.hard_sigmoid, call.computed(0), alpha=alpha, beta=beta),)


def absolute(call: NodeCall) -> tuple[Value, ...]:
    """`|x|`."""
    x = call.operand(0)
    return (call.add(ops.Abs(), x) if isinstance(x, Computed) else np.abs(x),)


def relu(call: NodeCall) -> tuple[Value, ...]:
    """`max(x, 0)`."""
    x = call.operand(0)
    return (call.add(ops.Relu(), x) if isinstance(x, Computed) else np.maximum(x, 0),)


def clip(call: NodeCall) -> tuple[Value, ...]:
    """A bound at the end of float32 is no bound; where they cross, the upper one holds."""
    x = call.operand(0)
    lower, upper = _bound(call, 1, "min"), _bound(call, 2, "max")
    if isinstance(x, Computed):
        return (call.composed(composites.clip, x, lower=lower, upper=upper),)
    raised = x if lower is None else np.maximum(x, x.dtype.type(lower))
    return (raised if upper is None else np.minimum(raised, x.dtype.type(upper)),)


def _bound(call: NodeCall, index: int, name: str) -> float | None:
    if call.opset < 11:
        value = call.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, float) or np.isnan(value):
            call.refuse(f"attribute `{name}` is not a number", code="E0601")
        return _finite(name, value)
    if call.optional(index) is None:
        return None
    bound = call.weight(index, f"bound `{name}`")
    if bound.size != 1:
        call.refuse(f"bound `{name}` has shape {bound.shape}")
    return _finite(name, float(bound.reshape(-1)[0]))


def _finite(name: str, bound: float) -> float | None:
    """None for the end of float32 that a bound cannot be beyond."""
    outermost = bound <= -FLOAT32_MAX if name == "min" else bound >= FLOAT32_MAX
    return None if outermost else bound


# --- curves --------------------------------------------------------------------------------------


def elu(call: NodeCall) -> tuple[Value, ...]:
    """With any alpha."""
    alpha = call.number("alpha", 1.0)
    return (call.composed(composites.elu, call.computed(0), alpha=alpha),)


def selu(call: NodeCall) -> tuple[Value, ...]:
    """`gamma * elu(x)`."""
    alpha, gamma = call.number("alpha", SELU_ALPHA), call.number("gamma", SELU_GAMMA)
    return (call.composed(composites.selu, call.computed(0), alpha=alpha, gamma=gamma),)


def celu(call: NodeCall) -> tuple[Value, ...]:
    """An alpha that is not positive makes no sense."""
    alpha = call.number("alpha", 1.0)
    if alpha <= 0:
        call.refuse(f"alpha is {alpha}, not positive")
    return (call.composed(composites.celu, call.computed(0), alpha=alpha),)


def thresholded_relu(call: NodeCall) -> tuple[Value, ...]:
    """It jumps at alpha, unless that is 0."""
    alpha = call.number("alpha", 1.0)
    if alpha == 0:
        return relu(call)
    return (call.composed(composites.thresholded_relu, call.computed(0), alpha=alpha),)


def gelu(call: NodeCall) -> tuple[Value, ...]:
    """By the error function, or approximated by a hyperbolic tangent."""
    mode = call.text("approximate", "none")
    if mode not in {"none", "tanh"}:
        call.refuse(f"approximation `{mode}`", code="E0601")
    return (call.add(ops.Gelu() if mode == "none" else ops.GeluTanh(), call.computed(0)),)


def swish(call: NodeCall) -> tuple[Value, ...]:
    """`x sigmoid(alpha x)`."""
    alpha = call.number("alpha", 1.0)
    return (call.composed(composites.swish, call.computed(0), alpha=alpha),)


# --- softmax -------------------------------------------------------------------------------------


def softmax(call: NodeCall) -> tuple[Value, ...]:
    """Shares of exponentials."""
    return (_over_axis(call, composites.softmax),)


def log_softmax(call: NodeCall) -> tuple[Value, ...]:
    """Their logarithms."""
    return (_over_axis(call, composites.log_softmax),)


def _over_axis(call: NodeCall, build: Callable[..., str]) -> Computed:
    """Along one axis; before opset 13 along all axes from it on, flattened into one."""
    x = call.computed(0)
    axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), len(x.shape))
    if call.opset >= 13:
        return call.composed(build, x, axis=axis)
    rows = call.reshape(x, (*x.shape[:axis], int(np.prod(x.shape[axis:]))))
    return call.reshape(call.composed(build, rows, axis=axis), x.shape)

"""Inline networks: `layer` lines with explicit weights, as a graph and as ONNX for replay.

The graph is exact: a bias of 1/3 is a third. The ONNX form rounds to float32 (see `to_onnx`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import Diagnostics, SpecError, suggestion
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.to_onnx import OPSET, export
from specdsl.language import syntax
from specdsl.language.schemas import LAYERS, Schema
from specdsl.language.spec import Value
from specdsl.source import Span

Evaluate = Callable[[syntax.Expr], Value]
"""The value of a constant expression; raises SpecError where it is none."""

ExactArray = npt.NDArray[np.object_]

# Replay is in float32: larger constants have no replay.
LARGEST = Fraction(float(np.finfo(np.float32).max))


def build_network(
    name: str,
    layers: Sequence[syntax.Layer | syntax.Skip | syntax.Setting],
    input_shape: ops.Shape,
    evaluate: Evaluate,
) -> ImportedNetwork:
    """The network that `layers` describe on an input of `input_shape` (without a batch axis).

    The graph's input has the shape `(1, *input_shape)`; layer names become node ids. Raises
    SpecError, placed at the layers: E0620 unknown layer or arguments, E0621 shapes that do not
    fit, E0622 weights missing, E0901 `skip`, `init` and other settings.
    """
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, *input_shape)), name="input")
    found = Diagnostics()
    for layer in layers:
        try:
            node = _add(builder, node, layer, evaluate)
        except SpecError as error:
            found.extend(error.at(layer.span))
            break
    found.raise_errors()
    graph = builder.build(node)
    return ImportedNetwork(name, graph, export(graph, name), OPSET)


@dataclass(frozen=True, slots=True)
class _LayerCall:
    """One layer with its arguments by parameter name, still as syntax."""

    kind: str
    name: str | None
    span: Span
    arguments: Mapping[str, syntax.Expr]
    evaluate: Evaluate
    builder: GraphBuilder
    operand: NodeId

    @property
    def shape(self) -> ops.Shape:
        """What arrives, batch axis included."""
        return self.builder.shape(self.operand)

    def add(self, op: ops.Op, *operands: NodeId) -> NodeId:
        """A node that serves the layer, on the layer's operand by default."""
        try:
            return self.builder.add(op, *(operands or (self.operand,)), name=self.kind)
        except ops.ShapeMismatch as error:
            self.refuse("E0621", f"layer `{self.kind}`: {error}")

    def result(self, op: ops.Op, *operands: NodeId) -> NodeId:
        """The last node of the layer, which has the layer's name."""
        try:
            name = self.name or self.kind
            return self.builder.add(op, *(operands or (self.operand,)), name=name)
        except ops.ShapeMismatch as error:
            self.refuse("E0621", f"layer `{self.kind}`: {error}")

    def refuse(
        self, code: str, text: str, at: str | None = None, help: str | None = None
    ) -> NoReturn:
        """Raise a diagnostic at the layer, or at its argument `at`."""
        argument = self.arguments.get(at) if at else None
        raise SpecError.of(code, text, argument.span if argument else self.span, help=help)

    def has(self, name: str) -> bool:
        """Whether the argument was given."""
        return name in self.arguments

    def tensor(self, name: str) -> ExactArray:
        """An argument as an exact tensor (a number is one without axes)."""
        value = self.evaluate(self.arguments[name])
        if isinstance(value, bool | str | tuple):
            self.refuse("E0620", f"`{name}` of `{self.kind}` must hold numbers", name)
        result = value if isinstance(value, np.ndarray) else _array(value)
        if any(abs(v) > LARGEST for v in result.reshape(-1)):
            self.refuse("E0620", f"`{name}` of `{self.kind}` holds numbers beyond float32", name)
        return result

    def number(self, name: str) -> Fraction:
        """An argument as one exact number."""
        value = self.tensor(name)
        if value.size != 1:
            self.refuse("E0620", f"`{name}` of `{self.kind}` must be one number", name)
        return Fraction(value.reshape(-1)[0])

    def integers(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """An argument as `count` integers >= 0; one number stands for all of them."""
        if not self.has(name):
            return (default,) * count
        values = [Fraction(v) for v in self.tensor(name).reshape(-1)]
        values = values * count if len(values) == 1 else values
        if len(values) != count or any(v.denominator != 1 or v < 0 for v in values):
            text = f"`{name}` of `{self.kind}` must be one or {count} whole numbers"
            self.refuse("E0620", text, name)
        return tuple(int(v) for v in values)


def _add(
    builder: GraphBuilder,
    node: NodeId,
    layer: syntax.Layer | syntax.Skip | syntax.Setting,
    evaluate: Evaluate,
) -> NodeId:
    if isinstance(layer, syntax.Skip):
        raise SpecError.of("E0901", "`skip` connections are not supported yet", layer.span)
    if isinstance(layer, syntax.Setting):
        text = f"the setting `{layer.name}` of a network needs training, not supported yet"
        raise SpecError.of("E0901", text, layer.span)
    call = _call(builder, node, layer, evaluate)
    return _BUILDERS[call.kind](call)


def _call(
    builder: GraphBuilder, node: NodeId, layer: syntax.Layer, evaluate: Evaluate
) -> _LayerCall:
    value = layer.value
    function = value.function if isinstance(value, syntax.Call) else value
    if not isinstance(function, syntax.Name):
        raise SpecError.of("E0620", "a layer is a name or a call like `dense(...)`", value.span)
    kind = function.name
    if kind not in _BUILDERS:
        known = ", ".join(f"`{k}`" for k in _BUILDERS)
        help_ = suggestion(kind, _BUILDERS) or f"layers are {known}"
        raise SpecError.of("E0620", f"no layer is called `{kind}`", function.span, help=help_)
    arguments: dict[str, syntax.Expr] = {}
    given = value.arguments if isinstance(value, syntax.Call) else ()
    for position, argument in enumerate(given):
        name, expression = _argument(LAYERS.schemas[kind], position, argument)
        if name in arguments:
            raise SpecError.of("E0620", f"`{name}` is given twice", argument.span)
        arguments[name] = expression
    return _LayerCall(
        kind=kind,
        name=layer.name,
        span=layer.span,
        arguments=MappingProxyType(arguments),
        evaluate=evaluate,
        builder=builder,
        operand=node,
    )


def _argument(
    schema: Schema,
    position: int,
    argument: syntax.Expr | syntax.NamedArgument | syntax.Comprehension,
) -> tuple[str, syntax.Expr]:
    if isinstance(argument, syntax.NamedArgument):
        if schema.option(argument.name) is None:
            known = [o.name for o in schema.options]
            listed = ", ".join(f"`{name}`" for name in known) or "none"
            help_ = suggestion(argument.name, known) or f"its arguments: {listed}"
            text = f"layer `{schema.name}` takes no `{argument.name}`"
            raise SpecError.of("E0620", text, argument.span, help=help_)
        return argument.name, argument.value
    if isinstance(argument, syntax.Comprehension):
        raise SpecError.of("E0620", f"layer `{schema.name}` takes no `for`", argument.span)
    if position >= schema.positional:
        text = f"layer `{schema.name}` takes {schema.positional} arguments by position"
        raise SpecError.of("E0620", text, argument.span)
    return schema.options[position].name, argument


# --- the layers ----------------------------------------------------------------------------------


def _dense(call: _LayerCall) -> NodeId:
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
    return call.result(ops.Dense(_compact(weight), _compact(bias)))


def _conv(call: _LayerCall) -> NodeId:
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
    op = ops.Conv(_compact(weight), _compact(bias), strides, pads, (1,) * rank)
    return call.result(op)


def _weight(call: _LayerCall) -> ExactArray:
    if not call.has("weight"):
        text = f"layer `{call.kind}` has no `weight`: training it is not supported yet"
        help_ = "give `weight = [[...]]` and `bias = [...]`, or load the network with `onnx(...)`"
        call.refuse("E0622", text, help=help_)
    return call.tensor("weight")


def _bias(call: _LayerCall, size: int) -> ExactArray:
    if not call.has("bias"):
        return _array(*([Fraction(0)] * size)).reshape(size)
    bias = call.tensor("bias").reshape(-1)
    if bias.size != size:
        call.refuse("E0621", f"the bias has {bias.size} entries, the weight {size} rows", "bias")
    return bias


def _normalize(call: _LayerCall) -> NodeId:
    """`(x - mean) / std`, one number or one for each entry of the first axis."""
    mean = call.tensor("mean") if call.has("mean") else _array(Fraction(0)).reshape(())
    std = call.tensor("std") if call.has("std") else _array(Fraction(1)).reshape(())
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
    return call.result(ops.Scale(_compact(scale), _compact(shift)))


def _relu(call: _LayerCall) -> NodeId:
    return call.result(ops.Relu())


def _leaky_relu(call: _LayerCall) -> NodeId:
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


def _clip(call: _LayerCall) -> NodeId:
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


def _flatten(call: _LayerCall) -> NodeId:
    return call.result(ops.Reshape((1, prod(call.shape))))


_BUILDERS: Mapping[str, Callable[[_LayerCall], NodeId]] = MappingProxyType(
    {
        "clip": _clip,
        "conv": _conv,
        "dense": _dense,
        "flatten": _flatten,
        "leaky_relu": _leaky_relu,
        "normalize": _normalize,
        "relu": _relu,
    }
)


def _scale(factor: Fraction, shift: Fraction) -> ops.Scale:
    return ops.Scale(_compact(_array(factor)), _compact(_array(shift)))


def _array(*values: Fraction) -> ExactArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result.reshape(()) if len(values) == 1 else result


def _compact(values: ExactArray) -> ops.Array:
    """Floats where they hold the values exactly, so that nothing works on fractions in vain."""
    rounded = values.astype(np.float64)
    same = all(Fraction(r) == v for r, v in zip(rounded.flat, values.flat, strict=True))
    return rounded if same else values

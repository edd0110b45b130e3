"""Inline networks: `layer` lines with explicit weights, as a graph and as ONNX for replay.

The graph is exact: a bias of 1/3 is a third. The ONNX form rounds to float32 (see `to_onnx`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from specdsl.diagnostics import Diagnostics, SpecError, suggestion
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.layer_builders import BUILDERS
from specdsl.graph.layer_call import Evaluate, LayerCall
from specdsl.graph.layer_weights import Unweighted, WeightSource, expected_shape
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.to_onnx import export, opset_of
from specdsl.language import syntax
from specdsl.language.layer_schemas import LAYERS, SKIPS
from specdsl.language.schemas import Schema

INPUT = "input"
"""What a skip connection calls the input of the network."""

Arguments = Sequence[syntax.Expr | syntax.NamedArgument | syntax.Comprehension]


def build_network(
    name: str,
    layers: Sequence[syntax.Layer | syntax.Skip | syntax.Setting],
    input_shape: ops.Shape,
    evaluate: Evaluate,
    weights: WeightSource | None = None,
) -> ImportedNetwork:
    """The network that `layers` describe on an input of `input_shape` (without a batch axis).

    The graph's input has the shape `(1, *input_shape)`; layer names become node ids. Settings say
    how weights come about, and change nothing where they are given; what is not given comes from
    `weights`, if there are any. Raises SpecError, placed at
    the layers: E0620 unknown layer or arguments, E0621 shapes that do not fit, E0622 weights
    missing.
    """
    graph = lay_out(layers, input_shape, evaluate, weights).graph
    values = {n: n for n, op, _ in graph if not isinstance(op, ops.Input)}
    return ImportedNetwork(name, graph, export(graph, name), opset_of(graph), values, graph.outputs)


@dataclass(frozen=True, slots=True, eq=False)
class LaidLayer:
    """A layer in its place: `call.operand` is what arrives, `node` what it gives. `source`: what
    its tensors in a file are called after.
    """

    call: LayerCall
    node: NodeId
    source: str


@dataclass(frozen=True, slots=True)
class LaidSkip:
    """A sum of two values."""

    left: NodeId
    right: NodeId
    node: NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The graph of some layers, and what each of them adds to it, in order."""

    graph: Graph
    steps: tuple[LaidLayer | LaidSkip, ...]


def lay_out(
    layers: Sequence[syntax.Layer | syntax.Skip | syntax.Setting],
    input_shape: ops.Shape,
    evaluate: Evaluate,
    weights: WeightSource | None = None,
) -> Layout:
    """What `build_network` builds, layer by layer. Raises as it does."""
    builder = GraphBuilder()
    start = builder.add(ops.Input((1, *input_shape)), name=INPUT)
    line = _Line(builder, start, evaluate, {INPUT: start}, weights)
    found = Diagnostics()
    for layer in layers:
        try:
            line.add(layer)
        except SpecError as error:
            found.extend(error.at(layer.span))
            break
    found.raise_errors()
    return Layout(builder.build(line.node), tuple(line.steps))


@dataclass(slots=True)
class _Line:
    """The layers so far. `node`: what the last one gives; `named`: what skips can start from."""

    builder: GraphBuilder
    node: NodeId
    evaluate: Evaluate
    named: dict[str, NodeId] = field(default_factory=dict[str, NodeId])
    weights: WeightSource | None = None
    count: int = 0
    skips: int = 0
    steps: list[LaidLayer | LaidSkip] = field(default_factory=list[LaidLayer | LaidSkip])

    def add(self, layer: syntax.Layer | syntax.Skip | syntax.Setting) -> None:
        """One more line of the block."""
        match layer:
            case syntax.Layer():
                source = layer.name or str(self.count)
                self.node = self._layer(layer.value, layer.name, self.node, source)
                self.count += 1
                if layer.name is not None:
                    self.named[layer.name] = self.node
            case syntax.Skip():
                self.node = self._skip(layer)
            case syntax.Setting():
                pass

    def _layer(self, value: syntax.Expr, name: str | None, operand: NodeId, source: str) -> NodeId:
        """`source`: what its tensors in a file are called after."""
        call = _call(self.builder, operand, value, name, self.evaluate)
        if self.weights is not None:
            given, expected = frozenset(call.arguments), _expected(call)
            layer = Unweighted(call.kind, source, given, call.shape, expected, call.span)
            call = replace(call, weights=self.weights.of(layer))
            _check_weight(call, source, expected)
        node = BUILDERS[call.kind](call)
        self.steps.append(LaidLayer(call, node, source))
        return node

    def _skip(self, layer: syntax.Skip) -> NodeId:
        """`add(from = c1, by = layer)`: the sum of the last value and what comes from `c1`."""
        value = layer.value
        if not isinstance(value, syntax.Call) or not isinstance(value.function, syntax.Name):
            raise _unknown_skip(value)
        schema = SKIPS.schemas.get(value.function.name)
        if schema is None:
            raise _unknown_skip(value.function)
        ends = _named(schema, value.arguments)
        start = ends.get("from")
        if not isinstance(start, syntax.Name) or start.name not in self.named:
            names = ", ".join(f"`{name}`" for name in self.named)
            place = start.span if start is not None else value.span
            text = "a skip starts at a layer above that has a name"
            raise SpecError.of("E0620", text, place, help=f"named layers: {names}")
        arrived = self.named[start.name]
        by = ends.get("by")
        if by is not None:
            arrived = self._layer(by, None, arrived, f"skip{self.skips}")
        self.skips += 1
        try:
            node = self.builder.add(ops.Sum((1.0, 1.0)), self.node, arrived, name=schema.name)
        except ops.ShapeMismatch as error:
            text = f"skip `{schema.name}`: {error}"
            raise SpecError.of("E0621", text, value.span) from error
        self.steps.append(LaidSkip(self.node, arrived, node))
        return node


def _expected(call: LayerCall) -> ops.Shape | None:
    """The shape of a weight that the layer's size asks for."""

    def integers(name: str) -> tuple[int, ...] | None:
        if not call.has(name):
            return None
        return tuple(int(v) for v in call.tensor(name).reshape(-1))

    return expected_shape(call.kind, call.shape, integers)


def _check_weight(call: LayerCall, source: str, expected: ops.Shape | None) -> None:
    """Refuse (E0621) a weight from a file that is not as large as the layer says."""
    if "weight" not in call.weights:
        return
    found = call.weights["weight"].shape
    if expected is not None and found != expected:
        text = f"the tensor `{source}.weight` is {list(found)}, the layer takes {list(expected)}"
        call.refuse("E0621", text)


def _unknown_skip(place: syntax.Expr) -> SpecError:
    help = "write `skip add(from = c1)`, with the name of a layer above"
    return SpecError.of("E0620", "a skip is `add(...)`", place.span, help=help)


def _call(
    builder: GraphBuilder,
    operand: NodeId,
    value: syntax.Expr,
    name: str | None,
    evaluate: Evaluate,
) -> LayerCall:
    function = value.function if isinstance(value, syntax.Call) else value
    if not isinstance(function, syntax.Name):
        raise SpecError.of("E0620", "a layer is a name or a call like `dense(...)`", value.span)
    kind = function.name
    if kind not in BUILDERS:
        known = ", ".join(f"`{k}`" for k in BUILDERS)
        help_ = suggestion(kind, BUILDERS) or f"layers are {known}"
        raise SpecError.of("E0620", f"no layer is called `{kind}`", function.span, help=help_)
    given = value.arguments if isinstance(value, syntax.Call) else ()
    return LayerCall(
        kind=kind,
        name=name,
        span=value.span,
        arguments=MappingProxyType(_named(LAYERS.schemas[kind], given)),
        evaluate=evaluate,
        builder=builder,
        operand=operand,
    )


def _named(schema: Schema, given: Arguments) -> dict[str, syntax.Expr]:
    """The arguments by the names of their options."""
    arguments: dict[str, syntax.Expr] = {}
    for position, argument in enumerate(given):
        name, expression = _argument(schema, position, argument)
        if name in arguments:
            raise SpecError.of("E0620", f"`{name}` is given twice", argument.span)
        arguments[name] = expression
    return arguments


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

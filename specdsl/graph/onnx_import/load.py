"""`load_onnx`: the bytes of an ONNX file as a graph that provably computes the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import NoReturn

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.call import Computed, NodeCall, Value
from specdsl.graph.onnx_import.differential import compare_with_runtime
from specdsl.graph.onnx_import.read import OnnxModel, OnnxNode, read
from specdsl.graph.onnx_import.rules import RULES


@dataclass(frozen=True, slots=True, eq=False)
class ImportedNetwork:
    """A network with one input and one output, and the ONNX bytes that replay it.

    `graph` has the shapes of the model, its batch axis (bound to 1) included; node ids are the
    names of the ONNX values. `model` is the file as it was read.
    """

    name: str
    graph: Graph
    model: bytes = field(repr=False)
    opset: int

    @property
    def input_size(self) -> int:
        """Number of entries of the input."""
        return self.graph.size(self.graph.input)

    @property
    def output_size(self) -> int:
        """Number of entries of the output."""
        return self.graph.size(self.graph.output)


def load_onnx(content: bytes, name: str, *, check: bool = True) -> ImportedNetwork:
    """Import a model; with `check`, compare it with ONNX Runtime on random points.

    `name` is what diagnostics call the network. Raises SpecError (no span): E0600 to E0614.
    """
    model = read(content, name, RULES)
    graph = _Importer(model).build()
    if check:
        compare_with_runtime(graph, content, name)
    return ImportedNetwork(name, graph, content, model.opset)


class _Importer:
    """Applies the rules in order; `values` holds what every ONNX name stands for so far."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.builder = GraphBuilder()
        self.values: dict[str, Value] = dict(model.initializers)

    def build(self) -> Graph:
        model = self.model
        if model.input in self.values:
            self._refuse("E0601", f"`{model.input}` is an input and an initializer")
        node = self.builder.add(ops.Input(model.input_shape), name=model.input)
        self.values[model.input] = Computed(node, model.input_shape)
        for onnx_node in model.nodes:
            self._apply(onnx_node)
        return self.builder.build(self._output())

    def _apply(self, node: OnnxNode) -> None:
        operands = tuple(self.values[o] if o else None for o in node.operands)
        call = NodeCall(self.model.name, self.model.opset, node, operands, self.builder)
        try:
            results = RULES[node.op](call)
        except ops.ShapeMismatch as error:
            self._refuse("E0609", f"{node.title} (`{node.op}`): {error}")
        if any(node.results[len(results) :]):
            self._refuse("E0605", f"{node.title} (`{node.op}`) has {len(node.results)} results")
        # An unnamed result is one that nobody reads.
        for name, value in zip(node.results, results, strict=False):
            if name:
                self.values[name] = value

    def _output(self) -> str:
        name = self.model.output
        value = self.values[name]
        if not isinstance(value, Computed):
            value = Computed(self.builder.add(ops.Constant(value), name=name), value.shape)
        if not prod(value.shape):
            self._refuse("E0609", f"the output `{name}` has no entries")
        return value.node

    def _refuse(self, code: str, text: str) -> NoReturn:
        raise SpecError.of(code, f"network `{self.model.name}`: {text}")

"""`load_onnx`: the bytes of an ONNX file as a graph that provably computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.import_call import Computed
from specdsl.graph.onnx_import import partial_rules
from specdsl.graph.onnx_import.call import NodeCall
from specdsl.graph.onnx_import.differential import compare_with_runtime
from specdsl.graph.onnx_import.partial_values import AnyValue, Extents, Partial, PartialCall
from specdsl.graph.onnx_import.read import OnnxModel, OnnxNode, read
from specdsl.graph.onnx_import.rules import RULES
from specdsl.graph.runtime import Original


@dataclass(frozen=True, slots=True, eq=False)
class ImportedNetwork:
    """A network and what replays it: the ONNX bytes, or the `original` where there is another.

    `graph` has the shapes of the model, its batch axes (bound to 1) included, and its inputs and
    outputs in the model's order. `model` is the file as it was read, or the graph's export where it
    came from elsewhere. `value_nodes`: the node of every value that the model names and computes,
    hidden ones and outputs.
    """

    name: str
    graph: Graph
    model: bytes = field(repr=False)
    opset: int
    value_nodes: Mapping[str, NodeId] = field(default_factory=dict[str, NodeId])
    output_names: tuple[str, ...] = ()
    original: Original | None = None

    @property
    def inputs(self) -> tuple[NodeId, ...]:
        """Nodes of the inputs, in the model's order; each is called as in the model."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[NodeId, ...]:
        """Nodes of the outputs, in the model's order; one may stand for several outputs."""
        return self.graph.outputs

    @property
    def input_size(self) -> int:
        """Number of entries of the only input."""
        return self.graph.size(self.graph.input)

    @property
    def output_size(self) -> int:
        """Number of entries of the only output."""
        return self.graph.size(self.graph.output)


def load_onnx(content: bytes, name: str, *, check: bool = True) -> ImportedNetwork:
    """Import a model; with `check`, compare it with ONNX Runtime on random points.

    `name` is what diagnostics call the network. Raises SpecError (no span): E0600 to E0614.
    """
    model = read(content, name, RULES)
    importer = _Importer(model)
    graph = importer.build()
    if check:
        compare_with_runtime(graph, content, name)
    nodes = importer.value_nodes(graph)
    return ImportedNetwork(name, graph, content, model.opset, nodes, model.outputs)


class _Importer:
    """Applies the rules in order; `values` holds what every ONNX name stands for so far."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.builder = GraphBuilder()
        self.values: dict[str, AnyValue] = dict(model.initializers)

    def build(self) -> Graph:
        for entry in self.model.inputs:
            node = self.builder.add(ops.Input(entry.shape), name=entry.name)
            self.values[entry.name] = Computed(node, entry.shape, entry.element)
        for onnx_node in self.model.nodes:
            self._apply(onnx_node)
        return self.builder.build(*(self._output(name) for name in self.model.outputs))

    def value_nodes(self, graph: Graph) -> Mapping[str, NodeId]:
        """Every computed value that some output depends on, by its name in the model."""
        kept = set(graph.order)
        inputs = {entry.name for entry in self.model.inputs}
        found = {n: v.node for n, v in self.values.items() if isinstance(v, Computed)}
        return MappingProxyType(
            {n: node for n, node in found.items() if node in kept and n not in inputs}
        )

    def _apply(self, node: OnnxNode) -> None:
        operands = tuple(self.values[o] if o else None for o in node.operands)
        try:
            results = self._results(node, operands)
        except ops.ShapeMismatch as error:
            self._refuse("E0609", f"{node.title} (`{node.op}`): {error}")
        if any(node.results[len(results) :]):
            self._refuse("E0605", f"{node.title} (`{node.op}`) has {len(node.results)} results")
        # An unnamed result is one that nobody reads.
        for name, value in zip(node.results, results, strict=False):
            if name:
                self.values[name] = value

    def _results(
        self, node: OnnxNode, operands: tuple[AnyValue | None, ...]
    ) -> tuple[AnyValue, ...]:
        name, opset = self.model.name, self.model.opset
        if partial_rules.is_partial(node.op, operands):
            return partial_rules.apply(PartialCall(name, opset, node, operands, self.builder))
        fixed = tuple(o for o in operands if not isinstance(o, Partial | Extents))
        return RULES[node.op](NodeCall(name, opset, node, fixed, self.builder))

    def _output(self, name: str) -> NodeId:
        value = self.values[name]
        if isinstance(value, Partial | Extents):
            self._refuse("E0605", f"the shape of the output `{name}` depends on the input")
        if not isinstance(value, Computed):
            if value.dtype.kind in "iub":
                exact = value.astype(np.float64)
                if not np.array_equal(exact.astype(value.dtype), value):
                    self._refuse("E0605", f"the output `{name}` holds whole numbers beyond 2**53")
                value = exact
            value = Computed(self.builder.add(ops.Constant(value), name=name), value.shape)
            self.values[name] = value
        if not prod(value.shape):
            self._refuse("E0609", f"the output `{name}` has no entries")
        return value.node

    def _refuse(self, code: str, text: str) -> NoReturn:
        raise SpecError.of(code, f"network `{self.model.name}`: {text}")

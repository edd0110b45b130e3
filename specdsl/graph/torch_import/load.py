"""`load_module`: a PyTorch module as a graph that provably computes the same."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any, NoReturn

import torch

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.import_call import MAX_VALUE_ENTRIES, Computed
from specdsl.graph.onnx_import.differential import compare
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.to_onnx import export, opset_of
from specdsl.graph.torch_import.call import AtenCall, Result, placed
from specdsl.graph.torch_import.replay import TorchOriginal
from specdsl.graph.torch_import.rules import RULES
from specdsl.graph.torch_import.trace import CHECKS, Traced, op_name, trace


def load_module(
    module: object, shapes: Sequence[ops.Shape], name: str, *, check: bool = True
) -> ImportedNetwork:
    """Import a `torch.nn.Module` that takes float32 tensors of these shapes, batch axis included.

    With `check`, the graph is compared with the module on random points. `name` is what diagnostics
    call the network. Counterexamples are replayed by the module itself; `model` holds the graph's
    export. Raises SpecError (no span): E0602, E0604 to E0607, E0609 to E0613, E0615, E0630,
    E0652 where it is no module.
    """
    if not isinstance(module, torch.nn.Module):
        text = f"what was handed over for `{name}` is a `{type(module).__name__}`"
        raise SpecError.of("E0652", text, help="hand over a `torch.nn.Module`")
    traced = trace(module, shapes, name)
    importer = _Importer(traced)
    graph = importer.build(shapes)
    original = TorchOriginal(traced)
    if check:
        compare(graph, original.runner())
    values = importer.value_nodes(graph)
    model = export(graph, name)
    return ImportedNetwork(name, graph, model, opset_of(graph), values, graph.outputs, original)


class _Importer:
    """Applies the rules in order; `values` holds what every value of the module stands for."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.builder = GraphBuilder()
        self.values: dict[str, Result] = dict(traced.constants)

    def build(self, shapes: Sequence[ops.Shape]) -> Graph:
        """The graph of everything the outputs depend on. Nodes are called as the traced ops are."""
        for name, shape in zip(self.traced.inputs, shapes, strict=True):
            node = self.builder.add(ops.Input(shape), name=name)
            self.values[name] = Computed(node, shape)
        outputs: list[NodeId] = []
        for node in self.traced.graph.graph.nodes:
            if node.op == "call_function":
                self.values[node.name] = self._value(node)
            elif node.op == "output":
                outputs = [self._output(n) for n in node.args[0]]
        return self._named(self.builder.build(*outputs))

    def value_nodes(self, graph: Graph) -> Mapping[str, NodeId]:
        """The values of the module that are nodes under their own names."""
        kept = {n for n in graph.order if n in self.values and n not in graph.inputs}
        return MappingProxyType({n: n for n in graph.order if n in kept})

    def _value(self, node: torch.fx.Node) -> Result:
        target = node.target
        if target is operator.getitem:
            whole, index = node.args
            parts: Any = self._resolved(whole)
            part = parts[index]
            if part is None and node.users:
                self._refuse("E0605", f"result {index} of `{whole}` has no rule")
            return part
        if not isinstance(target, torch._ops.OpOverload):
            self._refuse("E0604", f"`{node.name}` calls `{target}`, which is no op of PyTorch")
        if op_name(target) in CHECKS:
            return None
        arguments = self._arguments(node, target)
        if not _any_computed(arguments.values()):
            return self._folded(node, target, arguments)
        call = self._call(node, target, arguments)
        try:
            return RULES[op_name(target)](call)
        except ops.ShapeMismatch as error:
            call.refuse(str(error), code="E0609")

    def _call(
        self, node: torch.fx.Node, target: torch._ops.OpOverload, arguments: Mapping[str, Any]
    ) -> AtenCall:
        traced = node.meta.get("val")
        first = traced[0] if isinstance(traced, list | tuple) and traced else traced
        tensor = first if isinstance(first, torch.Tensor) else None
        return AtenCall(
            network=self.traced.network,
            name=node.name,
            op=op_name(target),
            place=placed(node),
            arguments=arguments,
            shape=() if tensor is None else tuple(int(n) for n in tensor.shape),
            dtype=None if tensor is None else tensor.dtype,
            builder=self.builder,
            target=target,
        )

    def _arguments(self, node: torch.fx.Node, target: torch._ops.OpOverload) -> dict[str, Any]:
        """Every argument of the op's schema by name, values of the module resolved."""
        found: dict[str, Any] = {}
        for position, argument in enumerate(target._schema.arguments):
            if position < len(node.args):
                given: Any = node.args[position]
            else:
                given = node.kwargs.get(argument.name, argument.default_value)
            found[argument.name] = self._resolved(given)
        return found

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            found = self.values[value.name]
            if found is None:
                self._refuse("E0605", f"`{value.name}` has no rule")
            return found
        if isinstance(value, list | tuple):
            return [self._resolved(v) for v in value]
        return value

    def _folded(
        self, node: torch.fx.Node, target: torch._ops.OpOverload, arguments: Mapping[str, Any]
    ) -> Result:
        """What depends on no input is computed now, as the module would."""
        for value in _tensors(node.meta.get("val")):
            if prod(value.shape) > MAX_VALUE_ENTRIES:
                text = f"`{node.name}` is a constant of more than {MAX_VALUE_ENTRIES} entries"
                self._refuse("E0602", text)
        positional = [a.name for a in target._schema.arguments if not a.kwarg_only]
        named = {n: v for n, v in arguments.items() if n not in positional}
        with torch.no_grad():
            found = target(*(arguments[n] for n in positional), **named)
        return tuple(found) if isinstance(found, list | tuple) else found

    def _output(self, node: object) -> NodeId:
        value = self._resolved(node)
        if isinstance(value, torch.Tensor):
            assert isinstance(node, torch.fx.Node)
            call = self._constant_call(node)
            value = call.constant_node(value)
            self.values[node.name] = value
        if not prod(value.shape):
            self._refuse("E0609", f"the output `{node}` has no entries")
        return value.node

    def _constant_call(self, node: torch.fx.Node) -> AtenCall:
        target = torch.ops.aten.alias.default
        return self._call(node, target, {})

    def _named(self, graph: Graph) -> Graph:
        """The same graph, with every value's node called as the value is."""
        names: dict[NodeId, str] = {}
        for name, value in self.values.items():
            if isinstance(value, Computed):
                names.setdefault(value.node, name)
        builder = GraphBuilder()
        new: dict[NodeId, NodeId] = {}
        for node, op, operands in graph:
            new[node] = builder.add(op, *(new[o] for o in operands), name=names.get(node, node))
        return builder.build(*(new[o] for o in graph.outputs))

    def _refuse(self, code: str, text: str, help: str | None = None) -> NoReturn:
        raise SpecError.of(code, f"network `{self.traced.network}`: {text}", help=help)


def _any_computed(values: Any) -> bool:
    return any(
        isinstance(v, Computed) or (isinstance(v, list | tuple) and _any_computed(v))
        for v in values
    )


def _tensors(value: Any) -> list[torch.Tensor]:
    parts = value if isinstance(value, list | tuple) else [value]
    return [p for p in parts if isinstance(p, torch.Tensor)]

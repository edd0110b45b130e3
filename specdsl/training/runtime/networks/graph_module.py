"""A PyTorch module over any graph: networks that came as ONNX files can be trained too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.parameters import Parameters, parameters_of, with_parameters
from specdsl.bounds.passes.forward import node_values
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.training.runtime.networks.pruned import PrunedReLU, inner_relu, with_pruned
from specdsl.training.runtime.networks.weights import Statistics


class GraphModule(nn.Module):
    """Computes a graph; the weights of its layers are parameters, in float32.

    Layers are matrices, convolutions and normalisations. A scaling of the input alone, and factors
    that are one number, are no layers: they stay as they are. Masks of ReLUs that were pruned
    are part of its state.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._whole = self.graph = graph
        self._compiled = compile_graph(graph, torch.empty(0, dtype=torch.float32))
        relus = [node for node, op, _ in graph if type(op) is ops.Relu]
        self._relus = {f"relu{n}_{_spelled(node)}": node for n, node in enumerate(relus, 1)}
        self._names: dict[NodeId, str] = {}
        found = parameters_of(self._compiled)
        for number, node in enumerate(_layers(graph)):
            name = f"{number}_{_spelled(node)}"
            self._names[node] = name
            layer = nn.Module()
            layer.register_parameter("weight", nn.Parameter(found[node].weight.detach()))
            offset = found[node].offset
            bias = None if offset is None else nn.Parameter(offset.detach())
            layer.register_parameter("bias", bias)
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) to (batch, outputs)."""
        like = next(self.parameters(), x)
        base = self._compiled
        if (base.like.dtype, base.like.device) != (like.dtype, like.device):
            base = compile_graph(self.graph, like.new_empty(0))
        compiled = with_parameters(base, self.weights(base, {}))
        return node_values(compiled, x.flatten(1))[self.graph.output].flatten(1)

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        """Another module with copies of all tensors; the graph never changes, and is the same."""
        made = GraphModule(self._whole)
        memo[id(self)] = made
        for name, part in self.pruned().items():
            made.put_pruned(name, deepcopy(part, memo))
        like = next(self.parameters(), None)
        if like is not None:
            made.to(like)
        made.load_state_dict(self.state_dict())
        for own, copied in zip(self.parameters(), made.parameters(), strict=True):
            copied.requires_grad_(own.requires_grad)
        return made.train(self.training)

    def relus(self) -> dict[str, NodeId]:
        """The nodes of `graph` that are its ReLUs, or what is left of them, by name and in order.

        The nodes that they read are pre-activations, of pruned neurons 0.
        """
        pruned = self.pruned()
        return {n: inner_relu(node) if n in pruned else node for n, node in self._relus.items()}

    def pruned(self) -> dict[str, PrunedReLU]:
        """ReLUs some of whose neurons are the identity or zero, by name."""
        parts = ((name, self._modules.get(name)) for name in self._relus)
        return {name: part for name, part in parts if isinstance(part, PrunedReLU)}

    def put_pruned(self, name: str, part: PrunedReLU) -> None:
        """Prune a ReLU, which changes `graph`. Raises KeyError where none has the name."""
        if name not in self._relus:
            raise KeyError(name)
        self.add_module(name, part)
        masks = {self._relus[own]: pruned for own, pruned in self.pruned().items()}
        self.graph = with_pruned(self._whole, masks)
        self._compiled = compile_graph(self.graph, self._compiled.like)

    def weights(
        self, compiled: CompiledGraph, statistics: Mapping[str, Statistics]
    ) -> dict[NodeId, Parameters]:
        """What the nodes of the graph hold; it normalises by no batch."""
        found: dict[NodeId, Parameters] = {}
        for node, name in self._names.items():
            layer = self.get_submodule(name)
            found[node] = Parameters(layer.get_parameter("weight"), _bias(layer))
        return found


def _spelled(node: NodeId) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", node)


def _bias(layer: nn.Module) -> Tensor | None:
    return dict(layer.named_parameters()).get("bias")


def _layers(graph: Graph) -> list[NodeId]:
    """Nodes with weights to train."""
    behind_weights: set[NodeId] = set()
    found: list[NodeId] = []
    for node, op, operands in graph:
        heavy = isinstance(op, ops.Dense | ops.Conv | ops.ConvTranspose | ops.BatchNorm)
        behind = not behind_weights.isdisjoint(operands)
        if heavy or (behind and isinstance(op, ops.Scale) and _is_layer(op)):
            found.append(node)
        if heavy or behind:
            behind_weights.add(node)
    return found


def _is_layer(op: ops.Scale) -> bool:
    return max(np.size(op.scale), np.size(op.shift)) > 1


def from_onnx(path: str | Path) -> GraphModule:
    """The network of an ONNX file as a module. Raises SpecError as `load_onnx`."""
    return GraphModule(load_onnx(read_bytes(Path(path)), Path(path).name).graph)

"""`Trainable`: a PyTorch module, its graph compiled once and bounded with the weights of now."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from math import prod

import torch
from torch import Tensor, nn

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.parameters import Parameters, with_parameters
from specdsl.diagnostics import SpecError
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.torch_import.load import load_module
from specdsl.graph.torch_import.replay import TorchOriginal
from specdsl.training.runtime.bounds.centered import output_at
from specdsl.training.runtime.networks.graph_module import GraphModule
from specdsl.training.runtime.networks.weights import (
    BatchNorm,
    ModuleWeights,
    Statistics,
    require_agreement,
    weights_of,
)

# Modules that do the same in training and evaluation mode; what else is in training mode is
# evaluated by its graph, which knows evaluation mode alone.
STEADY = (
    nn.Sequential,
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.AvgPool2d,
    nn.MaxPool2d,
)

Weights = Callable[[CompiledGraph, Mapping[str, Statistics]], dict[NodeId, Parameters]]


class Trainable:
    """A module with its graph compiled once.

    Bounds see its weights as they are, and gradients flow into them. Dropout is for `net(x)` alone:
    bounds, and the values at points that go with them (`at`), have none. Batch normalisation in
    training mode takes the statistics of the batch that the network was last called on, which is
    the clean batch of the step, for bounds and `at` too; in evaluation mode the running ones.

    `shape`: of one input, without the batch axis; `inputs`, `outputs`: numbers of entries.
    """

    def __init__(
        self,
        module: nn.Module,
        graph: Graph,
        weights: Weights,
        shape: tuple[int, ...],
        name: str = "net",
    ) -> None:
        self.module = module
        self.graph = graph
        self.name = name
        self.shape = shape
        self.inputs = graph.size(graph.input)
        self.outputs = graph.size(graph.output)
        self._weights = weights
        self._base: CompiledGraph | None = None
        self._statistics: dict[str, Statistics] = {}

    @classmethod
    def of(cls, module: nn.Module, shape: tuple[int, ...], name: str = "net") -> Trainable:
        """A module that takes a batch of inputs of this shape.

        Its mode, device and weights stay as they are. Raises SpecError as `load_module`, and E0605
        where a parameter is read in a way that bounds cannot be trained through.
        """
        if isinstance(module, GraphModule):
            _require_size(module.graph, shape, name)
            return cls(module, module.graph, module.weights, shape, name)
        still = deepcopy(module).cpu().eval()
        imported = load_module(still, [(1, *shape)], name)
        original = imported.original
        assert isinstance(original, TorchOriginal)
        graph = imported.graph
        if len(graph.outputs) != 1:
            text = f"network `{name}`: it has {len(graph.outputs)} outputs, and not one"
            raise SpecError.of("E0607", text, help="return the tensor that properties speak about")
        copied = weights_of(still, original.traced, graph)
        compiled = compile_graph(graph, torch.empty(0, dtype=torch.float32))
        require_agreement(name, compiled, copied)
        weights = ModuleWeights(
            module, copied.nodes, copied.computed, copied.targets, copied.constants
        )
        return cls(module, graph, weights.parameters, shape, name)

    def __call__(self, x: Tensor) -> Tensor:
        """The module's own output: (batch, *shape) or (batch, inputs) to (batch, outputs).

        In training mode this is the clean batch of the step, by whose statistics batch
        normalisation is bounded from now on.
        """
        shaped = x.reshape(x.shape[0], *self.shape)
        with self._recorded():
            return self.module(shaped).flatten(1)

    def at(self, x: Tensor) -> Tensor:
        """The values that bounds are about: (batch, *shape) or (batch, inputs) to (batch, outputs).

        As `net(x)`, but without dropout, and normalised by the statistics of the clean batch.
        """
        if self._is_steady():
            return self.module(x.reshape(x.shape[0], *self.shape)).flatten(1)
        return output_at(self.compiled(), x.flatten(1))

    def compiled(self) -> CompiledGraph:
        """The graph with the weights of now, in the module's dtype and on its device.

        Made anew at every call, which costs less than any layer: two terms of a loss may be
        differentiated one after the other. Raises ValueError where a batch normalisation is in
        training mode and the network has not been called on a clean batch.
        """
        like = self._like()
        base = self._base
        if base is None or (base.like.dtype, base.like.device) != (like.dtype, like.device):
            base = self._base = compile_graph(self.graph, like)
        return with_parameters(base, self._weights(base, self._statistics))

    def refresh(self) -> None:
        """Forget the statistics of the clean batch: a step is over."""
        self._statistics = {}

    def _like(self) -> Tensor:
        first = next(self.module.parameters(), None)
        if first is None:
            return torch.empty(0, dtype=torch.float32)
        return torch.empty(0, dtype=first.dtype, device=first.device)

    def _is_steady(self) -> bool:
        return all(not m.training or type(m) in STEADY for m in self.module.modules())

    @contextmanager
    def _recorded(self) -> Generator[None]:
        """Note the statistics of each batch normalisation in training mode."""
        handles: list[torch.utils.hooks.RemovableHandle] = []
        for path, part in self.module.named_modules():
            if isinstance(part, BatchNorm) and part.training:
                handles.append(part.register_forward_pre_hook(self._recorder(path)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _recorder(self, path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            (x,) = given
            axes = [axis for axis in range(x.ndim) if axis != 1]
            variance, mean = torch.var_mean(x, dim=axes, correction=0)
            self._statistics[path] = Statistics(mean, variance)

        return record


def _require_size(graph: Graph, shape: tuple[int, ...], name: str) -> None:
    if graph.size(graph.input) != prod(shape):
        extent = graph.shapes[graph.input]
        text = f"network `{name}` takes inputs of shape {extent}, not {shape}"
        raise SpecError.of("E0607", text)

"""ReLUs that hardly ever switch, replaced by the identity or by zero.

A neuron whose bounds have one sign on most inputs costs an exact verifier a case on the others;
replaced, it costs none, and the network changes only where it would have switched.

Source: Xiao et al. 2019, arXiv:1809.03008.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.training.runtime.networks.graph_module import GraphModule
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.pruned import PrunedReLU
from specdsl.training.runtime.regularisers.intervals import intervals, relu_pre_activations

# A module and its graph compute the same up to rounding in float32 at a point.
AGREEMENT = 1e-4


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """Of one ReLU layer: its neurons, and how many are now the identity and how many zero."""

    layer: str
    neurons: int
    identity: int
    zero: int


@dataclass(frozen=True, slots=True, eq=False)
class ReluPruning:
    """The network with its new graph, and what was done."""

    net: Trainable
    layers: tuple[PrunedLayer, ...]

    def lines(self) -> list[str]:
        """One line for the log and one for each layer."""
        total = sum(layer.neurons for layer in self.layers)
        identity = sum(layer.identity for layer in self.layers)
        zero = sum(layer.zero for layer in self.layers)
        head = f"prune relus: {identity} identity and {zero} zero of {total}"
        rows = (f"  {p.layer}: {p.identity} and {p.zero} of {p.neurons}" for p in self.layers)
        return [head, *rows]


def prune_relus(net: Trainable, regions: Iterable[InputRegion], stable: float) -> ReluPruning:
    """Replace the ReLUs whose bounds have one sign on at least the share `stable` of the inputs.

    `regions`: of the training inputs, batch after batch; bounds are intervals. The module is
    changed in place: its `nn.ReLU` parts become `PrunedReLU`, with the mode they were in; in a
    `GraphModule` every ReLU of its graph does. What was pruned before stays so. Raises ValueError
    for a share that is not in [0.5, 1] or no inputs, Unsupported where ReLUs of another module are
    not `nn.ReLU` parts that are called once each.
    """
    if not 0.5 <= stable <= 1:
        raise ValueError(f"a share lies between 1/2 and 1, not {stable}")
    with evaluating(net.module), torch.no_grad():
        compiled = net.compiled()
        parts = _relu_parts(net, compiled)
        shares = _sign_shares(compiled, tuple(parts), regions)
    done: list[PrunedLayer] = []
    for node, (name, part) in parts.items():
        active, inactive = (share >= stable for share in shares[node])
        # Both where it is always exactly 0, or half of the time each: zero is the simpler.
        pruned = _pruned(part, active & ~inactive, inactive, compiled.like.dtype)
        pruned.train(part.training)
        _put(net.module, name, pruned)
        done.append(_counted(name, pruned))
    return ReluPruning(Trainable.of(net.module, net.shape, net.name), tuple(done))


def put_pruned(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make a fresh module ready to load the state of one whose ReLUs were pruned.

    Every part of which the state holds masks becomes a `PrunedReLU` with them.
    """
    for key, switching in state.items():
        name, _, last = key.rpartition(".")
        passing = state.get(f"{name}.passing")
        if name and last == "switching" and passing is not None:
            place = next(module.parameters(), switching).device
            pruned = PrunedReLU(*(mask.detach().clone().to(place) for mask in (switching, passing)))
            before = module if isinstance(module, GraphModule) else module.get_submodule(name)
            pruned.train(before.training)
            _put(module, name, pruned)


class Prunable:
    """A module as a part of a checkpoint: one whose ReLUs were pruned comes back with its masks."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def state_dict(self) -> dict[str, Tensor]:
        """That of the module."""
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put the masks of the state in place, and load it. The graph of the module is another
        one then: a `Trainable` has to be made anew.
        """
        put_pruned(self.module, state)
        self.module.load_state_dict(state)


def unstable_neurons(compiled: CompiledGraph, region: InputRegion) -> Tensor:
    """How many ReLUs intervals leave with both signs, for each region of the batch: (batch,)."""
    bounds = intervals(compiled, region)
    counts = torch.zeros(region.batch, device=region.box.lower.device)
    for node in relu_pre_activations(compiled):
        z = bounds[node]
        counts = counts + ((z.lower < 0) & (z.upper > 0)).flatten(1).sum(1)
    return counts


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """The module in evaluation mode; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


# --- which part is which node --------------------------------------------------------------------

Parts = dict[NodeId, tuple[str, nn.Module]]


def _relu_parts(net: Trainable, compiled: CompiledGraph) -> Parts:
    """The part of the module behind every ReLU of the graph, as both compute the same there.

    Other ops may be made of ReLUs too: these have no part, and are left as they are.
    """
    if isinstance(net.module, GraphModule):
        return _parts_of_graph(net.module)
    like = compiled.like
    point = torch.linspace(-1, 1, net.inputs, dtype=like.dtype, device=like.device)[None]
    calls = _calls(net, point)
    graph = compiled.graph
    relus = [(node, operands[0]) for node, op, operands in graph if type(op) is ops.Relu]
    if not relus:
        raise Unsupported("pruning ReLUs", "a network without ReLUs")
    names = [name for name, _, _ in calls]
    if not calls or len(set(names)) != len(names):
        _refuse(f"{len(relus)} ReLUs where `nn.ReLU` parts run {len(calls)} times")
    values = node_values(compiled, point)
    found: Parts = {}
    waiting = iter(relus)
    for name, part, seen in calls:
        read = part.switching * seen if isinstance(part, PrunedReLU) else seen
        fitting = (n for n, before in waiting if _agree(values[before].flatten(), read.flatten()))
        node = next(fitting, None)
        if node is None:
            _refuse(f"the ReLU `{name}`, which does not run in the order of the graph")
        found[node] = (name, part)
    return found


def _parts_of_graph(module: GraphModule) -> Parts:
    relus = module.relus()
    if not relus:
        raise Unsupported("pruning ReLUs", "a network without ReLUs")
    pruned = module.pruned()
    return {node: (name, pruned.get(name, nn.ReLU())) for name, node in relus.items()}


def _agree(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=AGREEMENT, atol=AGREEMENT)


def _calls(net: Trainable, point: Tensor) -> list[tuple[str, nn.Module, Tensor]]:
    """Name, part and input of every call of a ReLU, in order."""
    calls: list[tuple[str, nn.Module, Tensor]] = []
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def noting(name: str) -> None:
        def note(part: nn.Module, given: tuple[Tensor, ...]) -> None:
            calls.append((name, part, given[0].detach().clone()))

        hooks.append(net.module.get_submodule(name).register_forward_pre_hook(note))

    for name, part in net.module.named_modules():
        if name and isinstance(part, nn.ReLU | PrunedReLU):
            noting(name)
    try:
        net.module(point.reshape(1, *net.shape))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _refuse(what: str) -> NoReturn:
    advice = "write every ReLU as an `nn.ReLU` of its own, called once"
    raise Unsupported("pruning ReLUs", what, advice)


# --- what becomes of it --------------------------------------------------------------------------


def _sign_shares(
    compiled: CompiledGraph, relus: tuple[NodeId, ...], regions: Iterable[InputRegion]
) -> dict[NodeId, tuple[Tensor, Tensor]]:
    """For every ReLU the share of inputs on which bounds are at least 0, and at most 0."""
    graph = compiled.graph
    counts = {
        node: torch.zeros(2, *graph.shapes[node], dtype=torch.int64, device=compiled.like.device)
        for node in relus
    }
    inputs = 0
    for region in regions:
        bounds = intervals(compiled, region)
        inputs += region.batch
        for node in relus:
            z = bounds[graph.operands(node)[0]]
            counts[node] += torch.stack([(z.lower >= 0).sum(0), (z.upper <= 0).sum(0)])
    if inputs == 0:
        raise ValueError("no inputs to count signs on")
    return {node: (count[0] / inputs, count[1] / inputs) for node, count in counts.items()}


def _pruned(part: nn.Module, identity: Tensor, zero: Tensor, dtype: torch.dtype) -> PrunedReLU:
    """The masks of a ReLU without the neurons given; shapes (1, *shape) as in the graph."""
    switching = (~(identity | zero))[0].to(dtype)
    passing = identity[0].to(dtype)
    if isinstance(part, PrunedReLU):
        # A neuron that no longer switches reads 0 there, of either sign: it stays what it is.
        before = part.switching
        return PrunedReLU(before * switching, torch.where(before > 0, passing, part.passing))
    return PrunedReLU(switching, passing)


def _counted(name: str, pruned: PrunedReLU) -> PrunedLayer:
    identity = int(pruned.passing.sum())
    switching = int(pruned.switching.sum())
    neurons = pruned.passing.numel()
    return PrunedLayer(name, neurons, identity, neurons - switching - identity)


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    if isinstance(module, GraphModule):
        assert isinstance(part, PrunedReLU), "nothing else is put into a graph"
        module.put_pruned(name, part)
        return
    path, _, last = name.rpartition(".")
    setattr(module.get_submodule(path), last, part)

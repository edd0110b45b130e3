"""Terms from bounds of pre-activations: intervals that stay narrow, neurons of one sign.

All take what a bounding pass knows inside: bounds of every node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.training.runtime.bounds.centered import centered_pass


class Ends(Protocol):
    """Bounds of one node, (batch or 1, *node): an `Interval`, or one as centre and radius."""

    @property
    def lower(self) -> Tensor: ...
    @property
    def upper(self) -> Tensor: ...
    @property
    def center(self) -> Tensor: ...
    @property
    def radius(self) -> Tensor: ...


Bounds = Mapping[NodeId, Ends]

# Below this a mean or a sum counts as nothing: what it divides would overflow in float32.
LEAST = 1e-12

TOLERATED = 0.5
"""How much a ratio may fall short of 1 before it costs: the paper's tau."""


def intervals(compiled: CompiledGraph, region: InputRegion) -> Bounds:
    """Intervals of every node, by the quick pass wherever nothing must be rounded outward."""
    if compiled.outward is None:
        return centered_pass(compiled, region)
    return interval_pass(compiled, region).bounds


def relu_pre_activations(compiled: CompiledGraph) -> tuple[NodeId, ...]:
    """The nodes that a ReLU reads, once for each ReLU, in the order of the graph."""
    graph = compiled.graph
    return tuple(graph.operands(n)[0] for n, op, _ in graph if type(op) is ops.Relu)


def shi_tightness(compiled: CompiledGraph, bounds: Bounds, tolerated: float = TOLERATED) -> Tensor:
    """How much wider intervals are at ReLUs than at the input: 0 while at most 1/tolerated times.

    The mean over ReLU layers i of `relu(t - d_0 / d_i) / t`, with d the mean half-width over batch
    and neurons. Raises Unsupported where the network has no ReLU.
    Source: Shi et al. 2021, arXiv:2103.17268.
    """
    first = bounds[compiled.graph.input].radius.mean()
    costs = [
        torch.relu(tolerated - first / bounds[node].radius.mean().clamp(min=LEAST)) / tolerated
        for node in _layers(compiled)
    ]
    return torch.stack(costs).mean()


def shi_relu(compiled: CompiledGraph, bounds: Bounds, tolerated: float = TOLERATED) -> Tensor:
    """How unequal active and inactive neurons are, by the centres of their intervals.

    Neurons are active where the whole interval is above 0, inactive where it is below. The mean
    over ReLU layers of `relu(t - a) / t + relu(t - b) / t`: a is the ratio of the sums of centres,
    b that of squared distances from the mean centre, each the smaller one over the larger one. A
    layer that has no active or no inactive neurons costs nothing, as there is no ratio.
    Raises Unsupported where the network has no ReLU.
    Source: Shi et al. 2021, arXiv:2103.17268.
    """
    costs = [_imbalance(bounds[node], tolerated) for node in _layers(compiled)]
    return torch.stack(costs).mean()


def _imbalance(z: Ends, tolerated: float) -> Tensor:
    center = z.center
    active, inactive = z.lower > 0, z.upper < 0
    squared = (center - center.mean()).square()
    pairs = (
        ((center * active).sum(), -(center * inactive).sum()),
        ((squared * active).sum(), (squared * inactive).sum()),
    )
    cost = center.new_zeros(())
    for one, other in pairs:
        smaller, larger = torch.minimum(one, other), torch.maximum(one, other)
        ratio = smaller / larger.clamp(min=LEAST)
        cost = cost + torch.relu(tolerated - ratio) / tolerated
    has_both = active.any() & inactive.any()
    return cost.where(has_both, torch.zeros_like(cost))


def relu_stability(compiled: CompiledGraph, bounds: Bounds) -> Tensor:
    """The sum over ReLU pre-activations of `-tanh(1 + upper * lower)`, its mean over the batch.

    A neuron whose bounds have one sign gives about -1, one whose bounds lie on both sides about 1:
    the sum falls as neurons become stable. Raises Unsupported where the network has no ReLU.
    Source: Xiao et al. 2019, arXiv:1809.03008.
    """
    sums = [
        -torch.tanh(1 + bounds[node].upper * bounds[node].lower).flatten(1).sum(1).mean()
        for node in _layers(compiled)
    ]
    return torch.stack(sums).sum()


def _layers(compiled: CompiledGraph) -> tuple[NodeId, ...]:
    found = relu_pre_activations(compiled)
    if not found:
        raise Unsupported("a regulariser of ReLUs", "a network without ReLUs")
    return found

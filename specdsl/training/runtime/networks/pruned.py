"""A ReLU some of whose neurons are the identity or zero, as a module and as nodes of a graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId


class PrunedReLU(nn.Module):
    """`relu(switching * x) + passing * x`, entry by entry, with masks of 0 and 1.

    Neurons with both masks 0 are zero. The mask stands inside the ReLU, so that bounds of a pruned
    neuron's ReLU are 0 and 0: a verifier sees it stable.

    Shapes: masks as one input, without the batch axis.
    """

    switching: Tensor
    passing: Tensor

    def __init__(self, switching: Tensor, passing: Tensor) -> None:
        super().__init__()
        self.register_buffer("switching", switching)
        self.register_buffer("passing", passing)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) to the same."""
        return torch.relu(self.switching * x) + self.passing * x


def inner_relu(node: NodeId) -> NodeId:
    """What `with_pruned` calls the ReLU that is left of one."""
    return f"{node}.switching"


def with_pruned(graph: Graph, pruned: dict[NodeId, PrunedReLU]) -> Graph:
    """The graph with these in place of its ReLUs; every other node keeps its name."""
    builder = GraphBuilder()
    new: dict[NodeId, NodeId] = {}
    for node, op, operands in graph:
        takes = [new[operand] for operand in operands]
        if node not in pruned:
            new[node] = builder.add(op, *takes, name=node)
            continue
        (x,) = takes
        switching, passing = (
            _masked(mask, graph.shapes[node])
            for mask in (pruned[node].switching, pruned[node].passing)
        )
        read = builder.add(switching, x, name=f"{node}.read")
        live = builder.add(ops.Relu(), read, name=inner_relu(node))
        kept = builder.add(passing, x, name=f"{node}.passing")
        new[node] = builder.add(ops.Sum((1.0, 1.0)), live, kept, name=node)
    return builder.build(*(new[node] for node in graph.outputs))


def _masked(mask: Tensor, shape: tuple[int, ...]) -> ops.Scale:
    values = mask.detach().cpu().double().numpy().reshape(shape)
    return ops.Scale(values, np.zeros(()))

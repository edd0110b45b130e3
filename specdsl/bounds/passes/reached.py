"""Which entries of every value the output is computed from.

A property that names a few entries of a large output leaves most of the last layers unread: of a
detector's grid one cell, of a convolution the patch behind it. What nothing reads needs no bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


def reached_entries(compiled: CompiledGraph) -> Mapping[NodeId, Tensor]:
    """Of every node behind the output, the entries that some entry of the output depends on.

    Shapes: (*node), bool. Weights of 0 read nothing; whether others cancel is not asked.
    """
    graph = compiled.graph
    everything = torch.ones(
        graph.shapes[graph.output], dtype=torch.bool, device=compiled.like.device
    )
    found: dict[NodeId, Tensor] = {graph.output: everything}
    for node in reversed(graph.order):
        if node not in found:
            continue
        for index, operand in enumerate(graph.operands(node)):
            read = _read(compiled, node, index, operand, found[node])
            found[operand] = found[operand] | read if operand in found else read
    return found


def _read(
    compiled: CompiledGraph, node: NodeId, index: int, operand: NodeId, reached: Tensor
) -> Tensor:
    """Which entries of an operand these entries of a node read: (*operand)."""
    shape, op = compiled.graph.shapes[operand], compiled.graph.op(node)
    if node in compiled.kernels:
        ones = reached.to(compiled.like.dtype)[None]
        return compiled.kernels[node].transpose_magnitude(index, ones)[0] > 0
    if isinstance(op, ops.GroupMax):
        read = reached.new_zeros(compiled.graph.size(operand))
        groups = torch.as_tensor(op.groups, device=reached.device)
        read[groups[reached].flatten()] = True
        return read.reshape(shape)
    # Every other nonlinear op works entry by entry, with operands of its own shape.
    assert shape == reached.shape
    return reached

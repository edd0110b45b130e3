"""A graph that computes only some entries of its output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.ops import Dense, Select


def only_entries(graph: Graph, entries: npt.NDArray[np.int64]) -> Graph:
    """The same graph with the output's entries at these positions (row-major) as its output.

    A dense layer that comes last on a vector is left with their rows, so that of thousands of
    comparisons with one value only those are paid for that are read. Values stay what they are.
    """
    last = graph.output
    shorter = len(graph.shapes[last]) == 1
    builder = GraphBuilder()
    for node, op, operands in graph:
        if node == last and shorter and isinstance(op, Dense):
            kept = replace(op, weight=op.weight[entries], bias=op.bias[entries])
            return builder.build(builder.add(kept, *operands, name=node))
        builder.add(op, *operands, name=node)
    return builder.build(builder.add(Select(entries), last, name=last))

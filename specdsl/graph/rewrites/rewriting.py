"""The frame of all rewrites: look at one node and what feeds it, say what stands there instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.ops import Input, Op


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """`steps` applied one after another, the first to `operands`, each other one to the last.

    Without steps the node is the same as its only operand.
    """

    steps: tuple[Op, ...]
    operands: tuple[NodeId, ...]

    def build(self, builder: GraphBuilder, operands: tuple[NodeId, ...], name: str) -> NodeId:
        """Add the steps over the images of `operands`; the node of the result."""
        for step in self.steps:
            operands = (builder.add(step, *operands, name=name),)
        (result,) = operands
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Construction:
    """What is no chain: `make` adds it to a builder, given the images of `operands`."""

    make: Callable[[GraphBuilder, tuple[NodeId, ...]], NodeId]
    operands: tuple[NodeId, ...]

    def build(self, builder: GraphBuilder, operands: tuple[NodeId, ...], name: str) -> NodeId:
        """The node of the result."""
        return self.make(builder, operands)


Rule = Callable[[Graph, NodeId], Replacement | Construction | None]
"""What stands for a node, in terms of nodes of the same graph; None leaves it as it is."""


def rewrite(graph: Graph, rule: Rule) -> tuple[Graph, bool]:
    """Apply `rule` to every node once; whether anything changed.

    Rules look at the old graph only, so replacements cannot disturb one another: whatever a rule
    says about old nodes holds for their images. Nodes nobody needs are dropped.
    """
    replacements = {
        node: replacement
        for node, op, _ in graph
        if not isinstance(op, Input) and (replacement := rule(graph, node)) is not None
    }
    # Most rules change nothing in most graphs: no graph is built then.
    if not replacements:
        return graph, False
    builder = GraphBuilder()
    image: dict[NodeId, NodeId] = {}
    for node, op, operands in graph:
        if node not in replacements:
            image[node] = builder.add(op, *(image[o] for o in operands), name=node)
            continue
        replacement = replacements[node]
        found = tuple(image[o] for o in replacement.operands)
        image[node] = replacement.build(builder, found, node)
    return builder.build(*(image[o] for o in graph.outputs)), True


def only_reader(graph: Graph, producer: NodeId, node: NodeId) -> bool:
    """Whether `node` alone reads `producer`, and reads it once: merging them copies no work."""
    reads = graph.operands(node).count(producer)
    return reads == 1 and len(graph.readers(producer)) == 1 and producer not in graph.outputs

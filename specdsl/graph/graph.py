"""`Graph`: a computation as an immutable directed acyclic graph of ops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from specdsl.graph.ops import Concat, Input, Op, Reshape, Shape

if TYPE_CHECKING:
    import networkx as nx

NodeId = str


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in topological order with their ops, operands and shapes.

    Analysis results (bounds, values) never live here: they are dictionaries keyed by node.
    """

    inputs: tuple[NodeId, ...]
    outputs: tuple[NodeId, ...]
    order: tuple[NodeId, ...]
    shapes: Mapping[NodeId, Shape]
    _ops: Mapping[NodeId, Op]
    _operands: Mapping[NodeId, tuple[NodeId, ...]]
    _readers: Mapping[NodeId, tuple[NodeId, ...]]

    def op(self, node: NodeId) -> Op:
        """What the node computes."""
        return self._ops[node]

    def operands(self, node: NodeId) -> tuple[NodeId, ...]:
        """The nodes whose values the op takes, in order; one node may stand twice."""
        return self._operands[node]

    def readers(self, node: NodeId) -> tuple[NodeId, ...]:
        """The nodes that take this node's value, each once, in topological order."""
        return self._readers[node]

    def size(self, node: NodeId) -> int:
        """Number of entries of the node's value."""
        return prod(self.shapes[node])

    @property
    def input(self) -> NodeId:
        """The only input. Raises ValueError where there is not exactly one."""
        (node,) = self.inputs
        return node

    @property
    def output(self) -> NodeId:
        """The only output. Raises ValueError where there is not exactly one."""
        (node,) = self.outputs
        return node

    @property
    def dag(self) -> nx.DiGraph:
        """The same as a frozen networkx graph, made anew, for the algorithms of that library.

        It has the attribute `op` on nodes and `slots` (operand positions) on edges.
        """
        # Methods and rewrites ask the graph itself; networkx takes a tenth of a second to load.
        import networkx as nx

        slots: dict[tuple[NodeId, NodeId], tuple[int, ...]] = {}
        for node, takes in self._operands.items():
            for slot, operand in enumerate(takes):
                slots[operand, node] = (*slots.get((operand, node), ()), slot)
        dag = nx.DiGraph()
        dag.add_nodes_from((node, {"op": op}) for node, op in self._ops.items())
        dag.add_edges_from((*edge, {"slots": at}) for edge, at in slots.items())
        return nx.freeze(dag)

    def __iter__(self) -> Iterator[tuple[NodeId, Op, tuple[NodeId, ...]]]:
        """Node, op and operands, in topological order."""
        for node in self.order:
            yield node, self._ops[node], self._operands[node]

    def __len__(self) -> int:
        return len(self.order)


class GraphBuilder:
    """Collects nodes, then gives a `Graph`. Operands must exist before their reader."""

    def __init__(self) -> None:
        self._ops: dict[NodeId, Op] = {}
        self._operands: dict[NodeId, tuple[NodeId, ...]] = {}
        self._shapes: dict[NodeId, Shape] = {}

    def add(self, op: Op, *operands: NodeId, name: str | None = None) -> NodeId:
        """Add a node and return its id: `name`, made unique with a suffix where it is taken.

        Raises ShapeMismatch where the operands do not fit, KeyError for an unknown operand,
        ValueError for a wrong number of operands.
        """
        if op.arity is not None and len(operands) != op.arity:
            raise ValueError(f"{type(op).__name__} takes {op.arity} operands, not {len(operands)}")
        shape = op.shape(*(self._shapes[o] for o in operands))
        node = self._fresh(name or type(op).__name__.lower())
        self._ops[node], self._operands[node], self._shapes[node] = op, operands, shape
        return node

    def splice(
        self, graph: Graph, operands: Mapping[NodeId, NodeId], prefix: str = ""
    ) -> dict[NodeId, NodeId]:
        """Copy all nodes of `graph` but its inputs, which become `operands`; old id to new id."""
        new = dict(operands)
        for node, op, takes in graph:
            if node not in new:
                new[node] = self.add(op, *(new[t] for t in takes), name=prefix + node)
        return new

    def shape(self, node: NodeId) -> Shape:
        """Shape of a node added earlier."""
        return self._shapes[node]

    def op(self, node: NodeId) -> Op:
        """What a node added earlier computes."""
        return self._ops[node]

    def operands(self, node: NodeId) -> tuple[NodeId, ...]:
        """The operands of a node added earlier."""
        return self._operands[node]

    def build(self, *outputs: NodeId, keep: Iterable[NodeId] = ()) -> Graph:
        """The graph of everything that `outputs` and the nodes in `keep` depend on.

        Inputs are kept in any case.
        """
        inputs = tuple(n for n, op in self._ops.items() if isinstance(op, Input))
        needed = self._needed((*inputs, *outputs, *keep))
        order = tuple(n for n in self._ops if n in needed)
        found = {n: self._ops[n] for n in order}
        operands = {n: self._operands[n] for n in order}
        return Graph(
            inputs=inputs,
            outputs=outputs,
            order=order,
            shapes=MappingProxyType({n: self._shapes[n] for n in order}),
            _ops=MappingProxyType(found),
            _operands=MappingProxyType(operands),
            _readers=MappingProxyType(_readers(operands)),
        )

    def _needed(self, nodes: Iterable[NodeId]) -> set[NodeId]:
        """The nodes and everything they depend on."""
        needed: set[NodeId] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting.extend(self._operands[node])
        return needed

    def concat_flat(self, *nodes: NodeId, name: str | None = None) -> NodeId:
        """A vector of all entries of `nodes`, one after another."""
        flat = [
            n if len(self._shapes[n]) == 1 else self.add(Reshape((prod(self._shapes[n]),)), n)
            for n in nodes
        ]
        return flat[0] if len(flat) == 1 else self.add(Concat(0), *flat, name=name)

    def _fresh(self, name: str) -> NodeId:
        if name not in self._ops:
            return name
        number = 2
        while f"{name}_{number}" in self._ops:
            number += 1
        return f"{name}_{number}"


def _readers(operands: Mapping[NodeId, tuple[NodeId, ...]]) -> dict[NodeId, tuple[NodeId, ...]]:
    """Who takes each node's value, each once, in the order of `operands`."""
    found: dict[NodeId, dict[NodeId, None]] = {node: {} for node in operands}
    for node, takes in operands.items():
        for operand in takes:
            found[operand][node] = None
    return {node: tuple(readers) for node, readers in found.items()}

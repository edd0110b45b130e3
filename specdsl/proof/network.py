"""The network of a question: nodes in topological order, read and made sure to fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from specdsl.proof.arithmetic import Arithmetic
from specdsl.proof.fields import Fields
from specdsl.proof.operators import Affine, Shape, affine
from specdsl.proof.refusal import NotCovered, Refused, require
from specdsl.proof.relaxations import NONLINEAR, Nonlinear

MAX_NODES = 50_000
MAX_ENTRIES = 2**24
EVALUATED = frozenset({"exact", "rounded", "computed"})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """`operands`: numbers of earlier nodes. `shape`: of the value, without a batch. `evaluated`:
    where float32 is the semantics, a network's own values are computed in it, what it takes is
    rounded to it, and all else is exact.
    """

    operands: tuple[int, ...]
    shape: Shape
    evaluated: str
    record: Fields

    @property
    def name(self) -> str:
        """Of its op."""
        return self.record.word("op")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """`output` is the node of the margins."""

    nodes: tuple[Node, ...]
    input: int
    output: int

    def size(self, node: int) -> int:
        """Number of entries."""
        return prod(self.nodes[node].shape)

    def rules(self, how: Arithmetic) -> dict[int, Affine | Nonlinear]:
        """Of every node but the input, under an arithmetic. Raises Refused where a node's
        parameters do not fit, NotCovered for an op without a rule.
        """
        found: dict[int, Affine | Nonlinear] = {}
        for number, node in enumerate(self.nodes):
            shapes = [self.nodes[o].shape for o in node.operands]
            make = affine if node.name == "affine" else NONLINEAR.get(node.name)
            if number == self.input:
                continue
            if make is None:
                raise NotCovered(f"the checker has no rule for `{node.name}`")
            try:
                found[number] = make(node.record, shapes, node.shape, how)
            except (ValueError, IndexError, TypeError) as error:
                raise Refused(f"node {number}, `{node.name}`: {error}") from error
        return found


def read_network(records: Sequence[Fields], output: int) -> Network:
    """Raises Refused where it is malformed; parameters are for `Network.rules` to read."""
    require(0 <= output < len(records) <= MAX_NODES, "the output is none of the nodes")
    nodes: list[Node] = []
    for number, record in enumerate(records):
        operands, shape = record.wholes("in"), record.wholes("shape")
        require(all(0 <= o < number for o in operands), f"node {number} reads no earlier node")
        fits = min(shape, default=1) >= 1 and prod(shape) <= MAX_ENTRIES
        require(fits, f"node {number} has shape {shape}")
        nodes.append(Node(operands, shape, record.word("evaluated"), record))
        require(nodes[-1].evaluated in EVALUATED, f"node {number} is evaluated in no known way")
    inputs = [i for i, node in enumerate(nodes) if node.name == "input"]
    require(len(inputs) == 1 and not nodes[inputs[0]].operands, "a network has one input")
    require(nodes[inputs[0]].evaluated != "computed", "the input of a network is computed by none")
    return Network(tuple(nodes), inputs[0], output)

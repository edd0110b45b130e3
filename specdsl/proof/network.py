"""The network of a question: nodes in topological order, read and made sure to fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.container import field, whole_numbers
from specdsl.proof.operators import AFFINE, Affine, Shape
from specdsl.proof.refusal import NotCovered, Refused
from specdsl.proof.relaxations import NONLINEAR, Nonlinear

MAX_NODES = 50_000
MAX_ENTRIES = 2**27
EVALUATED = frozenset({"exact", "rounded", "computed"})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """`operands`: numbers of earlier nodes. `shape`: of the value, without a batch. `evaluated`:
    where float32 is the semantics, a network's own values are computed in it, what it takes is
    rounded to it, and all else is exact. `build`: the rule under an arithmetic, None for the input.
    """

    name: str
    operands: tuple[int, ...]
    shape: Shape
    evaluated: str
    build: Callable[[Arithmetic], Affine | Nonlinear] | None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """`output` is the node of the margins, and the only node without readers that is used."""

    nodes: tuple[Node, ...]
    input: int
    output: int

    def size(self, node: int) -> int:
        """Number of entries."""
        return prod(self.nodes[node].shape)


def read_network(records: Sequence[object], output: int, tensors: Sequence[Array]) -> Network:
    """Raises Refused where it is malformed, NotCovered for an op without a rule."""
    if not 0 < len(records) <= MAX_NODES or not 0 <= output < len(records):
        raise Refused("a network has some nodes, and one of them is the output")
    nodes: list[Node] = []
    for number, record in enumerate(records):
        nodes.append(_node(number, record, nodes, tensors))
    inputs = [i for i, node in enumerate(nodes) if node.name == "input"]
    if len(inputs) != 1:
        raise Refused(f"a network has one input, not {len(inputs)}")
    return Network(tuple(nodes), inputs[0], output)


def _node(number: int, record: object, before: Sequence[Node], tensors: Sequence[Array]) -> Node:
    name, operands = field(record, "op", str), tuple(whole_numbers(record, "in"))
    evaluated = field(record, "evaluated", str)
    if evaluated not in EVALUATED:
        raise Refused(f"node {number} is evaluated in a way that is none")
    shape = tuple(whole_numbers(record, "shape"))
    if not all(0 <= o < number for o in operands):
        raise Refused(f"node {number} reads a node that is not before it")
    if min(shape, default=1) < 1 or prod(shape) > MAX_ENTRIES:
        raise Refused(f"node {number} has shape {shape}")
    if name == "input":
        if operands:
            raise Refused("an input reads nothing")
        return Node(name, (), shape, evaluated, None)
    shapes = [before[o].shape for o in operands]
    attributes = _Attributes(number, record, tensors)
    make = AFFINE.get(name) or NONLINEAR.get(name)
    if make is None:
        raise NotCovered(f"the checker has no rule for `{name}`")
    try:
        build = make(attributes, shapes, shape)
    except (ValueError, IndexError, TypeError) as error:
        raise Refused(f"node {number}, `{name}`: {error}") from error
    return Node(name, operands, shape, evaluated, build)


@dataclass(frozen=True, slots=True, eq=False)
class _Attributes:
    """What a record says besides its op, typed; raises Refused where it does not."""

    number: int
    record: Any
    tensors: Sequence[Array]

    def tensor(self, name: str) -> Array:
        """A tensor by its position."""
        at = field(self.record, name, int)
        if not 0 <= at < len(self.tensors):
            raise Refused(f"node {self.number}: `{name}` is no tensor")
        return self.tensors[at]

    def whole(self, name: str) -> tuple[int, ...]:
        """Whole numbers."""
        return tuple(whole_numbers(self.record, name))

    def word(self, name: str) -> str:
        """A word."""
        return field(self.record, name, str)

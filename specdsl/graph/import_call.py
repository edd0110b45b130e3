"""What the imports of ONNX and of PyTorch share: values, limits, and how a rule adds nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId

# The largest activation of VGG16, the largest VNN-COMP network, has 3.2 million entries.
MAX_VALUE_ENTRIES = 2**22
# Whole numbers up to here are float64 numbers.
LARGEST_WHOLE = 2**53

Element = np.dtype[Any]
FLOAT: Element = np.dtype(np.float32)
BOOLEAN: Element = np.dtype(np.bool_)
INTEGER: Element = np.dtype(np.int64)


@dataclass(frozen=True, slots=True)
class Computed:
    """A value that is not folded: a node of the graph.

    `element` is its type in the model: booleans are the numbers 0 and 1 of the graph, integers
    whole numbers.
    """

    node: NodeId
    shape: ops.Shape
    element: Element = FLOAT

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


class ImportCall(ABC):
    """One op of a model with its operands resolved."""

    __slots__ = ()
    builder: GraphBuilder

    @property
    @abstractmethod
    def part_name(self) -> str:
        """What nodes are called that the call adds without a name of their own."""

    @abstractmethod
    def add(self, op: ops.Op, *operands: Computed) -> Computed:
        """A node of the graph. Raises ShapeMismatch."""

    @abstractmethod
    def refuse(self, text: str, *, code: str = "E0605", help: str | None = None) -> NoReturn:
        """Raise a diagnostic about this op."""
        raise NotImplementedError

    def reshape(self, x: Computed, shape: ops.Shape) -> Computed:
        """The same entries in another shape; no node where the shape is the same."""
        return x if x.shape == shape else self.add(ops.Reshape(shape), x)

    def guard_size(self, shape: ops.Shape) -> None:
        """Refuse values beyond the limit."""
        if prod(shape) > MAX_VALUE_ENTRIES:
            text = f"a value of shape {shape}, more than {MAX_VALUE_ENTRIES} entries"
            self.refuse(text, code="E0602")


@dataclass(frozen=True, slots=True, eq=False)
class GuardedBuilder:
    """A graph builder whose nodes have the name and the size limit of one call."""

    call: ImportCall

    def add(self, op: ops.Op, *operands: NodeId, name: str | None = None) -> NodeId:
        """Add a node. Raises ShapeMismatch, and SpecError where it is too large."""
        builder = self.call.builder
        self.call.guard_size(op.shape(*(builder.shape(o) for o in operands)))
        return builder.add(op, *operands, name=name or self.call.part_name)

    def shape(self, node: NodeId) -> ops.Shape:
        """Shape of a node added earlier."""
        return self.call.builder.shape(node)

"""What a rule of the ONNX import sees of one node, and the ways it can answer."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.read import OnnxNode, Tensor

# The largest activation of VGG16, the largest VNN-COMP network, has 3.2 million entries.
MAX_VALUE_ENTRIES = 2**22


@dataclass(frozen=True, slots=True)
class Computed:
    """A value that depends on the input: a node of the graph."""

    node: NodeId
    shape: ops.Shape


Value = Computed | Tensor
"""What an ONNX name stands for: a node, or a constant."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeCall:
    """One ONNX node with its operands resolved; a rule returns the node's results."""

    network: str
    opset: int
    node: OnnxNode
    operands: tuple[Value | None, ...]
    builder: GraphBuilder

    # --- operands ---

    def operand(self, index: int) -> Value:
        """An operand that must be there."""
        value = self.optional(index)
        if value is None:
            self.refuse(f"operand {index} is missing", code="E0601")
        return value

    def optional(self, index: int) -> Value | None:
        """An operand, or None where it is absent."""
        return self.operands[index] if index < len(self.operands) else None

    def computed(self, index: int) -> Computed:
        """An operand as a node; a constant becomes one."""
        value = self.operand(index)
        return value if isinstance(value, Computed) else self.constant_node(value)

    def weight(self, index: int, what: str) -> Tensor:
        """An operand that must be a constant float32 tensor; `what` names it in messages."""
        value = self.operand(index)
        if isinstance(value, Computed):
            self.refuse(f"the {what} is computed, not a constant")
        if value.dtype != np.float32:
            self.refuse(f"the {what} is {value.dtype}, not float32")
        return value

    def optional_weight(self, index: int, what: str) -> Tensor | None:
        """The same for an operand that may be absent."""
        return None if self.optional(index) is None else self.weight(index, what)

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """An operand that must be a constant list of integers."""
        value = self.operand(index)
        if isinstance(value, Computed) or value.dtype.kind not in "iu" or value.ndim > 1:
            self.refuse(f"{what} must be a constant list of integers")
        return tuple(int(v) for v in value.reshape(-1))

    # --- attributes ---

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            self.refuse(f"attribute `{name}` is not an integer", code="E0601")
        return value

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, float):
            self.refuse(f"attribute `{name}` is not a number", code="E0601")
        if not isfinite(value):
            self.refuse(f"attribute `{name}` is {value}", code="E0606")
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            self.refuse(f"attribute `{name}` is not a string", code="E0601")
        return value

    def integer_list(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None where the attribute is absent."""
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, tuple):
            self.refuse(f"attribute `{name}` is not a list of integers", code="E0601")
        integers = tuple(v for v in value if isinstance(v, int))
        if len(integers) != len(value):
            self.refuse(f"attribute `{name}` is not a list of integers", code="E0601")
        return integers

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front. Refuses one outside the rank."""
        if not -rank <= value < rank:
            self.refuse(f"axis {value} of a value with {rank} axes", code="E0601")
        return value % rank

    # --- results ---

    def add(self, op: ops.Op, *operands: Computed) -> Computed:
        """A node of the graph, named after the ONNX value. Raises ShapeMismatch."""
        shape = op.shape(*(o.shape for o in operands))
        self.guard_size(shape)
        node = self.builder.add(op, *(o.node for o in operands), name=self.node.results[0])
        return Computed(node, shape)

    def constant_node(self, value: Tensor) -> Computed:
        """A constant as a node."""
        if value.dtype != np.float32:
            self.refuse(f"a constant operand is {value.dtype}, not float32")
        return self.add(ops.Constant(value))

    def select(self, x: Computed, indices: npt.NDArray[np.int64]) -> Computed:
        """Entries of `x` by row-major position."""
        self.guard_size(indices.shape)
        return self.add(ops.Select(indices), x)

    def positions(self, x: Computed) -> npt.NDArray[np.int64]:
        """The row-major position of every entry, in the shape of `x`: index this to select."""
        return np.arange(prod(x.shape), dtype=np.int64).reshape(x.shape)

    def reshape(self, x: Computed, shape: ops.Shape) -> Computed:
        """The same entries in another shape; no node where the shape is the same."""
        return x if x.shape == shape else self.add(ops.Reshape(shape), x)

    def broadcast(self, x: Computed, shape: ops.Shape) -> Computed:
        """The value repeated to a larger shape, as numpy does."""
        if x.shape == shape:
            return x
        self.guard_size(shape)
        return self.select(x, np.broadcast_to(self.positions(x), shape).copy())

    def guard_size(self, shape: ops.Shape) -> None:
        """Refuse values beyond the limit."""
        if prod(shape) > MAX_VALUE_ENTRIES:
            text = f"a value of shape {shape}, more than {MAX_VALUE_ENTRIES} entries"
            self.refuse(text, code="E0602")

    def refuse(self, text: str, *, code: str = "E0605", help: str | None = None) -> NoReturn:
        """Raise a diagnostic about this node."""
        message = f"network `{self.network}`: {self.node.title} (`{self.node.op}`): {text}"
        raise SpecError.of(code, message, help=help)

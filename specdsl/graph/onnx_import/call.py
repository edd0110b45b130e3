"""What a rule of the ONNX import sees of one node, and the ways it can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.import_call import (
    FLOAT,
    LARGEST_WHOLE,
    Computed,
    Element,
    GuardedBuilder,
    ImportCall,
)
from specdsl.graph.onnx_import.read import OnnxNode, Tensor

Value = Computed | Tensor
"""What an ONNX name stands for: a node, or a constant."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeCall(ImportCall):
    """One ONNX node with its operands resolved; a rule returns the node's results."""

    network: str
    opset: int
    node: OnnxNode
    operands: tuple[Value | None, ...]
    builder: GraphBuilder

    @property
    def part_name(self) -> str:
        """The node's first result."""
        return self.node.results[0]

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
        """An operand that must be a constant tensor; `what` names it in messages.

        Floats of any size or fractions: integers come as float64.
        """
        value = self.operand(index)
        if isinstance(value, Computed):
            self.refuse(f"the {what} is computed, not a constant")
        return self.numbers(value, what)

    def numbers(self, value: Tensor, what: str) -> Tensor:
        """A constant of any element type as a parameter of an op, exactly."""
        if value.dtype.kind in "iub":
            if value.size and max(abs(int(value.max())), abs(int(value.min()))) > LARGEST_WHOLE:
                self.refuse(f"the {what} holds whole numbers beyond 2**53")
            return value.astype(np.float64)
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def optional_weight(self, index: int, what: str) -> Tensor | None:
        """The same for an operand that may be absent."""
        return None if self.optional(index) is None else self.weight(index, what)

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """An operand that must be a constant list of integers."""
        value = self.operand(index)
        if isinstance(value, Computed):
            self.refuse(f"{what} must be constant, but depend on the input")
        if value.dtype.kind not in "iu" or value.ndim > 1:
            self.refuse(f"{what} must be a list of integers", code="E0601")
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

    def numbers_listed(self, name: str) -> tuple[float, ...] | None:
        """A list of floats, or None where the attribute is absent."""
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, tuple):
            self.refuse(f"attribute `{name}` is not a list of numbers", code="E0601")
        numbers = tuple(float(v) for v in value if isinstance(v, int | float) and isfinite(v))
        if len(numbers) != len(value):
            self.refuse(f"attribute `{name}` is not a list of numbers", code="E0601")
        return numbers

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

    def add(self, op: ops.Op, *operands: Computed, element: Element | None = None) -> Computed:
        """A node of the graph, named after the ONNX value. Raises ShapeMismatch.

        Its element type is that of the first operand where it is not given.
        """
        shape = op.shape(*(o.shape for o in operands))
        self.guard_size(shape)
        node = self.builder.add(op, *(o.node for o in operands), name=self.part_name)
        return Computed(node, shape, element or (operands[0].element if operands else FLOAT))

    def composed(
        self,
        build: Callable[..., NodeId],
        *operands: Computed,
        element: Element | None = None,
        **parameters: Any,
    ) -> Computed:
        """What a function of `composites` builds from the operands. Raises ShapeMismatch."""
        node = build(GuardedBuilder(self), *(o.node for o in operands), **parameters)
        return Computed(node, self.builder.shape(node), element or operands[0].element)

    def constant_node(self, value: Tensor) -> Computed:
        """A constant as a node."""
        element = FLOAT if value.dtype == object else value.dtype
        return self.add(ops.Constant(self.numbers(value, "constant operand")), element=element)

    def select(self, x: Computed, indices: npt.NDArray[np.int64]) -> Computed:
        """Entries of `x` by row-major position."""
        self.guard_size(indices.shape)
        return self.add(ops.Select(indices), x)

    def positions(self, x: Computed) -> npt.NDArray[np.int64]:
        """The row-major position of every entry, in the shape of `x`: index this to select."""
        return np.arange(prod(x.shape), dtype=np.int64).reshape(x.shape)

    def broadcast(self, x: Computed, shape: ops.Shape) -> Computed:
        """The value repeated to a larger shape, as numpy does."""
        if x.shape == shape:
            return x
        self.guard_size(shape)
        return self.select(x, np.broadcast_to(self.positions(x), shape).copy())

    def refuse(self, text: str, *, code: str = "E0605", help: str | None = None) -> NoReturn:
        """Raise a diagnostic about this node."""
        message = f"network `{self.network}`: {self.node.title} (`{self.node.op}`): {text}"
        raise SpecError.of(code, message, help=help)

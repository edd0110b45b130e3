"""What a rule of the PyTorch import sees of one ATen op, and the ways it can answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from pathlib import Path, PurePath
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

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

Value = Computed | torch.Tensor
"""What a value of the traced module stands for: a node, or a constant tensor."""

Result = Value | tuple["Result", ...] | None
"""What an op gives; None where a part of it has no rule, which is fine while nobody reads it."""

Parameter = npt.NDArray[Any]
"""A constant as a parameter of an op of the graph: floats of 32 or 64 bits, or fractions."""

FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+).*')
TORCH = str(Path(torch.__file__).parent)
"""Frames in here are not the user's code."""

MASK_HELP = "for a mask, write a large finite number such as -1e9 instead"

INTERNAL = "part"
"""Nodes between an op's operands and its result are called after the op with this behind it."""

# Element types of computed values. bfloat16 and float16 would round every intermediate value to a
# few digits, which no statement over the reals describes.
ELEMENTS: Mapping[torch.dtype, Element] = {
    torch.float32: FLOAT,
    torch.float64: np.dtype(np.float64),
    torch.bool: np.dtype(np.bool_),
    torch.uint8: np.dtype(np.uint8),
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
}
DTYPES: Mapping[Element, torch.dtype] = {element: dtype for dtype, element in ELEMENTS.items()}


@dataclass(frozen=True, slots=True, eq=False)
class AtenCall(ImportCall):
    """One ATen op with its arguments resolved; a rule returns what the op gives.

    `arguments`: every argument of the op's schema by name, defaults filled in, values of the module
    replaced by `Value`s. `shape`, `dtype`: of the result as traced, None where it is no tensor.
    """

    network: str
    name: str
    op: str
    place: str
    arguments: Mapping[str, Any]
    shape: ops.Shape
    dtype: torch.dtype | None
    builder: GraphBuilder
    target: Callable[..., Any] = field(repr=False)

    @property
    def part_name(self) -> str:
        """That of the op, as one between its operands and its result."""
        return f"{self.name}.{INTERNAL}"

    # --- operands ---

    def operand(self, name: str = "self") -> Value:
        """An argument that must be a tensor."""
        value = self.arguments.get(name)
        if not isinstance(value, Computed | torch.Tensor):
            self.refuse(f"`{name}` is no tensor")
        return value

    def computed(self, name: str = "self") -> Computed:
        """A tensor as a node; a constant becomes one."""
        value = self.operand(name)
        return value if isinstance(value, Computed) else self.constant_node(value)

    def constant(self, name: str) -> torch.Tensor:
        """A tensor that must be constant."""
        value = self.operand(name)
        if isinstance(value, Computed):
            self.refuse(f"`{name}` is computed, not a constant")
        return value

    def weight(self, name: str) -> Parameter:
        """A constant tensor as a parameter."""
        return self.numbers(self.constant(name), f"`{name}`")

    def optional_weight(self, name: str) -> Parameter | None:
        """The same for an argument that may be None."""
        return None if self.arguments.get(name) is None else self.weight(name)

    def numbers(self, value: torch.Tensor, what: str) -> Parameter:
        """A constant tensor as a parameter, exactly. Refuses what is not finite or too wide."""
        if value.is_complex():
            self.refuse(f"{what} holds complex numbers")
        if value.is_floating_point():
            wide = value if value.dtype == torch.float64 else value.to(torch.float32)
            array = wide.detach().cpu().numpy().copy()
            if not np.isfinite(array).all():
                help = None if np.isnan(array).any() else MASK_HELP
                self.refuse(f"{what} holds NaN or infinity", code="E0606", help=help)
            return array
        whole = value.detach().cpu().numpy()
        if whole.size and max(abs(int(whole.max())), abs(int(whole.min()))) > LARGEST_WHOLE:
            self.refuse(f"{what} holds whole numbers beyond 2**53")
        return whole.astype(np.float64)

    # --- numbers and flags ---

    @property
    def double(self) -> bool:
        """Whether some operand is float64."""
        return any(
            v.dtype == torch.float64 if isinstance(v, torch.Tensor) else v.element == np.float64
            for v in self.arguments.values()
            if isinstance(v, Computed) or (isinstance(v, torch.Tensor) and v.ndim)
        )

    def number(self, name: str, default: float | None = None) -> float:
        """A number of the module's code, rounded to the operands' element type, as the op does."""
        value = self.arguments.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(f"`{name}` is {value}, not a number")
        with np.errstate(over="ignore"):
            rounded = float(value) if self.double else float(np.float32(value))
        if not isfinite(rounded):
            help = None if isnan(rounded) else MASK_HELP
            self.refuse(f"`{name}` is {value}", code="E0606", help=help)
        return rounded

    def bound(self, name: str) -> float | None:
        """A number that may be missing or infinite, both meaning none."""
        value = self.arguments.get(name)
        if value is None or value in {inf, -inf}:
            return None
        return self.number(name)

    def integer(self, name: str) -> int:
        """A whole number."""
        value = self.arguments.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(f"`{name}` is {value}, not a whole number")
        return value

    def integers(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers; with `count`, one alone stands for that many."""
        value = self.arguments.get(name)
        listed: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in listed):
            self.refuse(f"`{name}` is {value}, not a list of whole numbers")
        found = tuple(int(v) for v in listed)
        return found * count if count is not None and len(found) == 1 else found

    def flag(self, name: str) -> bool:
        """Whether an argument is given and true."""
        return bool(self.arguments.get(name))

    def axis(self, name: str, rank: int) -> int:
        """An axis counted from the front."""
        value = self.integer(name)
        return value % rank if rank else 0

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """Axes counted from the front; all of them where none is listed."""
        value = self.arguments.get(name)
        if value is None or value == []:
            return tuple(range(rank))
        return tuple(a % rank for a in self.integers(name)) if rank else ()

    # --- results ---

    @property
    def element(self) -> Element:
        """Element type of the result. Refuses those that round to a few digits."""
        if self.dtype is None:
            return FLOAT
        if self.dtype not in ELEMENTS:
            kind = str(self.dtype).removeprefix("torch.")
            self.refuse(f"it computes in {kind}", help="keep the module in float32")
        return ELEMENTS[self.dtype]

    def add(self, op: ops.Op, *operands: Computed) -> Computed:
        """A node of the graph. Raises ShapeMismatch."""
        shape = op.shape(*(o.shape for o in operands))
        self.guard_size(shape)
        node = self.builder.add(op, *(o.node for o in operands), name=self.part_name)
        return Computed(node, shape, self.element)

    def composed(
        self, build: Callable[..., NodeId], *operands: Computed, **parameters: Any
    ) -> Computed:
        """What a function of `composites` builds from the operands. Raises ShapeMismatch."""
        node = build(GuardedBuilder(self), *(o.node for o in operands), **parameters)
        return Computed(node, self.builder.shape(node), self.element)

    def constant_node(self, value: torch.Tensor) -> Computed:
        """A constant as a node."""
        return self.add(ops.Constant(self.numbers(value, "a constant")))

    def typed(self, x: Computed, element: Element | None = None) -> Computed:
        """The same node with the result's element type, or another one."""
        return Computed(x.node, x.shape, element or self.element)

    def refuse(self, text: str, *, code: str = "E0605", help: str | None = None) -> NoReturn:
        """Raise a diagnostic about this op."""
        message = f"network `{self.network}`: `{self.name}` (`aten.{self.op}`{self.place}): {text}"
        raise SpecError.of(code, message, help=help)


def placed(node: torch.fx.Node) -> str:
    """Where in the user's code an op stands, from its stack trace: `, net.py:12`, or nothing."""
    lines = str(node.meta.get("stack_trace") or "").splitlines()
    for line in reversed(lines):
        found = FRAME.fullmatch(line.strip())
        if found and not found["path"].startswith(TORCH):
            return f", {PurePath(found['path']).name}:{found['line']}"
    return ""

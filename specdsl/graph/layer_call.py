"""One layer of an inline network: its arguments as exact values, and the nodes it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.layer_weights import Weights
from specdsl.language import syntax
from specdsl.language.spec import Value
from specdsl.source import Span

Evaluate = Callable[[syntax.Expr], Value]
"""The value of a constant expression; raises SpecError where it is none."""

ExactArray = npt.NDArray[np.object_]

# Replay is in float32: larger constants have no replay.
LARGEST = Fraction(float(np.finfo(np.float32).max))


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One layer with its arguments by parameter name, still as syntax, and `weights` from a file
    for those that were not given.
    """

    kind: str
    name: str | None
    span: Span
    arguments: Mapping[str, syntax.Expr]
    evaluate: Evaluate
    builder: GraphBuilder
    operand: NodeId
    weights: Weights = field(default_factory=dict[str, npt.NDArray[Any]], repr=False)

    @property
    def shape(self) -> ops.Shape:
        """What arrives, batch axis included."""
        return self.builder.shape(self.operand)

    def add(self, op: ops.Op, *operands: NodeId) -> NodeId:
        """A node that serves the layer, on the layer's operand by default."""
        try:
            return self.builder.add(op, *(operands or (self.operand,)), name=self.kind)
        except ops.ShapeMismatch as error:
            self.refuse("E0621", f"layer `{self.kind}`: {error}")

    def result(self, op: ops.Op, *operands: NodeId) -> NodeId:
        """The last node of the layer, which has the layer's name."""
        try:
            name = self.name or self.kind
            return self.builder.add(op, *(operands or (self.operand,)), name=name)
        except ops.ShapeMismatch as error:
            self.refuse("E0621", f"layer `{self.kind}`: {error}")

    def refuse(
        self, code: str, text: str, at: str | None = None, help: str | None = None
    ) -> NoReturn:
        """Raise a diagnostic at the layer, or at its argument `at`."""
        argument = self.arguments.get(at) if at else None
        raise SpecError.of(code, text, argument.span if argument else self.span, help=help)

    def has(self, name: str) -> bool:
        """Whether the argument was given, or is in a file."""
        return name in self.arguments or name in self.weights

    def tensor(self, name: str) -> ExactArray:
        """An argument as an exact tensor (a number is one without axes).

        Entries are fractions; of a file they are floats, which are exact too.
        """
        if name not in self.arguments:
            return self.weights[name]
        value = self.evaluate(self.arguments[name])
        if isinstance(value, bool | str | tuple):
            self.refuse("E0620", f"`{name}` of `{self.kind}` must hold numbers", name)
        result = value if isinstance(value, np.ndarray) else array_of(value)
        if any(abs(v) > LARGEST for v in result.reshape(-1)):
            self.refuse("E0620", f"`{name}` of `{self.kind}` holds numbers beyond float32", name)
        return result

    def number(self, name: str) -> Fraction:
        """An argument as one exact number."""
        value = self.tensor(name)
        if value.size != 1:
            self.refuse("E0620", f"`{name}` of `{self.kind}` must be one number", name)
        return Fraction(value.reshape(-1)[0])

    def integers(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """An argument as `count` integers >= 0; one number stands for all of them."""
        if not self.has(name):
            return (default,) * count
        values = [Fraction(v) for v in self.tensor(name).reshape(-1)]
        values = values * count if len(values) == 1 else values
        if len(values) != count or any(v.denominator != 1 or v < 0 for v in values):
            text = f"`{name}` of `{self.kind}` must be one or {count} whole numbers"
            self.refuse("E0620", text, name)
        return tuple(int(v) for v in values)


def array_of(*values: Fraction) -> ExactArray:
    """One exact number without axes, or several as a vector."""
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result.reshape(()) if len(values) == 1 else result


def compact(values: ExactArray) -> ops.Array:
    """Floats where they hold the values exactly, so that nothing works on fractions in vain."""
    if values.dtype != object:
        return values
    rounded = values.astype(np.float64)
    same = all(Fraction(r) == v for r, v in zip(rounded.flat, values.flat, strict=True))
    return rounded if same else values

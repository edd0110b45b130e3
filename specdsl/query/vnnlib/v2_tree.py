"""What a VNN-LIB 2.0 file says: networks with their variables, and assertions over them.

`start` is everywhere the offset in the text; `Specification.span` makes a place of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal

from specdsl.diagnostics import SpecError
from specdsl.query.vnnlib.forms import syntax_error
from specdsl.source import Source, Span

Kind = Literal["input", "hidden", "output"]
Relation = Literal["equal-to", "isomorphic-to"]
Comparator = Literal["<=", "<", ">=", ">", "==", "!="]
Operator = Literal["+", "-", "*"]

REALS = frozenset({"real", "Real"})
"""Any floating-point element type; older front ends write it with a capital."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A variable: an input, output or hidden value of one network.

    `element` as written; `shape` is empty for a scalar. `value`: the hidden value's ONNX name.
    """

    kind: Kind
    name: str
    element: str
    shape: tuple[int, ...]
    start: int
    value: str | None = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    def entry(self, position: int) -> str:
        """How the file writes one entry: `X[0,3]`, or `X` for a scalar."""
        if not self.shape:
            return self.name
        indices: list[int] = []
        for extent in reversed(self.shape):
            position, index = divmod(position, extent)
            indices.append(index)
        return f"{self.name}[{','.join(map(str, reversed(indices)))}]"


@dataclass(frozen=True, slots=True)
class Network:
    """`other`: the network this one is the same as (`equal-to`), or shaped like."""

    name: str
    relation: Relation | None
    other: str | None
    declarations: tuple[Declaration, ...]
    start: int

    def of(self, kind: Kind) -> tuple[Declaration, ...]:
        """The variables of one kind, in the model's order."""
        return tuple(d for d in self.declarations if d.kind == kind)

    @property
    def model(self) -> str:
        """The name of the network whose file this one runs."""
        return self.other if self.relation == "equal-to" and self.other else self.name


@dataclass(frozen=True, slots=True)
class Number:
    """A literal, taken exactly."""

    value: Fraction
    start: int


@dataclass(frozen=True, slots=True)
class Reference:
    """One entry of a variable, by its row-major position."""

    variable: str
    position: int
    start: int


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands or more; `-` with one is the negative."""

    operator: Operator
    operands: tuple[Expression, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left comparator right`."""

    comparator: Comparator
    left: Expression
    right: Expression
    start: int


@dataclass(frozen=True, slots=True)
class Connective:
    """All of the parts, or any of them."""

    kind: Literal["and", "or"]
    parts: tuple[Formula, ...]
    start: int


Expression = Number | Reference | Operation
Formula = Comparison | Connective


@dataclass(frozen=True, slots=True, eq=False)
class Specification:
    """A whole file. Its assertions hold together: the query is whether they can."""

    source: Source
    version: str
    networks: tuple[Network, ...]
    assertions: tuple[Formula, ...]

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """All variables, in the order of the file."""
        return tuple(d for network in self.networks for d in network.declarations)

    def error(self, code: str, message: str, start: int, help: str | None = None) -> SpecError:
        """An error at an offset of the file."""
        return syntax_error(self.source, code, message, start, help)

    def span(self, start: int) -> Span:
        """The form or word that begins at an offset."""
        text, depth = self.source.text, 0
        for match in _EDGE.finditer(text, start):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth <= 0:
                return Span(self.source, start, match.end())
        return Span(self.source, start, start + 1)


_EDGE = re.compile(r"[()]|[^\s()]+")

"""Single entries of a graph as exact linear forms over entries that nonlinear ops compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from specdsl.graph import ops
from specdsl.graph.evaluate import rearrange
from specdsl.graph.graph import Graph, NodeId

Entry = tuple[NodeId, int]
"""A node and a row-major position in its value."""

# Forms are for comparisons of a few entries and for the sums of a softmax. What is longer, or lies
# behind more affine ops in a row, is taken as a value of its own.
MAX_TERMS = 256
MAX_DEPTH = 100
# Rows of layers are opened where they compare two entries, or add entries up without weights.
_COMPARED = 2


@dataclass(frozen=True, slots=True)
class Form:
    """`sum of coefficient * entry, + constant`; no coefficient is 0."""

    terms: Mapping[Entry, Fraction]
    constant: Fraction = Fraction(0)

    def minus(self, other: Form) -> Form:
        """`self - other`."""
        return combination([(ONE, self), (-ONE, other)])

    def times(self, factor: Fraction) -> Form:
        """`factor * self`."""
        return combination([(factor, self)])

    @property
    def key(self) -> tuple[frozenset[tuple[Entry, Fraction]], Fraction]:
        """Equal for equal forms."""
        return frozenset(self.terms.items()), self.constant

    def comes_before(self, other: Form) -> bool:
        """An order that stays when the same form is added to both: by the first difference."""
        mine, theirs = self.terms.get, other.terms.get
        different = [e for e in {*self.terms, *other.terms} if mine(e) != theirs(e)]
        if not different:
            return self.constant < other.constant
        first = min(different)
        return mine(first, 0) < theirs(first, 0)


ONE = Fraction(1)


def constant(value: Fraction) -> Form:
    """The form that is the same everywhere."""
    return Form(MappingProxyType({}), value)


ZERO = constant(Fraction(0))


def combination(parts: Iterable[tuple[Fraction, Form]], offset: Fraction = ZERO.constant) -> Form:
    """The sum of `factor * form`, plus an offset."""
    terms: dict[Entry, Fraction] = {}
    for factor, form in parts:
        if form.constant:
            offset = offset + factor * form.constant
        for entry, coefficient in form.terms.items():
            # Nearly all factors are 1: most of the time would go into multiplying fractions by it.
            term = coefficient if factor is ONE else factor * coefficient
            terms[entry] = terms[entry] + term if entry in terms else term
    kept = {e: c for e, c in terms.items() if c}
    return Form(MappingProxyType(kept), offset)


@dataclass(slots=True)
class EntryForms:
    """Forms of the entries of a graph, each worked out once."""

    graph: Graph
    _known: dict[Entry, Form] = field(default_factory=dict[Entry, Form])
    _moves: dict[NodeId, np.ndarray] = field(default_factory=dict[NodeId, np.ndarray])

    def of(self, entry: Entry, depth: int = 0) -> Form:
        """The entry through all affine ops that can be followed cheaply; else itself."""
        if entry not in self._known:
            opened = None if depth > MAX_DEPTH else self._opened(entry, depth + 1)
            leaf = Form(MappingProxyType({entry: ONE}))
            usable = opened is not None and len(opened.terms) <= MAX_TERMS
            self._known[entry] = opened if opened is not None and usable else leaf
        return self._known[entry]

    def argument(self, entry: Entry) -> Form:
        """The form of what an elementwise op is applied to there."""
        node, position = entry
        return self.of((self.graph.operands(node)[0], position))

    def _opened(self, entry: Entry, depth: int) -> Form | None:
        node, position = entry
        op, operands = self.graph.op(node), self.graph.operands(node)
        match op:
            case ops.Constant():
                return constant(_exact(op.value.reshape(-1), position))
            case ops.Concat():
                return self.of(self._place_in_concat(op, operands, node, position), depth)
            case ops.Rearrange():
                return self.of((operands[0], self._source(node, op, position)), depth)
            case ops.Sum():
                pairs = zip(op.coefficients, operands, strict=True)
                return combination(
                    (_fraction(factor), self.of((operand, position), depth))
                    for factor, operand in pairs
                )
            case ops.Scale():
                inner = self.of((operands[0], position), depth)
                index = np.unravel_index(position, self.graph.shapes[node])
                scale, shift = (_broadcast_entry(p, index) for p in (op.scale, op.shift))
                return combination([(scale, inner)], shift)
            case ops.Dense():
                return self._row(op, operands[0], position, depth)
            case _:
                return None

    def _row(self, op: ops.Dense, operand: NodeId, position: int, depth: int) -> Form | None:
        rows, columns = op.weight.shape
        block, row = divmod(position, rows)
        weights = op.weight[row]
        read = np.flatnonzero(weights)
        if read.size > _COMPARED and (read.size > MAX_TERMS or (weights[read] != 1).any()):
            return None
        start = block * columns
        return combination(
            (
                (_exact(weights, column), self.of((operand, start + column), depth))
                for column in read.tolist()
            ),
            _exact(op.bias, row),
        )

    def _source(self, node: NodeId, op: ops.Rearrange, position: int) -> int:
        """Where the entry stands in the only operand."""
        if isinstance(op, ops.Reshape):
            return position
        if node not in self._moves:
            shape = self.graph.shapes[self.graph.operands(node)[0]]
            places = np.arange(prod(shape), dtype=np.int64).reshape(1, *shape)
            self._moves[node] = rearrange(op, [places]).reshape(-1)
        return int(self._moves[node][position])

    def _place_in_concat(
        self, op: ops.Concat, operands: tuple[NodeId, ...], node: NodeId, position: int
    ) -> Entry:
        index = [int(i) for i in np.unravel_index(position, self.graph.shapes[node])]
        for operand in operands:
            shape = self.graph.shapes[operand]
            if index[op.axis] < shape[op.axis]:
                return operand, int(np.ravel_multi_index(index, shape))
            index[op.axis] -= shape[op.axis]
        raise IndexError(f"position {position} of `{node}`")


def _broadcast_entry(parameter: ops.Array, index: tuple[np.intp, ...]) -> Fraction:
    """The entry of a parameter that broadcasts to a value, where the value has `index`."""
    own = index[len(index) - parameter.ndim :]
    place = tuple(0 if n == 1 else int(i) for i, n in zip(own, parameter.shape, strict=True))
    return _exact(parameter, place)


def _exact(parameter: ops.Array, index: int | tuple[int, ...]) -> Fraction:
    entry: Any = parameter[index]
    return _fraction(entry if parameter.dtype == object else entry.item())


def _fraction(value: float | Fraction) -> Fraction:
    return ONE if value == 1 else Fraction(value)

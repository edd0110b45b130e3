"""From formulas to a `Query`: exact input boxes, shared margins, one graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.ops import Array, Dense
from specdsl.query.elaboration.formula import Below, Clause, Formula, clauses
from specdsl.query.elaboration.regions import BoundArray, Region
from specdsl.query.elaboration.resources import compact
from specdsl.query.elaboration.scene import Scene
from specdsl.query.elaboration.symbolic import INPUT, Linear
from specdsl.query.query import Atom, Case
from specdsl.query.sets import Box, InputSet

MAX_CASES = 10_000
"""More cases are a property written in a way that multiplies out, not a question to answer."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`entry <= value` or `entry >= value` for one entry of the input."""

    position: int
    value: Fraction
    upper: bool
    strict: bool


def bound_of(atom: Below) -> Bound | None:
    """The atom as a bound on one input entry; None where it says more than that."""
    if len(atom.expression.terms) != 1:
        return None
    ((source, position), coefficient) = atom.expression.terms[0]
    if source != INPUT:
        return None
    value = -atom.expression.constant / coefficient
    return Bound(position, value, upper=coefficient > 0, strict=atom.strict)


@dataclass(slots=True)
class Assembly:
    """Cases and margin rows as they are found; equal boxes and equal rows are shared."""

    scene: Scene
    region: Region
    rows: dict[Linear, int] = field(default_factory=dict)
    boxes: dict[tuple[Bound, ...], InputSet | None] = field(default_factory=dict)

    def cases(self, unsafe: Formula) -> tuple[Case, ...]:
        """The cases of a formula that can have a point.

        Raises TooManyClauses beyond MAX_CASES, Unbounded where an input has no bound.
        """
        found = (self._case(clause) for clause in clauses(unsafe, MAX_CASES))
        return tuple(case for case in found if case is not None)

    def _case(self, clause: Clause) -> Case | None:
        bounds: list[Bound] = []
        atoms: list[Atom] = []
        for atom in clause:
            bound = bound_of(atom)
            if bound is not None:
                bounds.append(bound)
            # The box is closed, so that a strict bound is stated once more as an atom.
            if bound is None or bound.strict:
                index = self.rows.setdefault(atom.expression, len(self.rows))
                atoms.append(Atom(index, atom.strict))
        key = tuple(bounds)
        if key not in self.boxes:
            self.boxes[key] = self._inputs(bounds)
        inputs = self.boxes[key]
        return None if inputs is None else Case(inputs, tuple(dict.fromkeys(atoms)))

    def _inputs(self, bounds: Sequence[Bound]) -> InputSet | None:
        lower, upper = self.region.lower.copy(), self.region.upper.copy()
        for bound in bounds:
            side, choose = (upper, min) if bound.upper else (lower, max)
            old = side[bound.position]
            side[bound.position] = bound.value if old is None else choose(old, bound.value)
        inputs = self.region.inputs(lower, upper)
        if inputs is not None and any(_excluded(bound, inputs.box) for bound in bounds):
            return None
        return inputs

    def graph(self) -> Graph:
        """Input to margins. Input entries are read beside the outputs only where a row does."""
        # A query without any row still has a graph; no case reads this margin, which is always 0.
        rows = tuple(self.rows) or (Linear((), Fraction(0)),)
        used = sorted({source for row in rows for (source, _), _ in row.terms})
        read = used or [len(self.scene.calls) or INPUT]
        nodes: list[NodeId] = [self.scene.node(source) for source in read]
        builder = self.scene.builder
        self.scene.node(INPUT)
        starts: dict[int, int] = {}
        width = 0
        for source, node in zip(read, nodes, strict=True):
            starts[source] = width
            width += int(np.prod(builder.shape(node), dtype=np.int64))
        joined = builder.concat_flat(*nodes, name="read")
        weight, offset = _matrix(rows, starts, width)
        return builder.build(builder.add(Dense(weight, offset), joined, name="margins"))


def _excluded(bound: Bound, box: Box) -> bool:
    """Whether a strict bound leaves nothing of an entry that the box fixes."""
    low, high = box.lower[bound.position], box.upper[bound.position]
    return bound.strict and low == high == bound.value


def _matrix(rows: Sequence[Linear], starts: dict[int, int], width: int) -> tuple[Array, Array]:
    """Rows as an exact matrix; float64 where no entry is rounded by it."""
    weight = np.empty((len(rows), width), dtype=object)
    weight.fill(Fraction(0))
    offset = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        offset[i] = row.constant
        for (source, position), coefficient in row.terms:
            weight[i, starts[source] + position] = coefficient
    return compact(weight), compact(offset)


def joint_region(scene: Scene) -> Region:
    """The set of all variables together: the product of their boxes.

    Raises ValueError where one of several is a ball: their product is neither box nor ball.
    """
    regions = [variable.region for variable in scene.variables]
    if len(regions) == 1:
        return regions[0]
    if any(region.ball is not None for region in regions):
        raise ValueError("a product with a ball")
    if not regions:
        zero = np.array([Fraction(0)], dtype=object)
        return Region((1,), None, zero, zero)
    lower, upper = (_joined([getattr(r, side) for r in regions]) for side in ("lower", "upper"))
    return Region((lower.size,), None, lower, upper)


def _joined(parts: Sequence[BoundArray]) -> BoundArray:
    return np.concatenate(parts)

"""From formulas to cases: exact input sets, shared margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

import numpy as np

from specdsl.graph import ops
from specdsl.query.elaboration.questions.folding import fold
from specdsl.query.elaboration.questions.layout import Layout
from specdsl.query.elaboration.values.formula import Clause, Formula, clauses
from specdsl.query.elaboration.values.scene import OpStep, Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Linear
from specdsl.query.query import Atom, Case
from specdsl.query.sets import Ball, Box, EmptySet, ExactArray, InputSet, Norm

MAX_CASES = 10_000
"""More cases are a property written in a way that multiplies out, not a question to answer."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`entry <= value` or `entry >= value` for one entry of the input."""

    position: int
    value: Fraction
    upper: bool
    strict: bool


def bound_of(expression: Linear, strict: bool) -> Bound | None:
    """`expression <= 0` as a bound on one input entry; None where it says more than that."""
    if len(expression.terms) != 1:
        return None
    ((source, position), coefficient) = expression.terms[0]
    if source != INPUT:
        return None
    value = -expression.constant / coefficient
    return Bound(position, value, upper=coefficient > 0, strict=strict)


@dataclass(slots=True)
class Assembly:
    """Cases and margin rows as they are found; equal sets and equal rows are shared."""

    scene: Scene
    layout: Layout
    rows: dict[Linear, int] = field(default_factory=dict)
    _sets: dict[object, InputSet | None] = field(default_factory=dict)
    _balls: dict[Linear, Ball | None] = field(default_factory=dict)

    def cases(self, unsafe: Formula) -> tuple[Case, ...]:
        """The cases of a formula that can have a point.

        Raises TooManyClauses beyond MAX_CASES, Unbounded where an input has no bound.
        """
        found = (self._case(clause) for clause in clauses(fold(unsafe, self.scene), MAX_CASES))
        return tuple(case for case in found if case is not None)

    def row(self, expression: Linear) -> int:
        """The margin that computes an expression (in places of the layout)."""
        return self.rows.setdefault(expression, len(self.rows))

    def _case(self, clause: Clause) -> Case | None:
        bounds: list[Bound] = []
        balls: list[Linear] = []
        atoms: list[Atom] = []
        for atom in clause:
            expression = atom.expression.renamed(self.layout.places)
            if isinstance(expression, Fraction):
                if expression > 0 or (atom.strict and expression == 0):
                    return None
                continue
            bound = bound_of(expression, atom.strict)
            ball = None if bound is not None else self._ball(expression)
            if bound is not None:
                bounds.append(bound)
            if ball is not None:
                balls.append(expression)
            # Sets are closed, so that a strict bound is stated once more as an atom.
            if (bound is None and ball is None) or atom.strict:
                atoms.append(Atom(self.row(expression), atom.strict))
        key = (tuple(bounds), tuple(balls))
        if key not in self._sets:
            self._sets[key] = self._inputs(bounds, balls)
        inputs = self._sets[key]
        return None if inputs is None else Case(inputs, tuple(dict.fromkeys(atoms)))

    def _inputs(self, bounds: Sequence[Bound], balls: Sequence[Linear]) -> InputSet | None:
        lower, upper = self.layout.lower.copy(), self.layout.upper.copy()
        for bound in bounds:
            side, choose = (upper, min) if bound.upper else (lower, max)
            old = side[bound.position]
            side[bound.position] = bound.value if old is None else choose(old, bound.value)
        found = [ball for e in balls if (ball := self._balls[e]) is not None]
        inputs = self.layout.inputs(lower, upper, found)
        if inputs is not None and any(_excluded(bound, inputs.box) for bound in bounds):
            return None
        return inputs

    # --- norms that are sets ---------------------------------------------------------------------

    def _ball(self, expression: Linear) -> Ball | None:
        """`sum of |a x + b| <= c` and `sum of (a x + b)^2 <= c` over input entries as a ball."""
        if expression not in self._balls:
            try:
                self._balls[expression] = self._as_ball(expression)
            except EmptySet:
                self._balls[expression] = None
        return self._balls[expression]

    def _as_ball(self, expression: Linear) -> Ball | None:
        terms = [(self._distance(*entry), c) for entry, c in expression.terms]
        if any(found is None or c <= 0 for found, c in terms):
            return None
        kinds = {found.kind for found, _ in terms if found is not None}
        places = [found.position for found, _ in terms if found is not None]
        if len(kinds) != 1 or len(set(places)) != len(places):
            return None
        squared = kinds == {ops.Square}
        radius = _root(-expression.constant) if squared else -expression.constant
        weights = [_root(c) if squared else c for _, c in terms]
        if radius is None or any(w is None for w in weights):
            return None
        norm: Norm = "l2" if squared else "l1"
        scales = [
            w * abs(found.slope)
            for (found, _), w in zip(terms, weights, strict=True)
            if found and w
        ]
        centers = [-found.offset / found.slope for found, _ in terms if found is not None]
        return Ball(np.array(places), _array(centers), _array(scales), radius, norm)

    def _distance(self, source: int, position: int) -> _Distance | None:
        """What one entry is the size or square of, where that is one scaled input entry."""
        if source == INPUT:
            return None
        step = self.scene.steps[self.scene.source(source).step]
        if not isinstance(step, OpStep) or not isinstance(step.op, ops.Abs | ops.Square):
            return None
        operand = step.operands[0][position]
        inner = operand.renamed(self.layout.places) if isinstance(operand, Linear) else None
        if not isinstance(inner, Linear) or len(inner.terms) != 1 or inner.terms[0][0][0] != INPUT:
            return None
        ((_, place), slope) = inner.terms[0]
        return _Distance(type(step.op), place, slope, inner.constant)


@dataclass(frozen=True, slots=True)
class _Distance:
    """`|slope * x[position] + offset|`, or its square."""

    kind: type[ops.Op]
    position: int
    slope: Fraction
    offset: Fraction


def _root(value: Fraction) -> Fraction | None:
    """The square root where it is rational."""
    if value < 0:
        return None
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    exact = top * top == value.numerator and bottom * bottom == value.denominator
    return Fraction(top, bottom) if exact else None


def _excluded(bound: Bound, box: Box) -> bool:
    """Whether a strict bound leaves nothing of an entry that the box fixes."""
    low, high = box.lower[bound.position], box.upper[bound.position]
    return bound.strict and low == high == bound.value


def _array(values: Sequence[Fraction]) -> ExactArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result

"""The truth about tiny questions: Z3 over the layers themselves, in exact numbers.

The project's own backend `smt` goes by a graph, rewrites and confirmation; nothing of that here.
"""

from __future__ import annotations

from fractions import Fraction
from functools import singledispatch
from itertools import count

import numpy as np
import z3

from tests.soundness import networks
from tests.soundness.networks import Array, Layer
from tests.soundness.questions import Atom, Question


def decide(question: Question) -> Array | None:
    """A point that violates it, exact and flat, or None where there is none.

    Raises RuntimeError where Z3 does not decide, AssertionError where its point is none by the
    meaning of the layers.
    """
    solver = z3.SolverFor("QF_LIRA" if question.integers else "QF_LRA")
    writer = _Writer(solver)
    kinds = [z3.Int if i in question.integers else z3.Real for i in range(question.lower.size)]
    names = [kind(f"x{i}") for i, kind in enumerate(kinds)]
    inputs = np.array([z3.ToReal(n) if n.is_int() else n for n in names], dtype=object)
    for value, low, high in zip(inputs, question.lower, question.upper, strict=True):
        solver.add(value >= _number(low), value <= _number(high))
    value = inputs.reshape(question.network.shape)
    for layer in question.network.layers:
        value = encode(layer, writer, value)
    cases = [[_holds(atom, value.reshape(-1)) for atom in case] for case in question.cases]
    solver.add(z3.Or([z3.And(case) for case in cases]))
    match solver.check():
        case z3.unsat:
            return None
        case z3.sat:
            point = _point(solver.model(), names)
            assert question.contains(point)
            assert question.violated(point)
            return point
    raise RuntimeError(f"Z3 says {solver.reason_unknown()}")


class _Writer:
    """Constraints so far, and fresh names."""

    def __init__(self, solver: z3.Solver) -> None:
        self.solver = solver
        self._numbers = count()

    def named(self, expression: z3.ArithRef) -> z3.ArithRef:
        """A variable that equals the expression: what reads it several times stays short."""
        name = z3.Real(f"v{next(self._numbers)}")
        self.solver.add(name == expression)
        return name


def _number(value: float | Fraction) -> z3.RatNumRef:
    exact = Fraction(value)
    return z3.Q(exact.numerator, exact.denominator)


def _affine(row: Array, values: Array, offset: float) -> z3.ArithRef:
    terms = [_number(w) * v for w, v in zip(row.tolist(), values, strict=True) if w != 0]
    return z3.Sum([*terms, _number(offset)])


def _holds(atom: Atom, outputs: Array) -> z3.BoolRef:
    margin = _affine(atom.coefficients, outputs, atom.offset)
    return margin < 0 if atom.strict else margin <= 0


def _point(model: z3.ModelRef, names: list[z3.ArithRef]) -> Array:
    values = [model.eval(z3.ToReal(n) if n.is_int() else n, model_completion=True) for n in names]
    exact = [Fraction(v.numerator_as_long(), v.denominator_as_long()) for v in values]
    return np.array(exact, dtype=object)


@singledispatch
def encode(layer: Layer, writer: _Writer, value: Array) -> Array:
    """What a layer makes of an array of expressions. Raises TypeError for those without a rule."""
    raise TypeError(f"no rule for {type(layer).__name__}")


@encode.register
def _(layer: networks.Dense, writer: _Writer, value: Array) -> Array:
    rows = zip(layer.weight, layer.bias.tolist(), strict=True)
    named = [writer.named(_affine(row, value.reshape(-1), offset)) for row, offset in rows]
    return np.array(named, dtype=object).reshape(1, -1)


@encode.register
def _(layer: networks.Pointwise, writer: _Writer, value: Array) -> Array:
    results = [writer.named(_pointwise(layer, v)) for v in value.reshape(-1)]
    return np.array(results, dtype=object).reshape(value.shape)


def _pointwise(layer: networks.Pointwise, v: z3.ArithRef) -> z3.ArithRef:
    numbers = [_number(n) for n in layer.numbers]
    match layer.kind:
        case "relu":
            return z3.If(v >= 0, v, _number(0))
        case "leaky_relu":
            return z3.If(v >= 0, v, numbers[0] * v)
        case "abs":
            return z3.If(v >= 0, v, -v)
        case "clip":
            return z3.If(v <= numbers[0], numbers[0], z3.If(v >= numbers[1], numbers[1], v))
    raise TypeError(f"no rule for {layer.kind}")


@encode.register
def _(layer: networks.MaxOf, writer: _Writer, value: Array) -> Array:
    largest: list[z3.ArithRef] = []
    for first, *others in value.reshape(-1, layer.count):
        best = first
        for other in others:
            best = writer.named(z3.If(best >= other, best, other))
        largest.append(best)
    return np.array(largest, dtype=object).reshape(1, -1)


@encode.register
def _(layer: networks.Residual, writer: _Writer, value: Array) -> Array:
    body = value
    for inner in layer.body:
        body = encode(inner, writer, body)
    return value + body

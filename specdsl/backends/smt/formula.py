"""One case of a query as a Z3 formula over exact rationals.

The graph is taken as it stands, every float at its exact value. Affine layers are composed exactly
and need no variables; a neuron whose exact range lies in one linear piece needs none either. A
product of two forms becomes a variable, and so does a square: these and l2 balls make the formula
polynomial.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import z3

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.smt.forms import (
    ExactRange,
    Line,
    LinearForm,
    Pieces,
    affine_forms,
    form_range,
)
from specdsl.encoding.integers import round_inward
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape
from specdsl.query.query import Query
from specdsl.query.sets import Ball, EmptySet, ExactArray, exact

# z3's operators are annotated with unions of every sort it has, so these say nothing more.
Term = Any
Formula = Any

FOREVER = Deadline.after(None)
# Decimal digits kept of an irrational number: far more than float64 resolves.
DIGITS = 40


@dataclass(frozen=True, slots=True, eq=False)
class RoundBall:
    """An l2 ball: `sum of offsets[i]^2 <= radius^2`, with `offsets[i] = scale_i (x_i - center_i)`
    as terms.
    """

    ball: Ball
    offsets: list[Term]

    @property
    def formula(self) -> Formula:
        """The polynomial itself."""
        return z3.Sum([o * o for o in self.offsets]) <= number(self.ball.radius**2)


@dataclass(frozen=True, slots=True, eq=False)
class CaseFormula:
    """`inputs`: one Z3 variable for each entry of the flat input; `network`: what ties them to
    the margins, without the l2 balls `balls`; `margins[k]` and `ranges[k]`: of atom k; `atoms[k]`:
    that it holds. `whole`: some inputs are whole numbers; `products`: the network multiplies.
    """

    inputs: list[Term]
    network: list[Formula]
    balls: list[RoundBall]
    margins: list[Term]
    ranges: list[ExactRange]
    atoms: list[Formula]
    whole: bool
    products: bool

    @property
    def polynomial(self) -> bool:
        """Whether the whole is more than linear."""
        return self.products or bool(self.balls)

    @property
    def assertions(self) -> list[Formula]:
        """Satisfiable exactly where the case has a point."""
        return [*self.network, *(ball.formula for ball in self.balls), *self.atoms]


class OutOfTime(Exception):
    """The deadline passed while a formula was being built."""


def encode_case(
    query: Query, case: int, prefix: str = "", deadline: Deadline = FOREVER
) -> CaseFormula:
    """The formula of case number `case`; `prefix` goes before the names of inner variables.

    Raises Unsupported for an op without a rule, OutOfTime at the deadline.
    """
    encoder = _Encoder(prefix, deadline)
    inputs = encoder.encode_inputs(query, case)
    forms = encoder.encode_graph(query, inputs)
    atoms = query.cases[case].atoms
    read = [forms[a.index] for a in atoms]
    margins = [encoder.expression(form) for form in read]
    return CaseFormula(
        inputs=[encoder.symbols[v] for form in inputs for v in form.terms],
        network=encoder.assertions,
        balls=encoder.balls,
        margins=margins,
        ranges=[form_range(form, encoder.ranges) for form in read],
        atoms=[m < 0 if a.strict else m <= 0 for m, a in zip(margins, atoms, strict=True)],
        whole=bool(query.integers.size),
        products=encoder.products,
    )


def logic(whole: bool, polynomial: bool) -> str:
    """Quantifier-free, linear or not, over integers and reals or reals alone."""
    return f"QF_{'N' if polynomial else 'L'}{'I' if whole else ''}RA"


def number(value: Fraction) -> Term:
    """An exact Z3 numeral."""
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def input_names(query: Query) -> list[str]:
    """`x[3]` for each entry of the flat input, `x` for a scalar."""
    names = [""] * query.graph.size(query.graph.input)
    for variable in query.groups():
        for i, position in enumerate(variable.positions.tolist()):
            names[position] = f"{variable.name}[{i}]" if variable.shape else variable.name
    return names


class _Encoder:
    """Numbered variables with their symbols and exact ranges, and the assertions about them."""

    def __init__(self, prefix: str, deadline: Deadline) -> None:
        self.prefix = prefix
        self.deadline = deadline
        self.symbols: list[Term] = []
        self.ranges: list[ExactRange] = []
        self.assertions: list[Formula] = []
        self.balls: list[RoundBall] = []
        self.products = False
        self._names: set[str] = set()

    def variable(self, name: str, known: ExactRange, whole: bool = False) -> LinearForm:
        """A new variable, asserted to lie in its range; `whole`: of Z3's sort Int.

        A name that is taken gets primes: to Z3, equal names are one variable.
        """
        while name in self._names:
            name += "'"
        self._names.add(name)
        symbol: Term = z3.ToReal(z3.Int(name)) if whole else z3.Real(name)
        self.symbols.append(symbol)
        self.ranges.append(known)
        self.assertions += [symbol >= number(known.lower), symbol <= number(known.upper)]
        return LinearForm({len(self.symbols) - 1: Fraction(1)}, Fraction(0))

    def expression(self, form: LinearForm) -> Term:
        """The form as a Z3 term."""
        terms = [number(c) * self.symbols[v] for v, c in form.terms.items()]
        if form.constant or not terms:
            terms.append(number(form.constant))
        return terms[0] if len(terms) == 1 else z3.Sum(terms)

    def encode_inputs(self, query: Query, case: int) -> list[LinearForm]:
        """A variable for each entry of the flat input, inside the case's exact input set."""
        inputs = query.cases[case].inputs
        try:
            box = round_inward(inputs, query.integers).box
        except EmptySet:
            box = inputs.box  # Z3 finds no whole number there either
        whole = np.zeros(inputs.size, dtype=bool)
        whole[query.integers] = True
        entries = zip(input_names(query), box.lower, box.upper, whole.tolist(), strict=True)
        forms = [self.variable(n, ExactRange(low, up), w) for n, low, up, w in entries]
        for ball in inputs.balls:
            if ball.norm == "l1":
                self._encode_l1(ball)
            else:
                self.balls.append(RoundBall(ball, self._offsets(ball)))
        return forms

    def _offsets(self, ball: Ball) -> list[Term]:
        """`scale_i (x_i - center_i)`."""
        entries = zip(ball.positions.tolist(), ball.center, ball.scale, strict=True)
        return [_on_line(Line(s, -s * c), self.symbols[i]) for i, c, s in entries]

    def _encode_l1(self, ball: Ball) -> None:
        """`|scale_i (x_i - center_i)| <= distance_i` and `sum distance_i <= radius`."""
        distances: list[Term] = []
        for i, offset in zip(ball.positions.tolist(), self._offsets(ball), strict=True):
            form = self.variable(
                f"{self.prefix}distance[{i}]", ExactRange(Fraction(0), ball.radius)
            )
            distance = self.expression(form)
            self.assertions += [offset <= distance, -offset <= distance]
            distances.append(distance)
        self.assertions.append(z3.Sum(distances) <= number(ball.radius))

    def encode_graph(self, query: Query, inputs: list[LinearForm]) -> list[LinearForm]:
        """The forms of the graph's output."""
        graph = query.graph
        values: dict[NodeId, list[LinearForm]] = {}
        for node, op, operands in graph:
            taken = [values[o] for o in operands]
            if isinstance(op, ops.Input):
                values[node] = inputs
            elif isinstance(op, ops.Constant):
                flat = op.value.reshape(-1).tolist()
                values[node] = [LinearForm({}, Fraction(v)) for v in flat]
            elif isinstance(op, ops.Affine):
                shapes = [graph.shapes[o] for o in operands]
                values[node] = self._affine(op, taken, shapes)
            elif isinstance(op, ops.PiecewiseLinear):
                pieces = Pieces.of(op)
                values[node] = [
                    self._piecewise(f"{self.prefix}{node}[{i}]", pieces, form)
                    for i, form in enumerate(taken[0])
                ]
            elif isinstance(op, ops.Polynomial):
                values[node] = self._polynomials(op, node, taken)
            else:
                raise Unsupported("smt", f"the op {type(op).__name__}")
        return values[graph.output]

    def _affine(
        self, op: ops.Affine, operands: list[list[LinearForm]], shapes: list[Shape]
    ) -> list[LinearForm]:
        forms: list[LinearForm] = []
        for form in affine_forms(op, operands, shapes):
            if self.deadline.passed:
                raise OutOfTime
            forms.append(form)
        return forms

    def _piecewise(self, name: str, pieces: Pieces, x: LinearForm) -> LinearForm:
        """One neuron: the line that covers its range, else a split over the lines that meet it."""
        if self.deadline.passed:
            raise OutOfTime
        known = form_range(x, self.ranges).outward()
        first = bisect_right(pieces.points, known.lower)
        last = max(first, bisect_left(pieces.points, known.upper))
        if first == last:
            line = pieces.lines[first]
            return x.scaled(line.slope, line.intercept)
        x = self._named(f"{name}.pre", x, known)
        lines, inner = pieces.lines[first : last + 1], pieces.points[first:last]
        points = [known.lower, *inner, known.upper]
        values = [line.at(p) for line, p in zip([*lines, lines[-1]], points, strict=True)]
        y = self.variable(name, ExactRange(min(values), max(values)).outward())
        at_x, at_y = self.expression(x), self.expression(y)
        self.assertions.append(at_y == _split(lines, inner, at_x))
        self.assertions += _hull(lines, points, values, at_x, at_y)
        return y

    def _named(self, name: str, x: LinearForm, known: ExactRange) -> LinearForm:
        """The form as a variable of its own, unless it is one up to a factor."""
        if len(x.terms) == 1 and not x.constant:
            return x
        named = self.variable(name, known)
        self.assertions.append(self.expression(named) == self.expression(x))
        return named

    def _polynomials(
        self, op: ops.Polynomial, node: NodeId, operands: list[list[LinearForm]]
    ) -> list[LinearForm]:
        """Entry by entry, `x * y` or `x * x`."""
        if not isinstance(op, ops.Multiply | ops.Square):
            raise Unsupported("smt", f"the op {type(op).__name__}")
        right = operands[-1]
        return [
            self._product(f"{self.prefix}{node}[{i}]", x, y, square=isinstance(op, ops.Square))
            for i, (x, y) in enumerate(zip(operands[0], right, strict=True))
        ]

    def _product(self, name: str, x: LinearForm, y: LinearForm, square: bool) -> LinearForm:
        if self.deadline.passed:
            raise OutOfTime
        if not y.terms:
            return x.scaled(y.constant, Fraction(0))
        if not x.terms:
            return y.scaled(x.constant, Fraction(0))
        left, right = (form_range(form, self.ranges) for form in (x, y))
        x = self._named(f"{name}.left", x, left.outward())
        y = x if square else self._named(f"{name}.right", y, right.outward())
        known = left.squared() if square else left.times(right)
        z = self.variable(name, known.outward())
        self.assertions.append(self.expression(z) == self.expression(x) * self.expression(y))
        self.products = True
        return z


def _split(lines: Sequence[Line], inner: Sequence[Fraction], x: Term) -> Term:
    """The value of the line that x is on."""
    value = _on_line(lines[-1], x)
    for line, end in zip(reversed(lines[:-1]), reversed(inner), strict=True):
        value = z3.If(x <= number(end), _on_line(line, x), value)
    return value


def _hull(
    lines: Sequence[Line], points: Sequence[Fraction], values: Sequence[Fraction], x: Term, y: Term
) -> list[Formula]:
    """Redundant, but it spares Z3 splits: where the function is convex (concave), y is on one side
    of all its lines and on the other side of the chord.
    """
    rising = all(a.slope <= b.slope for a, b in pairwise(lines))
    if not rising and not all(a.slope >= b.slope for a, b in pairwise(lines)):
        return []
    slope = (values[-1] - values[0]) / (points[-1] - points[0])
    chord = _on_line(Line(slope, values[0] - slope * points[0]), x)
    beside = [_on_line(line, x) for line in lines]
    return [
        y <= chord if rising else y >= chord,
        *(y >= line if rising else y <= line for line in beside),
    ]


def _on_line(line: Line, x: Term) -> Term:
    if not line.slope:
        return number(line.intercept)
    scaled = x if line.slope == 1 else number(line.slope) * x
    return scaled + number(line.intercept) if line.intercept else scaled


def exact_point(model: Any, inputs: list[Term]) -> ExactArray:
    """The values of the inputs in a model; free ones get any value of their range.

    An irrational value, which only a polynomial formula can force, comes back as a rational number
    next to it: that point is a candidate, not a solution.
    """
    return exact([_rational(model.eval(symbol, model_completion=True)) for symbol in inputs])


def _rational(value: Any) -> Fraction:
    if z3.is_algebraic_value(value):
        value = value.approx(DIGITS)
    return Fraction(value.as_fraction())

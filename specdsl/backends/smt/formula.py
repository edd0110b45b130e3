"""One case of a query as a Z3 formula over exact rationals.

The graph is taken as it stands, every float at its exact value. Affine layers are composed exactly
and need no variables; a neuron whose exact range lies in one linear piece needs none either.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import Any

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
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape
from specdsl.query.query import Query, Variable
from specdsl.query.sets import ExactArray, NormBall, exact

# z3's operators are annotated with unions of every sort it has, so these say nothing more.
Term = Any
Formula = Any

FOREVER = Deadline.after(None)


@dataclass(frozen=True, slots=True, eq=False)
class CaseFormula:
    """`inputs`: one Z3 variable for each entry of the flat input; `network`: what ties them to
    the margins; `margins[k]` and `ranges[k]`: of atom k; `atoms[k]`: that it holds.
    """

    inputs: list[Term]
    network: list[Formula]
    margins: list[Term]
    ranges: list[ExactRange]
    atoms: list[Formula]

    @property
    def assertions(self) -> list[Formula]:
        """Satisfiable exactly where the case has a point."""
        return [*self.network, *self.atoms]


class OutOfTime(Exception):
    """The deadline passed while a formula was being built."""


def encode_case(
    query: Query, case: int, prefix: str = "", deadline: Deadline = FOREVER
) -> CaseFormula:
    """The formula of case number `case`; `prefix` goes before the names of inner variables.

    Raises Unsupported for an op without a rule or an l2 ball, OutOfTime at the deadline.
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
        margins=margins,
        ranges=[form_range(form, encoder.ranges) for form in read],
        atoms=[m < 0 if a.strict else m <= 0 for m, a in zip(margins, atoms, strict=True)],
    )


def number(value: Fraction) -> Term:
    """An exact Z3 numeral."""
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def input_names(variables: Sequence[Variable]) -> Iterator[str]:
    """`x[3]` for each entry of the flat input, `x` for a scalar."""
    for variable in sorted(variables, key=lambda v: v.start):
        if not variable.shape:
            yield variable.name
        else:
            yield from (f"{variable.name}[{i}]" for i in range(prod(variable.shape)))


class _Encoder:
    """Numbered variables with their symbols and exact ranges, and the assertions about them."""

    def __init__(self, prefix: str, deadline: Deadline) -> None:
        self.prefix = prefix
        self.deadline = deadline
        self.symbols: list[Term] = []
        self.ranges: list[ExactRange] = []
        self.assertions: list[Formula] = []
        self._names: set[str] = set()

    def variable(self, name: str, known: ExactRange) -> LinearForm:
        """A new variable, asserted to lie in its range.

        A name that is taken gets primes: to Z3, equal names are one variable.
        """
        while name in self._names:
            name += "'"
        self._names.add(name)
        symbol = z3.Real(name)
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
        box = inputs.box
        names = list(input_names(query.variables))
        if len(names) != inputs.size:
            names = [f"{query.graph.input}[{i}]" for i in range(inputs.size)]
        forms = [
            self.variable(name, ExactRange(lower, upper))
            for name, lower, upper in zip(names, box.lower, box.upper, strict=True)
        ]
        if isinstance(inputs, NormBall):
            self._encode_ball(inputs)
        return forms

    def _encode_ball(self, ball: NormBall) -> None:
        """`|x_i - center_i| <= distance_i` and `sum distance_i <= radius`."""
        if ball.norm != "l1":
            raise Unsupported("smt", f"{ball.norm} balls", "use `search`")
        distances: list[Term] = []
        for i, center in enumerate(ball.center):
            form = self.variable(
                f"{self.prefix}distance[{i}]", ExactRange(Fraction(0), ball.radius)
            )
            distance = self.expression(form)
            offset = self.symbols[i] - number(center)
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
        if len(x.terms) > 1 or x.constant:
            before = self.expression(x)
            x = self.variable(f"{name}.pre", known)
            self.assertions.append(self.expression(x) == before)
        lines, inner = pieces.lines[first : last + 1], pieces.points[first:last]
        points = [known.lower, *inner, known.upper]
        values = [line.at(p) for line, p in zip([*lines, lines[-1]], points, strict=True)]
        y = self.variable(name, ExactRange(min(values), max(values)).outward())
        at_x, at_y = self.expression(x), self.expression(y)
        self.assertions.append(at_y == _split(lines, inner, at_x))
        self.assertions += _hull(lines, points, values, at_x, at_y)
        return y


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
    """The rational values of the inputs in a model; free ones get any value of their range."""
    values = [model.eval(symbol, model_completion=True).as_fraction() for symbol in inputs]
    return exact(values)

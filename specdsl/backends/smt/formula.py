"""The network on one input set as a Z3 formula over exact rationals, and what cases add to it.

The graph is taken as it stands, every float at its exact value. Affine layers are composed exactly
and need no variables; a neuron that exact bounds keep in one linear piece needs none either. A
product of two forms becomes a variable, and so does a square: these and l2 balls make the formula
polynomial. Roundings are variables that are whole numbers. A curve is only enclosed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from specdsl.backend import FOREVER, Deadline
from specdsl.backends.smt.encoder import Enclosed, Encoder
from specdsl.backends.smt.forms import ExactRange, Line, LinearForm
from specdsl.backends.smt.rules import Site, encode_op
from specdsl.backends.smt.terms import Formula, Term, number, on_line, rational
from specdsl.encoding.integers import round_inward
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.rewrites import restate
from specdsl.query.query import Case, Query
from specdsl.query.sets import Ball, EmptySet, ExactArray, InputSet, exact


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
class NetworkFormula:
    """`inputs`: one Z3 variable for each entry of the flat input; `network`: what ties them to
    the margins, without the l2 balls `balls`; `margins` and `ranges`: of the graph's output, by
    index. `whole`: some variables are whole numbers; `products`: the network multiplies;
    `enclosed`: the curves in it.
    """

    inputs: list[Term]
    network: list[Formula]
    balls: list[RoundBall]
    margins: Mapping[int, Term]
    ranges: Mapping[int, ExactRange]
    whole: bool
    products: bool
    enclosed: list[Enclosed]

    @property
    def polynomial(self) -> bool:
        """Whether the whole is more than linear."""
        return self.products or bool(self.balls)

    @property
    def assertions(self) -> list[Formula]:
        """All but the atoms of a case. Satisfiable with them exactly where the case has a point;
        with curves, satisfiable there.
        """
        return [*self.network, *(ball.formula for ball in self.balls)]

    def atoms(self, case: Case) -> list[Formula]:
        """That the atoms of a case hold."""
        return [
            self.margins[atom.index] < 0 if atom.strict else self.margins[atom.index] <= 0
            for atom in case.atoms
        ]


def encode_network(
    query: Query, cases: Sequence[int], prefix: str = "", deadline: Deadline = FOREVER
) -> NetworkFormula:
    """The formula that serves some cases over one input set, by their positions; `prefix` goes
    before the names of inner variables.

    Raises Unsupported for an op without a rule, OutOfTime at the deadline.
    """
    encoder = Encoder(prefix, deadline)
    inputs, balls = _encode_inputs(query, query.cases[cases[0]].inputs, encoder)
    forms = _encode_graph(query, inputs, encoder)
    read = sorted({atom.index for case in cases for atom in query.cases[case].atoms})
    return NetworkFormula(
        inputs=[encoder.symbols[v] for form in inputs for v in form.terms],
        network=encoder.assertions,
        balls=balls,
        margins={index: encoder.expression(forms[index]) for index in read},
        ranges={index: encoder.narrow_range_of(forms[index]) for index in read},
        whole=encoder.whole,
        products=encoder.products,
        enclosed=encoder.enclosed,
    )


def logic(whole: bool, polynomial: bool) -> str:
    """Quantifier-free, linear or not, over integers and reals or reals alone."""
    return f"QF_{'N' if polynomial else 'L'}{'I' if whole else ''}RA"


def input_names(query: Query) -> list[str]:
    """`x[3]` for each entry of the flat input, `x` for a scalar."""
    names = [""] * query.graph.size(query.graph.input)
    for variable in query.groups():
        for i, position in enumerate(variable.positions.tolist()):
            names[position] = f"{variable.name}[{i}]" if variable.shape else variable.name
    return names


# --- input sets -----------------------------------------------------------------------------------


def _encode_inputs(
    query: Query, inputs: InputSet, encoder: Encoder
) -> tuple[list[LinearForm], list[RoundBall]]:
    """A variable for each entry of the flat input, inside the exact input set but for l2 balls."""
    try:
        box = round_inward(inputs, query.integers).box
    except EmptySet:
        box = inputs.box  # Z3 finds no whole number there either
    whole = np.zeros(inputs.size, dtype=bool)
    whole[query.integers] = True
    entries = zip(input_names(query), box.lower, box.upper, whole.tolist(), strict=True)
    forms = [encoder.variable(n, ExactRange(low, up), w) for n, low, up, w in entries]
    balls: list[RoundBall] = []
    for ball in inputs.balls:
        offsets = _offsets(ball, encoder)
        if ball.norm == "l1":
            _encode_l1(ball, offsets, encoder)
        else:
            balls.append(RoundBall(ball, offsets))
    return forms, balls


def _offsets(ball: Ball, encoder: Encoder) -> list[Term]:
    """`scale_i (x_i - center_i)`."""
    entries = zip(ball.positions.tolist(), ball.center, ball.scale, strict=True)
    return [on_line(Line(s, -s * c), encoder.symbols[i]) for i, c, s in entries]


def _encode_l1(ball: Ball, offsets: list[Term], encoder: Encoder) -> None:
    """`|scale_i (x_i - center_i)| <= distance_i` and `sum distance_i <= radius`."""
    distances: list[Term] = []
    for i, offset in zip(ball.positions.tolist(), offsets, strict=True):
        known = ExactRange(Fraction(0), ball.radius)
        form = encoder.variable(f"{encoder.prefix}distance[{i}]", known)
        distance = encoder.expression(form)
        encoder.assertions += [offset <= distance, -offset <= distance]
        distances.append(distance)
    encoder.assertions.append(z3.Sum(distances) <= number(ball.radius))


# --- the graph ------------------------------------------------------------------------------------


def _encode_graph(query: Query, inputs: list[LinearForm], encoder: Encoder) -> list[LinearForm]:
    """The forms of the graph's output."""
    graph = restate(query.graph).graph
    values: dict[NodeId, list[LinearForm]] = {}
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            values[node] = inputs
            continue
        site = Site(node, tuple(graph.shapes[o] for o in operands))
        values[node] = encode_op(op, site, [values[o] for o in operands], encoder)
    return values[graph.output]


# --- points ---------------------------------------------------------------------------------------


def exact_point(model: Any, inputs: list[Term]) -> ExactArray:
    """The values of the inputs in a model; free ones get any value of their range.

    An irrational value, which only a polynomial formula can force, comes back as a rational number
    next to it: that point is a candidate, not a solution.
    """
    return exact([rational(model.eval(symbol, model_completion=True)) for symbol in inputs])

"""Specs written in tests, elaborated; and what their queries say of a point."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph.exact import evaluate_exact
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.query.elaboration.elaborate import Obligation, elaborate
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.query import Query
from specdsl.query.sets import exact
from specdsl.source import Source

HEAD = """spec 1.0
enum Side { L, R }
space Point {
  a: real `m` in [-1, 2]  normalize (mean = 1/3, range = 3)
  b: real in [-2, 1]
}
network f: Point -> real[Side] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, 1/2])
  layer relu
  layer dense(weight = [[1, 2], [-1, 1]], bias = [-1/2, 0])
}
network g: Point -> real[Side] { layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0]) }
"""


def load(text: str, base: Path = Path(), overrides: Mapping[str, str] | None = None) -> Spec:
    program = parse(Source("t.spec", text))
    return check(program, dict(overrides or {}), base=base, working_directory=base)


def obligations(text: str, base: Path = Path()) -> tuple[tuple[Obligation, ...], Resources]:
    resources = Resources()
    return elaborate(load(text, base), resources), resources


def only_query(text: str) -> Query:
    (obligation,), resources = obligations(HEAD + text)
    return obligation.query(resources)


def refusal(text: str) -> SpecError:
    (obligation,), resources = obligations(HEAD + text)
    try:
        obligation.query(resources)
    except SpecError as error:
        return error
    raise AssertionError("nothing was refused")


def unsafe(query: Query, point: list[Fraction]) -> bool:
    """Whether some case of the query has the point."""
    graph, flat = query.graph, exact(np.array(point, dtype=object))
    inside = [case for case in query.cases if flat in case.inputs]
    if not inside:
        return False
    shaped = flat.reshape(graph.shapes[graph.input])
    margins = evaluate_exact(graph, {graph.input: shaped})[graph.output]
    return any(
        all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in case.atoms)
        for case in inside
    )


def network_f(a: Fraction, b: Fraction) -> list[Fraction]:
    """The network `f` of HEAD, by hand."""
    x, y = (a - Fraction(1, 3)) / 3, b
    hidden = [max(x - y, Fraction(0)), max(x + y + Fraction(1, 2), Fraction(0))]
    return [hidden[0] + 2 * hidden[1] - Fraction(1, 2), -hidden[0] + hidden[1]]

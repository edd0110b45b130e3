"""A query as text, for `compile` and for golden tests: the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from specdsl.graph.dump import dump as dump_graph
from specdsl.query.query import Query
from specdsl.query.sets import ExactArray, IndexArray, InputSet

MAX_ENTRIES = 16
"""Longer inputs are shown by their first entries."""


def dump(query: Query) -> str:
    """Name, variables, cases with their exact input sets and atoms, network calls, graph."""
    lines = [f"query {query.name} ({query.kind})", *_variables(query), *_cases(query)]
    if query.smoothing is not None:
        sigma = exact(query.smoothing.sigma)
        lines.append(f"smoothed by Gaussian noise of standard deviation {sigma}")
    for call in query.calls:
        labels = f" ({', '.join(call.labels)})" if call.labels else ""
        ends = (", ".join(nodes) for nodes in (call.inputs, call.outputs))
        lines.append(f"network {call.name}: {' -> '.join(ends)}{labels}")
    return "\n".join(lines) + "\n\n" + dump_graph(query.graph)


def _variables(query: Query) -> Iterator[str]:
    for variable in query.variables:
        shape = f"[{', '.join(map(str, variable.shape))}]" if variable.shape else ""
        unit = f" `{variable.unit}`" if variable.unit else ""
        kind = "int" if np.isin(variable.positions, query.integers).any() else "real"
        yield f"variable {variable.name}: {kind}{shape}{unit} at {_places(variable.positions)}"


def _cases(query: Query) -> Iterator[str]:
    if not query.cases:
        yield "no cases: nothing can violate it"
    shown: dict[int, int] = {}
    for number, case in enumerate(query.cases):
        yield f"case {number}"
        if id(case.inputs) in shown:
            yield f"  inputs as in case {shown[id(case.inputs)]}"
        else:
            shown[id(case.inputs)] = number
            yield from _inputs(case.inputs)
        for atom in case.atoms:
            yield f"  margins[{atom.index}] {'<' if atom.strict else '<='} 0"


def _inputs(inputs: InputSet) -> Iterator[str]:
    box = inputs.box
    for i in range(min(box.size, MAX_ENTRIES)):
        yield f"  {exact(box.lower[i])} <= x[{i}] <= {exact(box.upper[i])}"
    if box.size > MAX_ENTRIES:
        yield f"  ... {box.size - MAX_ENTRIES} more"
    for ball in inputs.balls:
        whole = ball.positions.size == inputs.size
        entries = "x" if whole else f"x[{_places(ball.positions)}]"
        offset = f"{entries} - {_row(ball.center)}"
        weighted = bool((ball.scale != 1).any())
        term = f"{_row(ball.scale)} * ({offset})" if weighted else offset
        yield f"  {ball.norm} norm of {term} <= {exact(ball.radius)}"


def _row(values: ExactArray) -> str:
    dots = ", ..." if values.size > MAX_ENTRIES else ""
    return f"({', '.join(exact(v) for v in values[:MAX_ENTRIES])}{dots})"


def _places(positions: IndexArray) -> str:
    """`3`, `0..9`, or a list where entries do not stand one after another."""
    if positions.size and bool((np.diff(positions) == 1).all()):
        first, last = int(positions[0]), int(positions[-1])
        return str(first) if first == last else f"{first}..{last}"
    dots = ", ..." if positions.size > MAX_ENTRIES else ""
    return ", ".join(map(str, positions[:MAX_ENTRIES].tolist())) + dots


def exact(value: Fraction) -> str:
    """A decimal where the value has a short one, else a fraction."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator != 1 or value.denominator.bit_length() > 64:
        return str(value)
    digits = 0
    while 10**digits % value.denominator:
        digits += 1
    if not digits:
        return str(value)
    whole = str(abs(value.numerator) * 10**digits // value.denominator).rjust(digits + 1, "0")
    return f"{'-' if value < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"

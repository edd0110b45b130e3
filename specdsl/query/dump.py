"""A query as text, for `compile` and for golden tests: the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from specdsl.graph.dump import dump as dump_graph
from specdsl.query.query import Query
from specdsl.query.sets import Box, InputSet

MAX_ENTRIES = 16
"""Longer inputs are shown by their first entries."""


def dump(query: Query) -> str:
    """Name, variables, cases with their exact input sets and atoms, network calls, graph."""
    lines = [f"query {query.name} ({query.kind})", *_variables(query), *_cases(query)]
    for call in query.calls:
        labels = f" ({', '.join(call.labels)})" if call.labels else ""
        lines.append(f"network {call.name}: {call.input} -> {call.output}{labels}")
    return "\n".join(lines) + "\n\n" + dump_graph(query.graph)


def _variables(query: Query) -> Iterator[str]:
    for variable in query.variables:
        shape = f"[{', '.join(map(str, variable.shape))}]" if variable.shape else ""
        unit = f" `{variable.unit}`" if variable.unit else ""
        yield f"variable {variable.name}: real{shape}{unit} at {variable.start}"


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
    if not isinstance(inputs, Box):
        center = ", ".join(exact(v) for v in inputs.center[:MAX_ENTRIES])
        dots = ", ..." if inputs.size > MAX_ENTRIES else ""
        yield f"  {inputs.norm} norm of x - ({center}{dots}) <= {exact(inputs.radius)}"


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

"""Small networks and random VNN-LIB 2.0 files over them, judged by the `vnnlib` package's tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import vnnlib
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.to_onnx import export
from specdsl.query.query import Query
from specdsl.query.sets import exact

Values = dict[str, list[Fraction]]

HEAD = """(vnnlib-version <2.0>)
(declare-network f
  (declare-input X real [1,2])
  (declare-hidden H real [1,3] "act")
  (declare-output Y real [1,2]))
(declare-network g (equal-to f) (declare-input A real [1,2]) (declare-output B real [1,2]))
(declare-network h (declare-input V real [2]) (declare-output W real []))
"""


@cache
def networks() -> dict[str, ImportedNetwork]:
    """`f`: two inputs, three hidden ReLUs called `act`, two outputs. `h`: two inputs, a scalar."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="in")
    weight = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 1.0]])
    node = builder.add(ops.Relu(), builder.add(ops.Dense(weight, np.zeros(3)), x), name="act")
    weight = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -2.0]])
    f = builder.build(builder.add(ops.Dense(weight, np.array([0.0, 1.0])), node, name="out"))
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="in")
    node = builder.add(ops.Abs(), node)
    h = builder.build(builder.add(ops.Dense(np.array([[1.0, -0.5]]), np.array([0.25])), node))
    return {name: load_onnx(export(graph, name), name) for name, graph in (("f", f), ("h", h))}


def say(network: str, point: list[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """Outputs of a network, and the values of its hidden `act` (none for `h`)."""
    graph = networks()[network].graph
    shaped = exact(point).reshape(graph.shapes[graph.input])
    values = evaluate_exact(graph, {graph.input: shaped})
    hidden = values["act"].reshape(-1).tolist() if "act" in values else []
    return values[graph.output].reshape(-1).tolist(), hidden


def completed(inputs: Mapping[str, list[Fraction]]) -> Values:
    """All variables of HEAD."""
    values: Values = dict(inputs)
    values["Y"], values["H"] = say("f", inputs["X"])
    values["B"], _ = say("f", inputs["A"])
    values["W"], _ = say("h", inputs["V"])
    return values


# --- the other reader ----------------------------------------------------------------------------


def judge(text: str) -> Callable[[Values], bool]:
    """Whether all assertions hold at given values, by the tree of the `vnnlib` package."""
    found = vnnlib.parse_query_string(text)
    shapes = {
        d.name: tuple(d.shape)
        for network in found.networks
        for d in (*network.inputs, *network.hidden, *network.outputs)
    }
    return lambda values: all(_truth(a.expr, values, shapes) for a in found.assertions)


def _truth(node: object, values: Mapping[str, list[Fraction]], shapes: object) -> bool:
    if isinstance(node, vnnlib.And):
        return all(_truth(part, values, shapes) for part in node.args)
    if isinstance(node, vnnlib.Or):
        return any(_truth(part, values, shapes) for part in node.args)
    a, b = (_number(side, values, shapes) for side in (node.lhs, node.rhs))  # type: ignore[attr-defined]
    table = {
        vnnlib.LessThan: a < b,
        vnnlib.LessEqual: a <= b,
        vnnlib.GreaterThan: a > b,
        vnnlib.GreaterEqual: a >= b,
        vnnlib.Equal: a == b,
        vnnlib.NotEqual: a != b,
    }
    return table[type(node)]  # type: ignore[index]


def _number(node: object, values: Mapping[str, list[Fraction]], shapes: object) -> Fraction:
    if isinstance(node, vnnlib.Var):
        shape = shapes[node.name]  # type: ignore[index]
        position = int(np.ravel_multi_index(node.indices, shape)) if shape else 0
        return values[node.name][position]
    if isinstance(node, vnnlib.Literal):
        return Fraction(node.lexeme)
    if isinstance(node, vnnlib.Minus):
        first, *rest = (_number(n, values, shapes) for n in (node.head, *node.rest))
        return first - sum(rest)
    if isinstance(node, vnnlib.Negate):
        return -_number(node.expr, values, shapes)
    numbers = [_number(n, values, shapes) for n in node.args]  # type: ignore[attr-defined]
    if isinstance(node, vnnlib.Plus):
        return sum(numbers, Fraction(0))
    result = Fraction(1)
    for number in numbers:
        result *= number
    return result


# --- random files --------------------------------------------------------------------------------

ENTRIES = [f"{v}[0,{i}]" for v in "XYAB" for i in (0, 1)]
ENTRIES += ["H[0,0]", "H[0,1]", "H[0,2]", "V[0]", "V[1]", "W"]
BOUNDS = [f"{v}[0,{i}]" for v in "XA" for i in (0, 1)] + ["V[0]", "V[1]"]

numbers = st.integers(-12, 12).map(lambda n: f"{n / 8:.3f}")
quarters = st.integers(-5, 5).map(lambda n: Fraction(n, 4))


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        parts.map(lambda p: f"(+ {' '.join(p)})"),
        parts.map(lambda p: f"(- {' '.join(p)})"),
        st.tuples(inner, inner).map(lambda p: f"(* {p[0]} {p[1]})"),
        inner.map(lambda p: f"(* {p} {p})"),
    )


expressions = st.recursive(st.sampled_from(ENTRIES) | numbers, _combined, max_leaves=4)
comparisons = st.tuples(
    st.sampled_from(["<=", "<", ">=", ">", "==", "!="]), st.sampled_from(ENTRIES), expressions
).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
formulas = st.recursive(
    comparisons,
    lambda inner: st.tuples(
        st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda p: f"({p[0]} {' '.join(p[1])})"),
    max_leaves=5,
)


@dataclass(frozen=True)
class File:
    """A file, and which inputs it defines by which other entries."""

    text: str
    ties: tuple[tuple[str, str], ...]

    def point(self, drawn: list[Fraction]) -> Values:
        """All values where the free inputs are `drawn`, which has six of them."""
        inputs = {"X": drawn[:2], "A": drawn[2:4], "V": drawn[4:]}
        values = completed(inputs)
        for target, source in self.ties:
            name, position = _place(target)
            inputs[name][position] = values[_place(source)[0]][_place(source)[1]]
            values = completed(inputs)
        return values


def _place(entry: str) -> tuple[str, int]:
    name, _, rest = entry.partition("[")
    return name, int(rest.rstrip("]").split(",")[-1]) if rest else 0


# Definitions in an order in which each can be computed; A and V may take outputs.
TIES = [
    ("A[0,0]", "X[0,1]"),
    ("A[0,1]", "Y[0,1]"),
    ("V[0]", "B[0,0]"),
    ("V[1]", "H[0,2]"),
    ("V[1]", "A[0,0]"),
    ("A[0,1]", "X[0,0]"),
]


@st.composite
def files(draw: st.DrawFn) -> File:
    """Bounds for every input, some ties, one or two random assertions."""
    chosen = draw(st.lists(st.sampled_from(TIES), max_size=3, unique_by=lambda tie: tie[0]))
    chosen.sort(key=TIES.index)
    # An input that is defined by another is computed after it.
    chosen.sort(key=lambda tie: tie[0][0])
    lines = []
    for entry in BOUNDS:
        low = draw(st.sampled_from(["-1.0", "-0.5", "-0.25"]))
        lines.append(f"(assert (and (>= {entry} {low}) (<= {entry} 1.0)))")
    for target, source in chosen:
        sides = draw(st.permutations([target, source]))
        lines.append(f"(assert (== {sides[0]} {sides[1]}))")
    lines += [f"(assert {f})" for f in draw(st.lists(formulas, min_size=1, max_size=2))]
    return File(HEAD + "\n".join(lines) + "\n", tuple(chosen))


def unsafe(query: Query, point: list[Fraction]) -> bool:
    """Whether some case of the query has the flat point."""
    flat = exact(np.array(point, dtype=object))
    graph = query.graph
    shaped = flat.reshape(graph.shapes[graph.input])
    margins = evaluate_exact(graph, {graph.input: shaped})[graph.output].reshape(-1)
    return any(
        flat in case.inputs
        and all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in case.atoms)
        for case in query.cases
    )

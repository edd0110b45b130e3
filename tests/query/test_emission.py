"""The graph of a scene computes what its expressions say, exactly, however entries are merged."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.query.elaboration.questions.emission import emit
from specdsl.query.elaboration.questions.layout import lay_out
from specdsl.query.elaboration.values.regions import Region
from specdsl.query.elaboration.values.scene import OpStep, Scene, piece_value
from specdsl.query.elaboration.values.symbolic import INPUT, Extreme, Linear, entries
from specdsl.query.query import Nonlinear

NUMBERS = st.fractions(min_value=-3, max_value=3, max_denominator=7)
PLACE = Nonlinear("a product", None)


def box(size: int) -> Region:
    bounds = np.array([Fraction(5)] * size, dtype=object)
    return Region((size,), None, -bounds, bounds)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Scene, list[Fraction | Linear]]:
    """A scene of one or two variables with random steps, and its last expressions."""
    scene = Scene()
    known: list[Fraction | Linear] = []
    for name in ("x", "y")[: draw(st.integers(1, 2))]:
        known += list(scene.quantify(name, box(draw(st.integers(1, 3)))).flat)

    def combination() -> Fraction | Linear:
        total: Fraction | Linear = draw(NUMBERS)
        for entry in draw(st.lists(st.sampled_from(known), max_size=3)):
            total = total + entry * draw(NUMBERS)
        return total

    for _ in range(draw(st.integers(0, 4))):
        first, second = (entries([combination(), combination()], (2,)) for _ in range(2))
        match draw(st.integers(0, 4)):
            case 0:
                known += list(scene.elementwise(ops.Abs(), first))
            case 1:
                known += list(scene.elementwise(ops.Relu(), first))
            case 2:
                known += list(scene.multiply(first, second, PLACE))
            case 3:
                known += list(scene.multiply(first, first, PLACE))
            case _:
                kind = draw(st.sampled_from(["max", "min"]))
                known.append(scene.value_of(Extreme(kind, (*first, *second))))
    rows = [combination() for _ in range(draw(st.integers(1, 3)))]
    return scene, rows


def value(entry: object, scene: Scene, point: Mapping[int, Fraction]) -> Fraction:
    """What an expression is at a point of all variables, straight from its definition."""
    if not isinstance(entry, Linear):
        assert isinstance(entry, Fraction)
        return entry
    total = entry.constant
    for (source, position), coefficient in entry.terms:
        if source == INPUT:
            total += coefficient * point[position]
            continue
        step = scene.steps[scene.source(source).step]
        assert isinstance(step, OpStep)
        given_ = [value(operand[position], scene, point) for operand in step.operands]
        if isinstance(step.op, ops.PiecewiseLinear):
            total += coefficient * piece_value(step.op, given_[0])
        else:
            total += coefficient * given_[0] * given_[-1]
    return total


@given(scenes(), st.data())
def test_the_graph_computes_the_expressions(
    made: tuple[Scene, list[Fraction | Linear]], data: st.DataObject
) -> None:
    scene, rows = made
    count = scene.input_size
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    layout = lay_out(scene, data.draw(st.lists(pairs, max_size=2)))
    flat = data.draw(st.lists(NUMBERS, min_size=layout.size, max_size=layout.size))
    point = {i: flat[place] for i, place in enumerate(layout.places.tolist())}
    placed = [row.renamed(layout.places) for row in rows if isinstance(row, Linear)]
    linear = [row for row in placed if isinstance(row, Linear)]
    graph = emit(scene, layout, linear).graph
    shaped = entries(flat, graph.shapes[graph.input])
    found = evaluate_exact(graph, {graph.input: shaped}, nodes=[graph.output])[graph.output]
    expected = [
        value(row, scene, point)
        for row, moved in zip([r for r in rows if isinstance(r, Linear)], placed, strict=True)
        if isinstance(moved, Linear)
    ]
    assert found.reshape(-1)[: len(expected)].tolist() == expected


@given(st.sampled_from([ops.Abs(), ops.Relu(), ops.LeakyRelu(0.25), ops.Clip(-1.0, 0.5)]), NUMBERS)
def test_pieces_have_the_values_of_the_op(op: ops.PiecewiseLinear, x: Fraction) -> None:
    from specdsl.graph.evaluate import evaluate
    from specdsl.graph.graph import GraphBuilder

    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    graph = builder.build(builder.add(op, node))
    said = evaluate(graph, {node: np.array([[float(x)]])})[graph.output]
    assert abs(float(said.item()) - float(piece_value(op, x))) < 1e-12

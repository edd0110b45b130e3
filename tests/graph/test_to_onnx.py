"""What is exported and read back is the same function, up to the float32 rounding of constants."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import export
from tests.graph.random_graphs import graphs, random_points

# Constants are rounded once (6e-8 relative), and layers may double the error a few times.
TOLERANCE = 1e-4


@settings(max_examples=100, deadline=None)
@given(graphs(max_steps=6))
def test_the_runtime_computes_the_graph_from_its_export(graph: Graph) -> None:
    model = export(graph)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    runtime = Runtime(model, "random")
    points = random_points(graph, 3)
    values = evaluate(graph, {graph.input: points})
    largest = max(1.0, *(float(np.abs(v).max(initial=0)) for v in values.values()))
    for point, expected in zip(points, values[graph.output], strict=True):
        found = runtime.run(point.astype(np.float32))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0) <= TOLERANCE * largest


@settings(max_examples=60, deadline=None)
@given(graphs(max_steps=6))
def test_an_exported_graph_can_be_read_back(graph: Graph) -> None:
    again = load_onnx(export(graph), "again", check=False).graph
    points = random_points(graph, 3)
    values = evaluate(graph, {graph.input: points})
    found = evaluate(again, {again.input: points}, [again.output])[again.output]
    largest = max(1.0, *(float(np.abs(v).max(initial=0)) for v in values.values()))
    assert np.abs(found - values[graph.output]).max(initial=0) <= TOLERANCE * largest


def test_any_piecewise_linear_op_is_exported_by_its_facts() -> None:
    class Wave(ops.PiecewiseLinear):
        breakpoints = (-1.0, 0.5)
        slopes = (0.25, -1.0, 3.0)
        anchor = 0.75

    builder = GraphBuilder()
    graph = builder.build(builder.add(Wave(), builder.add(ops.Input((1, 9)), name="x")))
    point = np.linspace(-3, 3, 9, dtype=np.float32).reshape(1, 9)
    found = Runtime(export(graph), "wave").run(point)
    assert np.allclose(found, evaluate(graph, {"x": point[np.newaxis]})[graph.output][0])


def beyond_float32() -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    huge = np.array(Fraction(10) ** 40, dtype=object)
    return builder.build(builder.add(ops.Scale(huge, np.array(0.0)), x, name="big"))


def test_constants_beyond_float32_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        export(beyond_float32(), "net")
    assert caught.value.diagnostics[0].code == "E0630"
    assert "`big`" in caught.value.diagnostics[0].message


def test_names_of_the_graph_do_not_clash_with_those_of_the_export() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="constant.0")
    y = builder.add(ops.Dense(np.eye(2), np.ones(2)), x, name="constant.1")
    graph = builder.build(builder.add(ops.Relu(), y, name="constant.1.0"))
    found = Runtime(export(graph), "clash").run(np.ones((1, 2), np.float32))
    assert found.tolist() == [[2.0, 2.0]]


def test_so_are_constants_beyond_float64() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    beyond = np.array(Fraction(10) ** 400, dtype=object)
    graph = builder.build(builder.add(ops.Scale(beyond, np.array(0.0)), x))
    with pytest.raises(SpecError):
        export(graph)

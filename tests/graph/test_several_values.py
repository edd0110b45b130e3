"""Models with several inputs, several outputs and named values inside, there and back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import export, expose
from tests.graph.onnx_models import floats

TOLERANCE = 1e-4


def two_to_three() -> onnx.ModelProto:
    """`b` before `a` and `left` before `right`: no alphabet decides, and `right` stands twice."""
    shapes = {"b": [1, 3], "a": [1, 2]}
    nodes = [
        helper.make_node("MatMul", ["b", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Add", ["r", "a"], ["right"]),
        helper.make_node("Mul", ["r", "a"], ["left"]),
        helper.make_node("Identity", ["right"], ["again"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])
        for name in ("left", "right", "again")
    ]
    graph = helper.make_graph(
        nodes,
        "several",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        outputs,
        [numpy_helper.from_array(floats(3, 2), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_inputs_and_outputs_stand_in_the_order_of_the_model() -> None:
    network = load_onnx(two_to_three().SerializeToString(), "several")
    assert network.inputs == ("b", "a")
    assert network.output_names == ("left", "right", "again")
    assert network.outputs == ("left", "right", "right")
    assert [network.graph.size(n) for n in network.inputs] == [3, 2]


def test_every_computed_value_has_its_node() -> None:
    network = load_onnx(two_to_three().SerializeToString(), "several")
    assert set(network.value_nodes) == {"h", "r", "right", "left", "again"}
    point = {"b": floats(1, 3, seed=1), "a": floats(1, 2, seed=2)}
    batch = {name: value[np.newaxis] for name, value in point.items()}
    values = evaluate(network.graph, batch)
    runtime = Runtime(network.model, "several", hidden=("r", "h", "left"))
    said = runtime.run_many([point["b"], point["a"]])
    names = (*network.output_names, "r", "h", "left")
    assert len(said) == len(names)
    for name, found in zip(names, said, strict=True):
        assert np.allclose(values[network.value_nodes[name]][0], found, atol=TOLERANCE)
    assert np.array_equal(runtime.run_many([point["b"], point["a"]])[0], said[0])


def test_values_that_no_output_needs_are_left_out() -> None:
    proto = two_to_three()
    proto.graph.node.append(helper.make_node("Abs", ["h"], ["unused"]))
    assert "unused" not in load_onnx(proto.SerializeToString(), "several").value_nodes


def test_old_exporters_list_weights_among_the_inputs() -> None:
    proto = two_to_three()
    listed = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2])
    proto.graph.input.insert(1, listed)
    network = load_onnx(proto.SerializeToString(), "several")
    assert network.inputs == ("b", "a")
    said = Runtime(network.model, "several").run_many([floats(1, 3), floats(1, 2)])
    assert len(said) == 3


def test_a_wrong_number_of_points_is_an_error() -> None:
    runtime = Runtime(two_to_three().SerializeToString(), "several")
    with pytest.raises(ValueError, match="zip"):
        runtime.run_many([floats(1, 3)])


def test_a_misread_second_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from specdsl.graph.onnx_import import load

    # `right = r + a` read as `r - a`: the first output does not show it.
    rules = {**load.RULES, "Add": load.RULES["Sub"]}
    monkeypatch.setattr(load, "RULES", rules)
    with pytest.raises(SpecError) as caught:
        load_onnx(two_to_three().SerializeToString(), "several")
    assert caught.value.diagnostics[0].code == "E0610"


@st.composite
def several(draw: st.DrawFn) -> Graph:
    """One to three inputs of three entries; a chain of ops on them with one to three outputs."""
    builder = GraphBuilder()
    count = draw(st.integers(1, 3))
    nodes = [builder.add(ops.Input((1, 3)), name=f"x{i}") for i in range(count)]
    pick = st.integers(0, 10**6)
    for _ in range(draw(st.integers(0, 5))):
        left, right = (nodes[draw(pick) % len(nodes)] for _ in range(2))
        op = draw(st.sampled_from((ops.Sum((1.0, -0.5)), ops.Multiply(), ops.Relu(), ops.Abs())))
        operands = (left, right) if op.arity != 1 else (left,)
        nodes.append(builder.add(ops.Clip(-2.0, 2.0), builder.add(op, *operands)))
    outputs = [nodes[draw(pick) % len(nodes)] for _ in range(draw(st.integers(1, 3)))]
    return builder.build(*outputs)


@settings(max_examples=60, deadline=None)
@given(several(), st.integers(0, 2**32 - 1))
def test_exports_keep_inputs_outputs_and_names(graph: Graph, seed: int) -> None:
    model = export(graph)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    rng = np.random.default_rng(seed)
    points = {n: rng.standard_normal((1, 1, 3)).astype(np.float32) for n in graph.inputs}
    expected = evaluate(graph, points, graph.outputs)
    said = Runtime(model, "several").run_many([points[n][0] for n in graph.inputs])
    again = load_onnx(model, "again")
    assert again.inputs == graph.inputs
    found = evaluate(again.graph, points, again.outputs)
    for node, other, value in zip(graph.outputs, again.outputs, said, strict=True):
        assert np.allclose(expected[node][0], value, atol=TOLERANCE)
        assert np.allclose(expected[node], found[other], atol=TOLERANCE)
    first = dict.fromkeys(n for n in graph.outputs if n not in graph.inputs)
    assert [n for n in again.output_names if n in graph.shapes] == list(first)


def test_exposed_values_are_further_outputs() -> None:
    model = expose(two_to_three().SerializeToString(), ["h", "left", "h"])
    outputs = [o.name for o in onnx.load_model_from_string(model).graph.output]
    assert outputs == ["left", "right", "again", "h"]

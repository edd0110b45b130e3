"""What a file may hold: element types, places of constants, inputs and outputs of every kind."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.onnx_import.read import read
from specdsl.graph.onnx_import.wire import SMALL, outline
from tests.graph.onnx_models import Node, floats, model

NUMBERS = {
    TensorProto.FLOAT: [1.5, -2.25, float(np.float32(0.1))],
    TensorProto.DOUBLE: [1.5, -2.25, 0.1],
    TensorProto.FLOAT16: [1.5, -2.25, 0.0999755859375],
    TensorProto.BFLOAT16: [1.5, -2.25, 0.10009765625],
    TensorProto.INT8: [-128, 127, 3],
    TensorProto.UINT8: [0, 255, 3],
    TensorProto.INT32: [-(2**20), 2**20, 3],
    TensorProto.INT64: [-(2**20), 2**20, 3],
    TensorProto.BOOL: [0, 1, 1],
}
# Enough entries for the data to stay in the file, in every element type.
REPEATS = [1, SMALL]


def with_constant(tensor: onnx.TensorProto, *, as_node: bool) -> bytes:
    """`y = x + Cast(tensor)`."""
    size = int(np.prod(tensor.dims))
    nodes: list[Node] = [
        ("Cast", ["c"], ["f"], {"to": TensorProto.FLOAT}),
        ("Add", ["x", "f"], ["y"], {}),
    ]
    if as_node:
        nodes.insert(0, ("Constant", [], ["c"], {"value": tensor}))
    proto = model(nodes, [1, size], output_shape=[1, size])
    if not as_node:
        proto.graph.initializer.append(tensor)
    return proto.SerializeToString()


def value_at_zero(network: ImportedNetwork) -> np.ndarray:
    graph = network.graph
    zeros = {n: np.zeros((1, *graph.shapes[n])) for n in graph.inputs}
    return evaluate(graph, zeros, graph.outputs)[graph.output].reshape(-1)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("element", NUMBERS)
def test_constants_of_every_element_type_are_read_exactly(
    element: int, repeats: int, raw: bool, as_node: bool
) -> None:
    values = NUMBERS[element] * repeats
    tensor = helper.make_tensor("c", element, [len(values)], values)
    if raw:
        as_array = numpy_helper.to_array(tensor)
        for field in ("float_data", "int32_data", "int64_data", "double_data"):
            tensor.ClearField(field)
        tensor.raw_data = as_array.tobytes()
    # Whether the runtime has a cast from each is its own affair.
    network = load_onnx(with_constant(tensor, as_node=as_node), "net", check=False)
    np.testing.assert_array_equal(value_at_zero(network), np.array(values, np.float64))


def test_booleans_are_true_whatever_byte_says_so() -> None:
    tensor = helper.make_tensor("c", TensorProto.BOOL, [3], b"\x00\x02\xff", raw=True)
    network = load_onnx(with_constant(tensor, as_node=False), "net", check=False)
    np.testing.assert_array_equal(value_at_zero(network), [0, 1, 1])


@pytest.mark.parametrize(
    ("element", "name"), [(TensorProto.UINT16, "uint16"), (TensorProto.STRING, "string")]
)
def test_other_element_types_are_refused_by_name(element: int, name: str) -> None:
    data: list[Any] = [b"a"] * 2 if element == TensorProto.STRING else [1, 2]
    tensor = helper.make_tensor("c", element, [2], data)
    with pytest.raises(SpecError) as caught:
        load_onnx(with_constant(tensor, as_node=False), "net")
    (found,) = caught.value.diagnostics
    assert (found.code, name in found.message) == ("E0605", True)


def test_large_float32_weights_are_views_into_the_file() -> None:
    nodes: list[Node] = [("MatMul", ["x", "w"], ["y"], {})]
    content = model(nodes, [1, 64], {"w": floats(64, 32)}).SerializeToString()
    weight = read(content, "net", ["MatMul"]).initializers["w"]
    assert not weight.flags.owndata
    assert not weight.flags.writeable
    np.testing.assert_array_equal(weight, floats(64, 32))
    network = load_onnx(content, "net")
    (dense,) = (op for _, op, _ in network.graph if isinstance(op, ops.Dense))
    assert dense.weight.dtype == np.float32


@given(st.binary(max_size=200), st.integers(0, 4))
def test_an_outline_of_anything_stands_for_the_same_bytes(junk: bytes, place: int) -> None:
    nodes: list[Node] = [("MatMul", ["x", "w"], ["h"], {}), ("MatMul", ["h", "v"], ["y"], {})]
    weights = {"w": floats(40, 30), "v": floats(30, 20, seed=1)}
    content = model(nodes, [1, 40], weights).SerializeToString()
    cut = len(content) * place // 4
    mixed = content[:cut] + junk + content[cut:]
    found = outline(mixed, "net")
    if not found.spans:
        assert found.model == mixed
    for tensor in outline(content, "net").spans:
        assert tensor[1] - tensor[0] in {4 * 40 * 30, 4 * 30 * 20}


def test_a_marker_in_a_file_is_data_like_any_other() -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [3], b"weights at 0", raw=True)
    network = load_onnx(with_constant(tensor, as_node=False), "net")
    expected = np.frombuffer(b"weights at 0", "<f4")
    np.testing.assert_array_equal(value_at_zero(network), expected.astype(np.float64))


# --- inputs and outputs --------------------------------------------------------------------------


def several(
    inputs: dict[str, tuple[int, list[int | str]]], outputs: dict[str, int], nodes: list[Node]
) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(o, list(i), list(r), **a) for o, i, r, a in nodes],
        "several",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, ["n", "m"]) for n, kind in outputs.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_a_named_batch_axis_is_one_wherever_it_stands() -> None:
    content = several(
        {"a": (TensorProto.FLOAT, ["n", 3]), "b": (TensorProto.FLOAT, [2, "n"])},
        {"y": TensorProto.FLOAT},
        [("MatMul", ["b", "a"], ["y"], {})],
    )
    graph = load_onnx(content, "net", check=False).graph
    assert [graph.shapes[n] for n in graph.inputs] == [(1, 3), (2, 1)]


@pytest.mark.parametrize("extent", ["m", 0])
def test_other_dynamic_axes_are_refused_with_help(extent: int | str) -> None:
    content = several(
        {"x": (TensorProto.FLOAT, ["n", extent])},
        {"y": TensorProto.FLOAT},
        [("Relu", ["x"], ["y"], {})],
    )
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "net")
    (found,) = caught.value.diagnostics
    assert found.code == "E0608"
    assert found.help


def test_float64_networks_agree_with_the_runtime() -> None:
    nodes: list[Node] = [("Mul", ["a", "b"], ["p"], {}), ("Sub", ["p", "a"], ["y"], {})]
    inputs: dict[str, tuple[int, list[int | str]]] = {
        name: (TensorProto.DOUBLE, ["n", 4]) for name in "ab"
    }
    network = load_onnx(several(inputs, {"y": TensorProto.DOUBLE}, nodes), "net")
    assert [network.graph.shapes[n] for n in network.inputs] == [(1, 4), (1, 4)]


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL])
def test_other_inputs_are_refused_by_name(element: int) -> None:
    content = several({"x": (element, ["n", 4])}, {"y": element}, [("Not", ["x"], ["y"], {})])
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "net")
    (found,) = caught.value.diagnostics
    assert found.code == "E0607"
    assert TensorProto.DataType.Name(element).lower() in found.message


def test_outputs_may_be_whole_numbers_and_truth_values() -> None:
    content = several(
        {"x": (TensorProto.FLOAT, ["n", 4])},
        {"largest": TensorProto.INT64, "positive": TensorProto.BOOL, "y": TensorProto.FLOAT},
        [
            ("ArgMax", ["x"], ["largest"], {"axis": 1}),
            ("Constant", [], ["zero"], {"value_float": 0.0}),
            ("Greater", ["x", "zero"], ["positive"], {}),
            ("Relu", ["x"], ["y"], {}),
        ],
    )
    network = load_onnx(content, "net")
    point = {network.graph.input: np.array([[[-1.0, 3.0, 2.0, -4.0]]])}
    values = evaluate(network.graph, point, network.outputs)
    found = [values[n].reshape(-1).tolist() for n in network.outputs]
    assert found == [[1.0], [0.0, 1.0, 1.0, 0.0], [0.0, 3.0, 2.0, 0.0]]


def test_initializers_among_the_inputs_are_constants() -> None:
    proto = model([("MatMul", ["x", "w"], ["y"], {})], [1, 3], {"w": floats(3, 2)}, opset=8)
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2]))
    network = load_onnx(proto.SerializeToString(), "net")
    assert network.inputs == ("x",)


def test_gzipped_networks_are_read(tmp_path: Path) -> None:
    content = model([("Relu", ["x"], ["y"], {})], [1, 3]).SerializeToString()
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(content))
    assert load_onnx(read_bytes(path), "net").model == content


def test_the_unpacked_size_has_a_limit_and_the_ratio_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(bytes(2**20)))
    assert len(read_bytes(path, limit=2**20)) == 2**20
    with pytest.raises(SpecError) as caught:
        read_bytes(path, limit=2**20 - 1)
    assert caught.value.diagnostics[0].code == "E0503"

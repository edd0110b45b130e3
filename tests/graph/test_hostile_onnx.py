"""Hostile and broken files: each is a diagnostic with a code, at once, and never a traceback."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from specdsl.diagnostics import SpecError
from specdsl.graph.onnx_import.load import load_onnx
from tests.graph.onnx_models import Node, floats, integers, model

# One second is generous for files of a few hundred bytes on a busy machine.
MAX_SECONDS = 1.0


def refusal(content: bytes) -> str:
    """The code of the diagnostic that loading gives."""
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "hostile.onnx")
    assert time.perf_counter() - start < MAX_SECONDS
    (found,) = caught.value.diagnostics
    assert found.message[0].islower()
    assert not found.message.endswith(".")
    return found.code


def small() -> onnx.ModelProto:
    weights = {"w1": floats(3, 4), "b1": floats(4), "w2": floats(4, 2), "b2": floats(2)}
    nodes: list[Node] = [
        ("Gemm", ["x", "w1", "b1"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("Gemm", ["r", "w2", "b2"], ["y"], {"alpha": 0.5}),
    ]
    return model(nodes, [1, 3], weights)


def test_the_small_model_itself_loads() -> None:
    assert len(load_onnx(small().SerializeToString(), "small").graph) == 4


def test_every_truncation_is_refused() -> None:
    content = small().SerializeToString()
    # Where the cut falls between two fields that may be missing, a shorter model remains.
    for length in [*range(0, len(content), 97), *range(len(content) - 40, len(content) - 12)]:
        try:
            load_onnx(content[:length], "cut")
        except SpecError:
            continue
        pytest.fail(f"the first {length} bytes load")


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(SpecError):
        load_onnx(content, "random")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_models_load_or_are_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(small().SerializeToString())
    for position, value in changes:
        content[position % len(content)] = value
    with contextlib.suppress(SpecError):
        load_onnx(bytes(content), "mutated")


def test_an_empty_file_and_a_pickle_are_no_models() -> None:
    assert refusal(b"") == "E0600"
    assert refusal(b"\x80\x04\x95\x1e\x00\x00\x00") == "E0600"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    proto = small()
    weight = floats(3, 4)
    weight[1, 2] = value
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
    with pytest.raises(SpecError) as caught:
        load_onnx(proto.SerializeToString(), "net")
    (found,) = caught.value.diagnostics
    assert found.code == "E0606"
    assert "`w1`" in found.message
    assert "[1, 2]" in found.message


def test_an_attribute_that_is_not_finite_is_refused() -> None:
    proto = small()
    proto.graph.node[2].attribute[0].f = float("nan")
    assert refusal(proto.SerializeToString()) == "E0606"


def test_a_name_that_nothing_computes() -> None:
    proto = small()
    proto.graph.node[1].input[0] = "missing"
    assert refusal(proto.SerializeToString()) == "E0601"


def test_a_cycle() -> None:
    proto = small()
    proto.graph.node[0].input[0] = "r"
    assert refusal(proto.SerializeToString()) == "E0601"


def test_a_name_computed_twice() -> None:
    proto = small()
    proto.graph.node[1].output[0] = "h"
    proto.graph.node[2].input[0] = "h"
    assert refusal(proto.SerializeToString()) == "E0601"


def test_an_output_that_nothing_computes() -> None:
    proto = small()
    proto.graph.output[0].name = "nowhere"
    assert refusal(proto.SerializeToString()) == "E0601"


def test_a_shape_without_data() -> None:
    proto = small()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([1_000_000, 1_000_000])
    assert refusal(proto.SerializeToString()) == "E0602"
    proto.graph.initializer[0].dims[0] = 5
    proto.graph.initializer[0].dims[1] = 4
    assert refusal(proto.SerializeToString()) == "E0601"
    proto.graph.initializer[0].dims[0] = -3
    assert refusal(proto.SerializeToString()) == "E0601"


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "weights.bin"])
def test_external_data_are_never_opened(location: str) -> None:
    proto = small()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    assert refusal(proto.SerializeToString()) == "E0603"
    tensor.data_location = TensorProto.DEFAULT
    assert refusal(proto.SerializeToString()) == "E0603"


def test_external_data_in_a_constant_node_are_refused() -> None:
    tensor = numpy_helper.from_array(floats(3), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    nodes: list[Node] = [
        ("Constant", [], ["c"], {"value_float": 1.0}),
        ("Add", ["x", "c"], ["y"], {}),
    ]
    proto = model(nodes, [1, 3])
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    proto.graph.node[0].CopyFrom(constant)
    assert refusal(proto.SerializeToString()) == "E0603"


def test_a_custom_domain() -> None:
    proto = small()
    proto.graph.node[1].domain = "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert refusal(proto.SerializeToString()) == "E0613"


@pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
def test_control_flow(op: str) -> None:
    proto = small()
    body = helper.make_graph([helper.make_node("Relu", ["h"], ["r"])], "body", [], [])
    proto.graph.node[1].CopyFrom(helper.make_node(op, ["h"], ["r"], body=body))
    assert refusal(proto.SerializeToString()) == "E0612"


def test_a_local_function() -> None:
    proto = small()
    opsets = [helper.make_opsetid("", 13)]
    node = helper.make_node("Relu", ["a"], ["b"])
    proto.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [node], opsets))
    assert refusal(proto.SerializeToString()) == "E0612"


@pytest.mark.parametrize("extent", [0, -1, 2**40])
def test_impossible_extents_of_the_input(extent: int) -> None:
    proto = small()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = extent
    assert refusal(proto.SerializeToString()) in {"E0608", "E0602"}


def test_an_input_without_shape() -> None:
    proto = small()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert refusal(proto.SerializeToString()) == "E0608"


def test_inputs_and_outputs_are_there_floats_and_different() -> None:
    proto = small()
    proto.graph.input.add().CopyFrom(proto.graph.input[0])
    assert refusal(proto.SerializeToString()) == "E0601"
    proto = small()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert refusal(proto.SerializeToString()) == "E0607"
    proto = small()
    del proto.graph.input[0]
    assert refusal(proto.SerializeToString()) == "E0607"
    proto = small()
    del proto.graph.output[0]
    assert refusal(proto.SerializeToString()) == "E0607"


def test_too_many_nodes() -> None:
    chain = [("Relu", [f"n{i}"], [f"n{i + 1}"], {}) for i in range(50_001)]
    proto = model([("Relu", ["x"], ["n0"], {})], [1, 1], output="n0", output_shape=[1, 1])
    proto.graph.node.extend(helper.make_node(o, i, r) for o, i, r, _ in chain)
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load_onnx(proto.SerializeToString(), "chain")
    assert caught.value.diagnostics[0].code == "E0602"
    assert time.perf_counter() - start < MAX_SECONDS


BOMBS: dict[str, tuple[list[Node], dict[str, np.ndarray]]] = {
    "expand": ([("Expand", ["x", "s"], ["y"], {})], {"s": integers(10**6, 10**6, 3)}),
    "constant of shape": (
        [("ConstantOfShape", ["s"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})],
        {"s": integers(10**6, 10**6)},
    ),
    "doubling": (
        [
            ("Concat", ["x", "x"], ["n0"], {"axis": 1}),
            *[("Concat", [f"n{i}"] * 2, [f"n{i + 1}"], {"axis": 1}) for i in range(60)],
            ("Relu", ["n60"], ["y"], {}),
        ],
        {},
    ),
    "padding": ([("Pad", ["x", "p"], ["y"], {})], {"p": integers(0, 10**12, 0, 0)}),
    "gather": (
        [
            ("Gather", ["x", "i"], ["n"], {"axis": 1}),
            *[
                ("Gather", ["n" if i == 0 else f"n{i}", "i"], [f"n{i + 1}"], {"axis": 1})
                for i in range(5)
            ],
            ("Relu", ["n5"], ["y"], {}),
        ],
        {"i": np.zeros((100, 100), dtype=np.int64)},
    ),
    "outer sum": (
        [
            ("Reshape", ["x", "column"], ["c"], {}),
            ("Expand", ["c", "tall"], ["t"], {}),
            ("Transpose", ["t"], ["u"], {}),
            ("Add", ["t", "u"], ["y"], {}),
        ],
        {"column": integers(3, 1), "tall": integers(1, 1), "_": integers(1)},
    ),
}


@pytest.mark.parametrize("name", ["expand", "constant of shape", "doubling", "padding", "gather"])
def test_values_that_explode_are_refused(name: str) -> None:
    nodes, constants = BOMBS[name]
    proto = model(nodes, [1, 3], constants, output_shape=["n", "m"])
    assert refusal(proto.SerializeToString()) == "E0602"


MALFORMED: dict[str, tuple[list[Node], list[int], dict[str, np.ndarray]]] = {
    "strides zero": (
        [("Conv", ["x", "w"], ["y"], {"strides": [0, 1]})],
        [1, 1, 4, 4],
        {"w": floats(1, 1, 2, 2)},
    ),
    "strides too short": (
        [("Conv", ["x", "w"], ["y"], {"strides": [1]})],
        [1, 1, 4, 4],
        {"w": floats(1, 1, 2, 2)},
    ),
    "negative pads": (
        [("Conv", ["x", "w"], ["y"], {"pads": [-1, 0, 0, 0]})],
        [1, 1, 4, 4],
        {"w": floats(1, 1, 2, 2)},
    ),
    "groups": (
        [("Conv", ["x", "w"], ["y"], {"group": 3})],
        [1, 2, 4, 4],
        {"w": floats(4, 1, 2, 2)},
    ),
    "no groups": (
        [("Conv", ["x", "w"], ["y"], {"group": 0})],
        [1, 1, 4, 4],
        {"w": floats(1, 1, 2, 2)},
    ),
    "large kernel": ([("Conv", ["x", "w"], ["y"], {})], [1, 1, 2, 2], {"w": floats(1, 1, 3, 3)}),
    "empty kernel": ([("Conv", ["x", "w"], ["y"], {})], [1, 1, 2, 2], {"w": floats(1, 1, 0, 3)}),
    "no filters": ([("Conv", ["x", "w"], ["y"], {})], [1, 1, 2, 2], {"w": floats(0, 1, 1, 1)}),
    "no channels": ([("Conv", ["x", "w"], ["y"], {})], [1, 1, 2, 2], {"w": floats(1, 0, 1, 1)}),
    "axis": ([("Flatten", ["x"], ["y"], {"axis": 9})], [1, 3], {}),
    "perm": ([("Transpose", ["x"], ["y"], {"perm": [0, 0]})], [1, 3], {}),
    "two unknown extents": ([("Reshape", ["x", "s"], ["y"], {})], [1, 6], {"s": integers(-1, -1)}),
    "kept extent": ([("Reshape", ["x", "s"], ["y"], {})], [1, 6], {"s": integers(1, 2, 0)}),
    "not divisible": ([("Reshape", ["x", "s"], ["y"], {})], [1, 6], {"s": integers(-1, 4)}),
    "rest of nothing": (
        [("Reshape", ["x", "s"], ["y"], {"allowzero": 1})],
        [1, 6],
        {"s": integers(0, -1)},
    ),
    "float target": ([("Reshape", ["x", "s"], ["y"], {})], [1, 6], {"s": floats(2)}),
    "gather outside": ([("Gather", ["x", "i"], ["y"], {"axis": 1})], [1, 3], {"i": integers(7)}),
    "split sizes": ([("Split", ["x", "s"], ["y"], {"axis": 1})], [1, 3], {"s": integers(2)}),
    "slice lengths": (
        [("Slice", ["x", "a", "b"], ["y"], {})],
        [1, 3],
        {"a": integers(0), "b": integers(1, 1)},
    ),
    "slice to nothing": (
        [("Slice", ["x", "a", "b"], ["y"], {})],
        [1, 3],
        {"a": integers(0), "b": integers(0)},
    ),
    "step zero": (
        [("Slice", ["x", "a", "a", "a", "a"], ["y"], {})],
        [1, 3],
        {"a": integers(0)},
    ),
    "pads of another rank": ([("Pad", ["x", "p"], ["y"], {})], [1, 3], {"p": integers(1, 1)}),
    "vector batch norm": (
        [("BatchNormalization", ["x", "v", "v", "v", "v"], ["y"], {})],
        [3],
        {"v": np.ones(3, np.float32)},
    ),
    "channels": (
        [("BatchNormalization", ["x", "v", "v", "v", "v"], ["y"], {})],
        [1, 3],
        {"v": np.ones(2, np.float32)},
    ),
    "matrices in batches that differ": (
        [("MatMul", ["x", "w"], ["y"], {})],
        [2, 1, 3],
        {"w": floats(3, 3, 4)},
    ),
    "no pool kernel": ([("AveragePool", ["x"], ["y"], {"kernel_shape": [0]})], [1, 1, 3], {}),
    "missing operand": ([("Add", ["x", ""], ["y"], {})], [1, 3], {}),
    "constant with two values": (
        [("Constant", [], ["y"], {"value_float": 1.0, "value_int": 1})],
        [1, 3],
        {},
    ),
    "constant text": ([("Constant", [], ["y"], {"value_string": "a"})], [1, 3], {}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_nodes_are_refused(name: str) -> None:
    nodes, extent, constants = MALFORMED[name]
    proto = model(nodes, extent, constants, output_shape=["n"])
    assert refusal(proto.SerializeToString()).startswith("E06")

"""Every supported form of every op computes what ONNX Runtime computes: `load_onnx` compares."""

from __future__ import annotations

import gzip
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.onnx_import.rules import RULES
from tests.graph.onnx_models import floats, integers, model, one_node

EMPTY = np.float32(0.0)

FORMS = {
    "gemm": one_node("Gemm", [1, 3], {"w": floats(3, 4), "b": floats(4)}),
    "gemm transB": one_node("Gemm", [1, 3], {"w": floats(4, 3), "b": floats(4)}, transB=1),
    "gemm scaled": one_node(
        "Gemm", [1, 3], {"w": floats(3, 4), "b": floats(4)}, alpha=0.3, beta=-1.7
    ),
    "gemm without bias": one_node("Gemm", [1, 3], {"w": floats(3, 4)}),
    "gemm scalar bias": one_node("Gemm", [1, 3], {"w": floats(3, 4), "b": floats()}),
    "gemm row bias": one_node("Gemm", [1, 3], {"w": floats(3, 4), "b": floats(1, 4)}),
    "gemm transA": one_node("Gemm", [3, 2], {"w": floats(3, 4), "b": floats(2, 1)}, transA=1),
    "gemm matrix bias": one_node("Gemm", [2, 3], {"w": floats(3, 4), "b": floats(2, 4)}),
    "gemm constant left": one_node(
        "Gemm", [3, 2], {"w": floats(4, 3), "b": floats(4, 2)}, operands=["w", "x", "b"]
    ),
    "gemm constant left turned": one_node(
        "Gemm", [2, 3], {"w": floats(3, 4)}, operands=["w", "x"], transA=1, transB=1
    ),
    "matmul": one_node("MatMul", [1, 3], {"w": floats(3, 4)}),
    "matmul more axes": one_node("MatMul", [2, 5, 3], {"w": floats(3, 4)}),
    "matmul vector": one_node("MatMul", [2, 3], {"w": floats(3)}),
    "matmul of a vector": one_node("MatMul", [3], {"w": floats(3, 4)}),
    "matmul flat batch": one_node("MatMul", [1, 2, 3], {"w": floats(1, 3, 4)}),
    "matmul left": one_node("MatMul", [3, 2], {"w": floats(4, 3)}, operands=["w", "x"]),
    "matmul left of vector": one_node("MatMul", [3], {"w": floats(4, 3)}, operands=["w", "x"]),
    "matmul left vector": one_node("MatMul", [3, 2], {"w": floats(3)}, operands=["w", "x"]),
    "matmul left batch": one_node("MatMul", [5, 3, 2], {"w": floats(4, 3)}, operands=["w", "x"]),
    "add": one_node("Add", [1, 3], {"c": floats(3)}),
    "add larger": one_node("Add", [1, 3], {"c": floats(2, 1, 1)}),
    "add itself": one_node("Add", [2, 3], operands=["x", "x"]),
    "sum": one_node("Sum", [1, 3], {"c": floats(2, 3)}, operands=["x", "c", "x"]),
    "sub": one_node("Sub", [1, 3], {"c": floats(1, 3)}),
    "sub from": one_node("Sub", [1, 3], {"c": floats(2, 3)}, operands=["c", "x"]),
    "mul": one_node("Mul", [2, 3], {"c": floats(2, 1)}),
    "mul by": one_node("Mul", [2, 3], {"c": floats()}, operands=["c", "x"]),
    "mul itself": one_node("Mul", [2, 3], operands=["x", "x"]),
    "abs": one_node("Abs", [2, 3]),
    "pow": one_node("Pow", [2, 3], {"c": np.array(2.0, np.float32)}),
    "pow five": one_node("Pow", [2, 3], {"c": np.array([5, 5, 5])}),
    "pow one": one_node("Pow", [2, 3], {"c": np.array(1)}),
    "max": one_node("Max", [2, 3], {"c": floats(3), "d": floats(2, 1, 3)}),
    "max constant first": one_node("Max", [2, 3], {"c": floats(3)}, operands=["c", "x"]),
    "min": one_node("Min", [2, 3], {"c": floats(3)}),
    "max of one": one_node("Max", [2, 3], operands=["x"]),
    "div": one_node("Div", [2, 3], {"c": floats(3) + 3}),
    "neg": one_node("Neg", [2, 3]),
    "conv": one_node("Conv", [1, 2, 7, 6], {"w": floats(4, 2, 3, 2), "b": floats(4)}),
    "conv geometry": one_node(
        "Conv",
        [1, 2, 9, 8],
        {"w": floats(4, 2, 3, 2)},
        strides=[2, 1],
        pads=[1, 0, 2, 3],
        dilations=[1, 2],
    ),
    "conv groups": one_node("Conv", [1, 4, 5, 5], {"w": floats(6, 2, 3, 3)}, group=2),
    "conv 1d": one_node("Conv", [1, 2, 9], {"w": floats(3, 2, 4)}, strides=[3], pads=[1, 2]),
    "conv 3d": one_node("Conv", [1, 1, 4, 5, 6], {"w": floats(2, 1, 2, 3, 2)}),
    "conv two samples": one_node("Conv", [2, 1, 4, 4], {"w": floats(3, 1, 2, 2)}),
    "conv same upper": one_node(
        "Conv", [1, 1, 7, 6], {"w": floats(2, 1, 4, 3)}, auto_pad="SAME_UPPER", strides=[2, 2]
    ),
    "conv same lower": one_node(
        "Conv", [1, 1, 7, 6], {"w": floats(2, 1, 4, 3)}, auto_pad="SAME_LOWER", strides=[2, 3]
    ),
    "conv valid": one_node("Conv", [1, 1, 7, 6], {"w": floats(2, 1, 4, 3)}, auto_pad="VALID"),
    "batch norm": one_node(
        "BatchNormalization",
        [1, 3, 2, 2],
        {"g": floats(3), "b": floats(3, seed=1), "m": floats(3), "v": np.abs(floats(3)) + 0.1},
        epsilon=1e-3,
    ),
    "batch norm vector": one_node(
        "BatchNormalization",
        [1, 3],
        {"g": floats(3), "b": floats(3, seed=1), "m": floats(3), "v": np.abs(floats(3)) + 0.1},
    ),
    "relu": one_node("Relu", [1, 5]),
    "leaky relu": one_node("LeakyRelu", [1, 5], alpha=0.2),
    "leaky relu default": one_node("LeakyRelu", [1, 5]),
    "clip": one_node("Clip", [1, 5], {"a": np.float32(-0.3), "b": np.float32(0.6)}),
    "clip below": one_node("Clip", [1, 5], {"a": np.float32(0.3)}),
    "clip above": one_node("Clip", [1, 5], {"b": np.float32(0.3)}, operands=["x", "", "b"]),
    "clip nothing": one_node("Clip", [1, 5]),
    "clip attributes": one_node("Clip", [1, 5], opset=8, min=0.0, max=6.0),
    "clip one attribute": one_node("Clip", [1, 5], opset=8, min=0.0),
    "flatten": one_node("Flatten", [1, 2, 3]),
    "flatten axis": one_node("Flatten", [1, 2, 3], axis=-1),
    "reshape": one_node("Reshape", [1, 2, 6], {"s": integers(0, -1, 3)}),
    "transpose": one_node("Transpose", [1, 2, 3], perm=[0, 2, 1]),
    "transpose default": one_node("Transpose", [1, 2, 3]),
    "squeeze": one_node("Squeeze", [1, 3, 1], {"a": integers(-1)}),
    "squeeze all": one_node("Squeeze", [1, 3, 1]),
    "squeeze attribute": one_node("Squeeze", [1, 3, 1], opset=11, axes=[2]),
    "unsqueeze": one_node("Unsqueeze", [1, 3], {"a": integers(0, -1)}),
    "unsqueeze attribute": one_node("Unsqueeze", [1, 3], opset=11, axes=[1]),
    "identity": one_node("Identity", [1, 3]),
    "dropout": one_node("Dropout", [1, 3], opset=11, ratio=0.5),
    "concat": one_node("Concat", [1, 3], {"c": floats(1, 2)}, axis=-1),
    "slice": one_node(
        "Slice",
        [1, 6, 5],
        {"s": integers(4, 1), "e": integers(-100, 99), "a": integers(1, -1), "t": integers(-2, 2)},
    ),
    "slice attributes": one_node(
        "Slice", [1, 6, 5], opset=9, starts=[1, -3], ends=[5, -1], axes=[1, 2]
    ),
    "gather": one_node("Gather", [1, 4, 3], {"i": np.array([[0, -1], [2, 2]])}, axis=1),
    "gather one": one_node("Gather", [1, 4], {"i": np.array(2)}, axis=1),
    "cast": one_node("Cast", [1, 3], to=1),
    "expand": one_node("Expand", [1, 3], {"s": integers(2, 1)}),
    "average pool": one_node("AveragePool", [1, 2, 6, 6], kernel_shape=[3, 2], strides=[2, 1]),
    "average pool padded": one_node(
        "AveragePool",
        [1, 2, 6, 6],
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    ),
    "global average pool": one_node("GlobalAveragePool", [1, 2, 5, 3]),
    "pad": one_node("Pad", [1, 2, 3], {"p": integers(0, 1, 0, 0, 0, 2)}),
    "pad attribute": one_node("Pad", [1, 2, 3], opset=10, pads=[0, 0, 1, 0, 1, 0], value=0.5),
    "constant": model(
        [("Constant", [], ["c"], {"value_float": 0.3}), ("Add", ["x", "c"], ["y"], {})], [1, 3]
    ).SerializeToString(),
    "split": model(
        [("Split", ["x"], ["a", "b"], {"axis": 1}), ("Sub", ["a", "b"], ["y"], {})], [1, 6]
    ).SerializeToString(),
    "split sizes": model(
        [
            ("Split", ["x", "s"], ["a", "b"], {"axis": 1}),
            ("Concat", ["b", "a"], ["y"], {"axis": 1}),
        ],
        [1, 6],
        {"s": integers(2, 4)},
    ).SerializeToString(),
    "computed shape": model(
        [
            ("Shape", ["x"], ["s"], {}),
            ("Gather", ["s", "zero"], ["n"], {}),
            ("Unsqueeze", ["n", "axes"], ["n1"], {}),
            ("Constant", [], ["rest"], {"value_ints": [-1]}),
            ("Concat", ["n1", "rest"], ["target"], {"axis": 0}),
            ("Reshape", ["x", "target"], ["y"], {}),
        ],
        ["batch", 2, 3],
        {"zero": np.array(0), "axes": integers(0)},
    ).SerializeToString(),
    "integer arithmetic": model(
        [
            ("Mul", ["a", "b"], ["c"], {}),
            ("Div", ["c", "b"], ["d"], {}),
            ("Sub", ["d", "b"], ["e"], {}),
            ("Add", ["e", "b"], ["f"], {}),
            ("Cast", ["f"], ["g"], {"to": 7}),
            ("Neg", ["g"], ["h"], {}),
            ("Neg", ["h"], ["target"], {}),
            ("Reshape", ["x", "target"], ["y"], {}),
        ],
        [1, 6],
        {"a": integers(2, 3), "b": integers(5, 7)},
    ).SerializeToString(),
    "filled constant": model(
        [
            ("ConstantOfShape", ["s"], ["c"], {}),
            ("Concat", ["x", "c"], ["y"], {"axis": 1}),
        ],
        [1, 3],
        {"s": integers(1, 2)},
    ).SerializeToString(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_op_agrees_with_the_runtime(form: str) -> None:
    network = load_onnx(FORMS[form], form)
    assert network.graph.input == "x"


def test_every_rule_is_exercised() -> None:
    files = [Path(__file__), *Path(__file__).parent.glob("test_onnx_ops_*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert not [op for op in RULES if f'"{op}"' not in text]


def test_division_is_exact() -> None:
    network = load_onnx(one_node("Div", [1, 1], {"c": np.array([3.0], np.float32)}), "third")
    one = np.array([[Fraction(1)]], dtype=object)
    graph = network.graph
    assert evaluate_exact(graph, {"x": one})[graph.output][0, 0] == Fraction(1, 3)


def test_initializers_may_be_listed_as_inputs() -> None:
    proto = model([("Add", ["x", "c"], ["y"], {})], [1, 3], {"c": floats(3)})
    listed = proto.graph.input.add()
    listed.CopyFrom(proto.graph.input[0])
    listed.name = "c"
    listed.type.tensor_type.shape.dim[0].dim_value = 3
    del listed.type.tensor_type.shape.dim[1]
    assert load_onnx(proto.SerializeToString(), "old").graph.inputs == ("x",)


def test_a_dynamic_batch_axis_is_bound_to_one() -> None:
    proto = model([("Relu", ["x"], ["y"], {})], ["batch", 3])
    assert load_onnx(proto.SerializeToString(), "dynamic").graph.shapes["x"] == (1, 3)


def test_an_output_without_input_is_a_constant() -> None:
    proto = model([("Constant", [], ["y"], {"value_floats": [1.0, 2.0]})], [1, 3])
    graph = load_onnx(proto.SerializeToString(), "fixed").graph
    assert isinstance(graph.op(graph.output), ops.Constant)


REFUSED = {
    "computed exponent": (model([("Pow", ["x", "x"], ["y"], {})], [1, 3]), "E0605"),
    "division by zero": (
        model([("Div", ["x", "c"], ["y"], {})], [1, 3], {"c": np.zeros(1, np.float32)}),
        "E0605",
    ),
    "half precision": (
        model([("Add", ["x", "c"], ["y"], {})], [1, 3], {"c": np.ones(3, np.float16)}),
        "E0611",
    ),
    "no rule": (model([("Det", ["x"], ["y"], {})], [3, 3]), "E0604"),
    "dynamic axis": (model([("Relu", ["x"], ["y"], {})], [1, "n"]), "E0608"),
    "old opset": (model([("Relu", ["x"], ["y"], {})], [1, 3], opset=6), "E0614"),
    "shapes": (model([("MatMul", ["x", "w"], ["y"], {})], [1, 3], {"w": floats(4, 2)}), "E0609"),
    "broadcast": (model([("Add", ["x", "w"], ["y"], {})], [1, 3], {"w": floats(4)}), "E0609"),
    "negative variance": (
        model(
            [("BatchNormalization", ["x", "v", "v", "v", "v"], ["y"], {})],
            [1, 1],
            {"v": np.array([-1], np.float32)},
        ),
        "E0605",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_a_diagnostic_that_names_the_network(name: str) -> None:
    proto, code = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        load_onnx(proto.SerializeToString(), "net.onnx")
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert "net.onnx" in found.message


def test_an_op_without_a_rule_says_where_those_with_one_are_listed() -> None:
    with pytest.raises(SpecError) as caught:
        load_onnx(one_node("Det", [3, 3]), "net")
    (found,) = caught.value.diagnostics
    assert "`Det`" in found.message
    assert found.help is not None
    assert "docs/ops.md" in found.help


# --- real networks -------------------------------------------------------------------------------

FAMILIES = 26
# Larger ones (wide tllverifybench networks) say nothing new and take seconds.
MAX_BYTES = 16 * 2**20


def refusal(content: bytes) -> str | None:
    """The code of the diagnostic that loading gives, None where it loads."""
    try:
        load_onnx(content, "real")
    except SpecError as error:
        return error.diagnostics[0].code
    return None


@pytest.mark.slow
def test_real_networks_agree_with_the_runtime(shared: Path) -> None:
    root = shared / "data" / "vnncomp"
    loaded: dict[str, int] = {}
    for path in sorted(root.rglob("*.onnx*")):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if len(content) > MAX_BYTES:
            continue
        folder = path.relative_to(root).parts[0]
        assert refusal(content) is None, path
        loaded[folder] = loaded.get(folder, 0) + 1
    assert len(loaded) == FAMILIES
    assert loaded["acasxu"] == 18


def test_an_acas_network_loads_in_fifty_milliseconds(shared: Path) -> None:
    path = next((shared / "data/vnncomp/acasxu/onnx").glob("*1_1*.gz"))
    content = gzip.decompress(path.read_bytes())
    load_onnx(content, "warm")

    def seconds() -> float:
        start = time.perf_counter()
        load_onnx(content, "acas")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.05

"""Selections, shapes, quantisation, constants: every form as ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.onnx_import.load import load_onnx
from tests.graph.onnx_forms import agrees, form, several
from tests.graph.onnx_models import floats, integers

F = np.float32
PLACE = [("Abs", ["x"], ["h"], {}), ("Clip", ["h", "zero", "two"], ["k"], {})]
PLACE += [("Cast", ["k"], ["i"], {"to": 7})]
PLACE_BOUNDS = {"zero": np.array(0, F), "two": np.array(2, F)}


def test_gather() -> None:
    agrees(form("Gather", [2, 4, 3], {"i": np.array([[0, -1], [2, 2]])}, axis=1))
    agrees(form("Gather", [2, 3], {"c": floats(4, 3), "i": np.array(-1)}, operands=["c", "i"]))
    for axis in (0, 1, 2):
        table = {**PLACE_BOUNDS, "c": floats(3, 3, 3)}
        flags = {"before": PLACE, "axis": axis}
        agrees(form("Gather", [2, 2], table, operands=["c", "i"], **flags))
        agrees(form("Gather", [3, 3, 3], PLACE_BOUNDS, operands=["x", "i"], **flags))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_and_scatter_elements(axis: int) -> None:
    places = np.array([[0, 1, 2], [-1, 0, 1]], np.int64)[:, : 3 if axis else 2] % (3 if axis else 2)
    constants = {"i": places}
    agrees(form("GatherElements", [2, 3], constants, axis=axis))
    single = {"i": np.array([[1, 0, 1]] if axis == 0 else [[2], [-3]])}
    agrees(form("GatherElements", [2, 3], single, axis=axis))
    updates = single | {"u": floats(*single["i"].shape)}
    for op, opset in (("ScatterElements", 11), ("Scatter", 9), ("ScatterElements", 18)):
        agrees(form(op, [2, 3], updates, opset=opset, axis=axis))
    for reduction in ("add", "mul", "max", "min"):
        agrees(form("ScatterElements", [2, 3], updates, opset=18, axis=axis, reduction=reduction))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_and_gather_tuples(reduction: str) -> None:
    places = np.array([[[0, 1]], [[1, -1]]])
    constants = {"i": places, "u": floats(2, 1, 2)}
    agrees(form("ScatterND", [2, 3, 2], constants, opset=18, reduction=reduction))
    slices = {"d": floats(3, 2), "i": integers(2, 0).reshape(2, 1)}
    agrees(form("ScatterND", [2, 2], slices, opset=18, operands=["d", "i", "x"]))
    agrees(form("GatherND", [2, 3, 2], {"i": places}))
    agrees(form("GatherND", [2, 3, 2], {"i": places[..., :1]}))
    fixed = slices | {"u": floats(2, 2)}
    agrees(form("ScatterND", [1, 1], fixed, opset=18, operands=["d", "i", "u"]))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    values = {"depth": np.array(3), "v": np.array([-0.5, 2.0], F)}
    given_ = {**values, "c": np.array([[0, 2, -1, 5]])}
    agrees(form("OneHot", [1, 1], given_, operands=["c", "depth", "v"], axis=axis))
    before = [("Cast", ["x"], ["i"], {"to": 7})]
    agrees(form("OneHot", [2, 5], values, before=before, reads="i", axis=axis))


@settings(max_examples=50, deadline=None)
@given(
    start=st.integers(-8, 8),
    end=st.integers(-8, 8),
    step=st.sampled_from([-3, -2, -1, 1, 2, 3]),
)
def test_slices(start: int, end: int, step: int) -> None:
    kept = len(range(6)[_python_range(start, end, step)])
    if not kept:
        return
    constants = {
        "s": integers(start),
        "e": integers(end),
        "a": integers(1),
        "t": integers(step),
    }
    agrees(form("Slice", [2, 6], constants))


def _python_range(start: int, end: int, step: int) -> slice:
    """As numpy reads it; ONNX clamps a negative end below the front, numpy means it the same."""
    stop: int | None = end
    if step < 0 and end < -6:
        stop = None
    return slice(start, stop, step)


def test_splits() -> None:
    agrees(form("Split", [2, 6], results=3, axis=1))
    agrees(form("Split", [2, 6], {"s": integers(1, 0, 5)[[0, 2]]}, results=2, axis=-1))
    agrees(form("Split", [2, 7], opset=18, results=3, axis=1, num_outputs=3))
    agrees(form("Split", [2, 6], opset=11, results=2, axis=1, split=[2, 4]))
    agrees(form("Split", [4, 2], opset=7, results=2))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    agrees(form("DepthToSpace", [1, 12, 2, 3], blocksize=2, mode=mode))
    agrees(form("SpaceToDepth", [1, 3, 4, 6], blocksize=2))


def test_shapes() -> None:
    agrees(form("Tile", [1, 3], {"r": integers(2, 3)}))
    agrees(form("Tile", [1, 1], {"c": floats(2), "r": integers(2)}, operands=["c", "r"]))
    agrees(form("Expand", [3, 1], {"s": integers(2, 1, 4)}))
    agrees(form("Flatten", [2, 3, 4], axis=0))
    agrees(form("Dropout", [1, 3], opset=7))
    agrees(form("Dropout", [1, 3], opset=13))
    agrees(form("Shape", [2, 3, 4], opset=15, start=1, end=-1))
    agrees(form("Size", [2, 3, 4]))
    agrees(
        form(
            "Range",
            [1, 1],
            {"a": np.array(7), "b": np.array(0), "c": np.array(-2)},
            operands=["a", "b", "c"],
        )
    )
    floats_ = {"a": np.array(0.1, F), "b": np.array(1.0, F), "c": np.array(0.3, F)}
    agrees(form("Range", [1, 1], floats_, operands=["a", "b", "c"]))


def test_shape_arithmetic_in_floats() -> None:
    """What exporters write for an upsampling by a factor."""
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Slice", ["s", "two", "four"], ["hw"], {}),
        ("Cast", ["hw"], ["f"], {"to": 1}),
        ("Mul", ["f", "factor"], ["m"], {}),
        ("Floor", ["m"], ["l"], {}),
        ("Cast", ["l"], ["i"], {"to": 7}),
        ("Slice", ["s", "zero", "two"], ["nc"], {}),
        ("Concat", ["nc", "i"], ["sizes"], {"axis": 0}),
        ("Resize", ["x", "", "", "sizes"], ["y"], {"mode": "nearest"}),
    ]
    constants = {"zero": integers(0), "two": integers(2), "four": integers(4)}
    constants["factor"] = np.array(1.7, F)
    graph = agrees(several(nodes, [1, 1, 4, 3], constants))
    assert graph.shapes[graph.output] == (1, 1, 6, 5)


# --- quantisation --------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [np.uint8(3), np.int8(-5), None])
@pytest.mark.parametrize("scale", [0.1, 0.5, 3.0])
def test_quantisation_per_tensor(zero: np.generic | None, scale: float) -> None:
    constants = {"s": np.array(scale, F)} | ({} if zero is None else {"z": np.array(zero)})
    agrees(form("QuantizeLinear", [2, 5], constants, opset=10))
    quantised = [("QuantizeLinear", ["x", *constants], ["q"], {})]
    agrees(form("DequantizeLinear", [2, 5], constants, before=quantised, reads="q"))


def test_quantisation_per_axis() -> None:
    constants = {
        "s": np.array([0.1, 0.5, 3], F),
        "z": np.array([0, 4, -7], np.int8),
    }
    for axis, shape in ((1, [2, 3, 2]), (-1, [2, 3]), (0, [3, 2])):
        agrees(form("QuantizeLinear", shape, constants, axis=axis))
    weights = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    nodes = [
        ("DequantizeLinear", ["w", "s", "z"], ["d"], {"axis": 1}),
        ("MatMul", ["x", "d"], ["y"], {}),
    ]
    # The runtime computes this product in integers, so only the weights are compared.
    content = several(nodes, [1, 4], {**constants, "w": weights})
    graph = load_onnx(content, "weights", check=False).graph
    (dense,) = (op for _, op, _ in graph if isinstance(op, ops.Dense))
    expected = (weights - constants["z"].astype(float)) * constants["s"].astype(float)
    np.testing.assert_array_equal(dense.weight, expected.T)


# --- refusals ------------------------------------------------------------------------------------


def refusal(content: bytes) -> str:
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "net", check=False)
    (found,) = caught.value.diagnostics
    assert found.message.startswith("network `net`: node `r")
    return found.message


def test_refusals_read_well() -> None:
    assert "largest one" in refusal(form("TopK", [1, 4], {"k": integers(2)}, results=2))
    assert "to float16, which rounds" in refusal(form("Cast", [1, 4], to=10))
    assert "wraps around" in refusal(form("Cast", [1, 4], to=3))
    computed = [("Cast", ["x"], ["i"], {"to": 7})]
    several_updates = {"i": np.zeros((2, 1), np.int64), "u": floats(2)}
    assert "several updates" in refusal(form("ScatterND", [3], several_updates))
    updates = {"u": floats(2, 2)}
    elements = form("ScatterElements", [2, 2], updates, before=computed, operands=["x", "i", "u"])
    assert "indices are computed" in refusal(elements)
    scale = {"s": np.array(-1, F)}
    assert "scale that is not positive" in refusal(form("QuantizeLinear", [1, 2], scale))
    assert "both computed" in refusal(form("Pow", [1, 2], operands=["x", "x"]))
    axis = form("ReduceSum", [2, 2], {"a": integers(2)})
    assert "axis 2" in refusal(axis)

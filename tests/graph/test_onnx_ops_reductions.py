"""Reductions, products, normalisations, softmax: every form as ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from tests.graph.onnx_forms import agrees, form, several
from tests.graph.onnx_models import floats, integers

F = np.float32
REDUCTIONS = ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2"]
REDUCTIONS += ["ReduceSumSquare", "ReduceLogSumExp"]


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, [1], [-1, 0], [0, 1, 2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(op: str, axes: list[int] | None, keepdims: int) -> None:
    shape = [2, 3, 2]
    listed = {} if axes is None else {"axes": axes}
    agrees(form(op, shape, opset=11, keepdims=keepdims, **listed))
    constants = {} if axes is None else {"a": integers(*axes)}
    agrees(form(op, shape, constants, opset=18, keepdims=keepdims))


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_over_no_axes(op: str) -> None:
    empty = {"a": integers()}
    agrees(form(op, [2, 3], empty, opset=18))
    if op in {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}:
        graph = agrees(form(op, [2, 3], empty, opset=18, noop_with_empty_axes=1))
        assert graph.shapes[graph.output] == (2, 3)


def test_reductions_of_integers_are_folded() -> None:
    for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
        nodes = [("Shape", ["x"], ["s"], {}), (op, ["s"], ["n"], {"keepdims": 1})]
        nodes += [("Concat", ["one", "n"], ["t"], {"axis": 0}), ("Expand", ["x", "t"], ["y"], {})]
        agrees(several(nodes, [1, 1, 1], {"one": integers(2, 1)}))


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumulative_sums(exclusive: int, reverse: int, axis: int) -> None:
    flags = {"exclusive": exclusive, "reverse": reverse}
    agrees(form("CumSum", [2, 4], {"a": np.array(axis)}, **flags))
    fixed = {"c": integers(3, 1, 2), "a": np.array(0)}
    agrees(form("CumSum", [1, 3], fixed, operands=["c", "a"], **flags))


@settings(max_examples=30, deadline=None)
@given(
    op=st.sampled_from(["ArgMax", "ArgMin"]),
    axis=st.integers(-3, 2),
    keepdims=st.integers(0, 1),
    last=st.integers(0, 1),
    opset=st.sampled_from([12, 13, 18]),
)
def test_arguments_of_extremes(op: str, axis: int, keepdims: int, last: int, opset: int) -> None:
    flags = {"axis": axis, "keepdims": keepdims, "select_last_index": last}
    agrees(form(op, [2, 3, 4], opset=opset, **flags))


def test_the_argument_of_one_entry_is_the_first() -> None:
    agrees(form("ArgMax", [2, 1], axis=1))


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_the_largest_entry_and_its_place(largest: int, axis: int) -> None:
    one = {"k": integers(1)}
    agrees(form("TopK", [3, 4], one, results=2, axis=axis, largest=largest))
    agrees(form("TopK", [3, 4], opset=9, k=1, results=2, axis=axis))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_softmax_along_any_axis(op: str, opset: int) -> None:
    agrees(form(op, [2, 3, 2], opset=opset))
    for axis in (0, 1, 2, *((-1, -2) if opset >= 11 else ())):
        agrees(form(op, [2, 3, 2], opset=opset, axis=axis))
    agrees(form(op, [2, 1], opset=opset, axis=1))


def test_a_softmax_of_two_entries_is_a_sigmoid() -> None:
    graph = agrees(form("Softmax", [1, 2]))
    assert any(isinstance(op, ops.Sigmoid) for _, op, _ in graph)


# --- matrix products -----------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((2, 3), (1, 3, 4)),
    ((1, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (2, 3, 4)),
    ((3,), (2, 3, 4)),
    ((2, 4, 3), (3,)),
    ((2, 3), (5, 3, 1)),
    ((1, 1, 2, 3), (1, 5, 3, 2)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_matrix_products(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    agrees(form("MatMul", left, {"w": floats(*right)}))
    agrees(form("MatMul", right, {"w": floats(*left)}, operands=["w", "x"]))
    size = int(np.prod(left))
    split = [
        ("Slice", ["x", "zero", "cut"], ["f"], {}),
        ("Slice", ["x", "cut", "end"], ["g"], {}),
        ("Reshape", ["f", "l"], ["a"], {}),
        ("Reshape", ["g", "r"], ["b"], {}),
    ]
    total = size + int(np.prod(right))
    constants = {"zero": integers(0), "cut": integers(size), "end": integers(total)}
    constants |= {"l": integers(*left), "r": integers(*right)}
    agrees(form("MatMul", [total], constants, before=split, operands=["a", "b"]))


@pytest.mark.parametrize("turns", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("offset", [None, (), (3,), (1, 3), (3, 1), (3, 3), "x"])
def test_gemm(turns: tuple[int, int], offset: tuple[int, ...] | str | None) -> None:
    flags = {"transA": turns[0], "transB": turns[1], "alpha": 0.3, "beta": -1.7}
    constants = {"w": floats(3, 3)}
    last: list[str] = []
    if isinstance(offset, tuple):
        constants["c"] = np.asarray(floats(*offset))
        last = ["c"]
    elif offset is not None:
        last = ["x"]
    for factors in (["x", "w"], ["w", "x"], ["x", "x"], ["w", "w"]):
        if factors == ["w", "w"] and last != ["x"]:
            continue
        agrees(form("Gemm", [3, 3], constants, operands=[*factors, *last], **flags))


# --- normalisations ------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 1, 2, 0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_layer_normalisation(axis: int, with_bias: bool) -> None:
    shape = [2, 3, 4]
    extent = shape[axis:]
    constants = {"s": floats(*extent)} | ({"b": floats(*extent, seed=1)} if with_bias else {})
    agrees(form("LayerNormalization", shape, constants, opset=17, axis=axis, epsilon=0.01))


@pytest.mark.parametrize("shape", [[2, 3, 4], [1, 2, 3, 3]])
def test_instance_normalisation(shape: list[int]) -> None:
    constants = {"s": floats(shape[1]), "b": floats(shape[1], seed=1)}
    for opset in (7, 22):
        agrees(form("InstanceNormalization", shape, constants, opset=opset, epsilon=0.01))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalisation(groups: int) -> None:
    per_channel = {"s": floats(4), "b": floats(4, seed=1)}
    flags = {"num_groups": groups, "epsilon": 0.01}
    agrees(form("GroupNormalization", [2, 4, 3], per_channel, opset=21, **flags))
    agrees(form("GroupNormalization", [1, 4, 2, 2], per_channel, opset=21, **flags))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalisation_by_norms(order: int, axis: int) -> None:
    agrees(form("LpNormalization", [2, 3, 2], p=order, axis=axis))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalisation(size: int) -> None:
    agrees(form("LRN", [1, 4, 2, 2], size=size, alpha=0.3, beta=0.75, bias=1.5))


def test_batch_normalisation() -> None:
    names = {"g": floats(3), "b": floats(3, seed=1), "m": floats(3), "v": np.abs(floats(3)) + 0.1}
    for opset in (7, 9, 14, 15):
        agrees(form("BatchNormalization", [2, 3, 2, 2], names, opset=opset, epsilon=1e-3))

"""Functions of one number, arithmetic, comparisons, truth values: every form as ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.defs import get_all_schemas_with_history

from specdsl.graph import ops
from tests.graph.onnx_forms import agrees, form, several
from tests.graph.onnx_models import floats, integers, one_node

F = np.float32


def number(value: float) -> np.ndarray:
    return np.array(value, F)


CURVES = ["Exp", "Log", "Sqrt", "Reciprocal", "Sigmoid", "Tanh", "Erf", "Softplus", "Softsign"]
CURVES += ["Sin", "Cos", "Tan", "HardSigmoid", "Elu", "Selu", "Celu", "ThresholdedRelu"]
STEPS = ["Floor", "Ceil", "Round", "Sign"]


@pytest.mark.parametrize("op", CURVES + STEPS)
def test_functions_of_one_number(op: str) -> None:
    agrees(form(op, [1, 7]))


@pytest.mark.parametrize(
    ("op", "opset", "attributes"),
    [
        ("Mish", 18, {}),
        ("HardSwish", 14, {}),
        ("Gelu", 20, {}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("HardSigmoid", 7, {"alpha": 0.3, "beta": -0.1}),
        ("HardSigmoid", 22, {"alpha": -0.3, "beta": 0.4}),
        ("Elu", 13, {"alpha": 0.3}),
        ("Elu", 13, {"alpha": 3.0}),
        ("Elu", 13, {"alpha": -0.7}),
        ("Elu", 13, {"alpha": 0.0}),
        ("Selu", 13, {"alpha": 2.0, "gamma": 3.0}),
        ("Selu", 13, {"alpha": 0.5, "gamma": 0.25}),
        ("Celu", 13, {"alpha": 0.3}),
        ("Celu", 13, {"alpha": 3.0}),
        ("ThresholdedRelu", 13, {"alpha": 1.5}),
        ("ThresholdedRelu", 13, {"alpha": 0.0}),
        ("ThresholdedRelu", 13, {"alpha": -1.0}),
        ("LeakyRelu", 16, {"alpha": 1.0}),
        ("LeakyRelu", 16, {"alpha": 2.5}),
        ("LeakyRelu", 16, {"alpha": -1.0}),
        ("LeakyRelu", 7, {"alpha": 0.0}),
        ("Relu", 14, {}),
        ("Abs", 7, {}),
    ],
)
def test_functions_with_attributes(op: str, opset: int, attributes: dict[str, Any]) -> None:
    agrees(form(op, [2, 5], opset=opset, **attributes))


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 2, 2), (2, 1)])
@pytest.mark.parametrize("low", [-1.5, 0.1, 1.5])
def test_slopes_of_a_prelu_have_any_shape(shape: tuple[int, ...], low: float) -> None:
    slopes = (low + np.random.default_rng(0).random(shape)).astype(F)
    agrees(form("PRelu", [1, 3, 2, 2], {"s": slopes}))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, -1, -2, 0.5, -0.5, 1.5, 0.25, 16, 40])
def test_powers(exponent: float) -> None:
    agrees(form("Pow", [1, 6], {"p": number(exponent)}))


def test_powers_of_other_forms() -> None:
    agrees(form("Pow", [2, 3], {"p": np.array([2, 0.5, 3], F)}))
    agrees(form("Pow", [1, 3], {"p": np.array([[1], [2]], np.int64)}))
    agrees(form("Pow", [1, 3], {"b": number(2)}, operands=["b", "x"]))


@pytest.mark.parametrize("bounds", [(-1, 1), (0.5, 0.5), (1, -1), (-0.25, 6)])
def test_clip_with_any_bounds(bounds: tuple[float, float]) -> None:
    low, high = bounds
    agrees(form("Clip", [1, 6], {"a": number(low), "b": number(high)}))
    agrees(form("Clip", [1, 6], {"b": number(high)}, operands=["x", "", "b"]))
    agrees(form("Clip", [1, 6], {"a": number(low)}))
    if low <= high:
        agrees(form("Clip", [1, 6], opset=7, min=float(low), max=float(high)))


# --- arithmetic ----------------------------------------------------------------------------------

OTHER = [("Exp", ["x"], ["o"], {})]


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_arithmetic(op: str) -> None:
    agrees(form(op, [2, 3], {"c": floats(3) + 4}))
    agrees(form(op, [2, 3], {"c": floats(2, 1) + 4}, operands=["c", "x"]))
    agrees(form(op, [1, 3], {"c": floats(2, 1, 1) + 4}))
    agrees(form(op, [2, 3], before=OTHER, operands=["x", "o"]))
    agrees(form(op, [2, 3], operands=["x", "x"]))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_arithmetic_of_many(op: str) -> None:
    agrees(form(op, [2, 3], operands=["x"]))
    agrees(form(op, [2, 3], {"c": floats(3), "d": floats(1)}, operands=["c", "x", "d", "x"]))
    agrees(form(op, [2, 3], {"c": floats(3)}, before=OTHER, operands=["o", "c", "x"]))


def test_quotients_of_constants_and_computed_values() -> None:
    agrees(form("Div", [2, 3], {"c": floats(3)}, before=OTHER, operands=["c", "o"]))
    to_integers = [("Cast", ["x"], ["i"], {"to": 7})]
    divisor = {"c": integers(2, -3, 7)}
    agrees(form("Div", [2, 3], divisor, before=to_integers, reads="i"))
    for op in ("Add", "Sub", "Mul", "Max", "Min"):
        agrees(form(op, [2, 3], divisor, before=to_integers, reads="i"))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_constants_are_folded_exactly_or_not_at_all(op: str, data: st.DataObject) -> None:
    entry = st.floats(-100, 100, width=32).filter(lambda v: abs(v) > 1e-6)
    left = data.draw(st.lists(entry, min_size=2, max_size=2))
    right = data.draw(st.lists(entry, min_size=2, max_size=2))
    nodes = [(op, ["a", "b"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})]
    constants = {"a": np.array(left, F), "b": np.array(right, F)}
    agrees(several(nodes, [1, 2], constants))


def test_large_constants_stay_in_the_graph() -> None:
    large = {"a": floats(1, 70_000), "b": floats(1, 70_000, seed=1)}
    nodes = [("Add", ["a", "b"], ["c"], {}), ("Div", ["c", "b"], ["d"], {})]
    nodes += [("ReduceSum", ["d"], ["s"], {}), ("Add", ["x", "s"], ["y"], {})]
    graph = agrees(several(nodes, [1, 2], large))
    assert any(isinstance(graph.op(n), ops.Constant) for n in graph.order)


# --- comparisons and truth values ----------------------------------------------------------------


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("operands", [["x", "c"], ["c", "x"], ["x", "h"], ["c", "c"]])
def test_comparisons(op: str, operands: list[str]) -> None:
    turned = [("Abs", ["x"], ["h"], {})]
    agrees(form(op, [2, 3], {"c": np.array([0, 1, -2.5], F)}, before=turned, operands=operands))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
@pytest.mark.parametrize("operands", [["p", "q"], ["p", "c"], ["c", "q"], ["c", "c"], ["p", "p"]])
def test_connectives(op: str, operands: list[str]) -> None:
    truths = [("Greater", ["x", "zero"], ["p"], {}), ("Less", ["x", "one"], ["q"], {})]
    constants = {
        "zero": number(0),
        "one": number(1),
        "c": np.array([True, False, True]),
    }
    agrees(form(op, [2, 3], constants, before=truths, operands=operands))


def test_negation() -> None:
    truth = [("Cast", ["x"], ["p"], {"to": 9})]
    agrees(form("Not", [2, 3], before=truth, reads="p"))
    agrees(form("Not", [2, 3], {"c": np.array([True, False])}, operands=["c"]))


@pytest.mark.parametrize("branches", [["x", "c"], ["c", "x"], ["x", "h"], ["c", "d"], ["x", "x"]])
@pytest.mark.parametrize("condition", ["p", "fixed", "never"])
def test_where(condition: str, branches: list[str]) -> None:
    before = [("Exp", ["x"], ["h"], {}), ("Greater", ["x", "d"], ["p"], {})]
    constants = {
        "c": floats(2, 1),
        "d": number(0),
        "fixed": np.array([[True, False, True]]),
        "never": np.array([False]),
    }
    agrees(form("Where", [2, 3], constants, before=before, operands=[condition, *branches]))


@pytest.mark.parametrize("target", [1, 6, 7, 9, 11])
def test_casts(target: int) -> None:
    agrees(form("Cast", [1, 9], to=target))
    truth = [("Greater", ["x", "z"], ["p"], {})]
    agrees(form("Cast", [1, 9], {"z": number(0)}, before=truth, operands=["p"], to=target))
    agrees(form("Cast", [1, 2], {"c": np.array([1.7, -2.5, 0], F)}, operands=["c"], to=target))
    whole = [("Cast", ["x"], ["i"], {"to": 7})]
    agrees(form("Cast", [1, 9], before=whole, reads="i", to=target))


def test_cast_like() -> None:
    agrees(form("CastLike", [1, 5], {"c": integers(1)}, opset=15))


def test_exact_meaning_of_a_mean() -> None:
    graph = agrees(form("Mean", [1, 2], {"c": floats(2), "d": floats(2)}))
    (scale,) = (o for _, o, _ in graph if isinstance(o, ops.Scale) and o.scale.dtype == object)
    assert str(scale.scale[()]) == "1/3"


def test_swish_is_a_silu() -> None:
    from specdsl.graph.onnx_import.load import load_onnx

    content = one_node("Swish", [1, 4], opset=24, alpha=0.5)
    graph = load_onnx(content, "swish", check=False).graph
    assert [type(o).__name__ for _, o, _ in graph] == ["Input", "Scale", "Silu", "Scale"]


# --- every version of every op that takes one value or two ---------------------------------------

# ONNX Runtime has kernels up to here; newer versions only add element types.
NEWEST_RUN = 22
ONE = [*CURVES, *STEPS, "Abs", "Relu", "LeakyRelu", "Neg", "Identity", "Flatten", "Softmax"]
TWO = ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "PRelu", "MatMul", "Concat"]


def versions(op: str) -> list[int]:
    """The opsets from 7 on at which the op changed."""
    found = {s.since_version for s in get_all_schemas_with_history() if s.name == op}
    first = max((v for v in found if v <= 7), default=min(found))
    return sorted({max(7, first)} | {v for v in found if 7 < v <= NEWEST_RUN})


@pytest.mark.parametrize(("op", "opset"), [(op, v) for op in ONE for v in versions(op)])
def test_every_version_of_functions_of_one_value(op: str, opset: int) -> None:
    agrees(form(op, [3, 3], opset=opset))


@pytest.mark.parametrize(("op", "opset"), [(op, v) for op in TWO for v in versions(op)])
def test_every_version_of_functions_of_two_values(op: str, opset: int) -> None:
    attributes = {"axis": 1} if op == "Concat" else {}
    agrees(form(op, [3, 3], {"c": floats(3, 3)}, opset=opset, **attributes))

"""Curves, steps, maxima and transposed convolutions: evaluated, exactly where they are rational,
exported, and read back.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.dump import describe
from specdsl.graph.evaluate import evaluate
from specdsl.graph.exact import NoValue, evaluate_exact, is_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import LATE_OPSET, OPSET, export, opset_of

# Float32 functions of the runtime, compared with float64 ones.
TOLERANCE = 2e-6

CURVES: tuple[ops.Smooth, ...] = (
    ops.Exp(),
    ops.Log(),
    ops.Sqrt(),
    ops.Power(-0.5),
    ops.Power(1.5),
    ops.Reciprocal(),
    ops.Sigmoid(),
    ops.Tanh(),
    ops.Erf(),
    ops.Softsign(),
    ops.Softplus(),
    ops.Elu(1.0),
    ops.Elu(0.25),
    ops.Gelu(),
    ops.GeluTanh(),
    ops.Silu(),
    ops.Mish(),
    ops.HardSwish(),
    ops.Sin(),
    ops.Cos(),
    ops.Tan(),
)
STEPS: tuple[ops.Step, ...] = (
    ops.Sign(),
    ops.Positive(),
    ops.NotNegative(),
    ops.IsZero(),
    ops.Floor(),
    ops.Ceil(),
    ops.Round(),
    ops.Truncate(),
)


def elementwise(op: ops.Op, size: int) -> Graph:
    builder = GraphBuilder()
    return builder.build(builder.add(op, builder.add(ops.Input((1, size)), name="x"), name="y"))


def exactly(values: list[Fraction], shape: tuple[int, ...]) -> np.ndarray:
    flat = np.empty(len(values), dtype=object)
    flat[:] = values
    return flat.reshape(shape)


def points_of(op: ops.Op) -> np.ndarray:
    """Inside the domain, away from poles; halves and whole numbers among them."""
    lowest = 0.25 if isinstance(op, ops.Smooth) and op.domain[0] == 0 else -6.0
    points = np.linspace(lowest, 6.0, 50)
    points = points[points != 0] if isinstance(op, ops.Reciprocal) else points
    return points.astype(np.float32).astype(np.float64).reshape(1, -1)


@pytest.mark.parametrize("op", CURVES + STEPS, ids=describe)
def test_evaluation_is_the_function_in_either_precision(op: ops.Smooth | ops.Step) -> None:
    points = points_of(op)
    graph = elementwise(op, points.size)
    for dtype in (np.float64, np.float32):
        found = evaluate(graph, {"x": points[np.newaxis].astype(dtype)})["y"]
        assert found.dtype == dtype
        assert np.allclose(found[0], op.value(points), rtol=1e-4 if dtype == np.float32 else 0)


@pytest.mark.parametrize("op", CURVES + STEPS, ids=describe)
def test_the_runtime_computes_the_same_from_the_export(op: ops.Op) -> None:
    points = points_of(op)
    graph = elementwise(op, points.size)
    model = export(graph)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    found = Runtime(model, "curve").run(points.astype(np.float32))
    wanted = evaluate(graph, {"x": points[np.newaxis]})["y"][0]
    assert np.all(np.abs(found - wanted) <= TOLERANCE * np.maximum(1, np.abs(wanted) ** 2))


@pytest.mark.parametrize("op", CURVES + STEPS, ids=describe)
def test_what_is_exported_loads_back_equal(op: ops.Op) -> None:
    points = points_of(op)
    graph = elementwise(op, points.size)
    again = load_onnx(export(graph), "again", check=False).graph
    wanted = evaluate(graph, {"x": points[np.newaxis]})["y"]
    found = evaluate(again, {again.input: points[np.newaxis]})[again.output]
    assert np.allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_only_graphs_with_late_ops_ask_for_a_late_opset() -> None:
    assert opset_of(elementwise(ops.Tanh(), 1)) == OPSET
    assert opset_of(elementwise(ops.Gelu(), 1)) == LATE_OPSET


@pytest.mark.parametrize("op", STEPS, ids=describe)
@given(numerators=st.lists(st.integers(-20, 20), min_size=1, max_size=8))
def test_steps_are_exact(op: ops.Step, numerators: list[int]) -> None:
    values = [Fraction(n, 6) for n in numerators]
    graph = elementwise(op, len(values))
    found = evaluate_exact(graph, {"x": exactly(values, (1, len(values)))})["y"]
    assert found.reshape(-1).tolist() == [op.exact(v) for v in values]
    assert is_exact(graph, graph.outputs)


def test_curves_are_evaluated_at_the_nearest_float64_and_are_not_exact() -> None:
    graph = elementwise(ops.Exp(), 2)
    found = evaluate_exact(graph, {"x": exactly([Fraction(1, 3), Fraction(0)], (1, 2))})["y"]
    assert found.reshape(-1).tolist() == [Fraction(float(np.exp(1 / 3))), 1]
    assert not is_exact(graph, ["y"])
    assert is_exact(graph, ["x"])
    assert is_exact(graph, ["y"], given=["y"])


@pytest.mark.parametrize(
    ("op", "point"),
    [
        (ops.Log(), Fraction(0)),
        (ops.Log(), Fraction(-1)),
        (ops.Sqrt(), Fraction(-1, 3)),
        (ops.Reciprocal(), Fraction(0)),
        (ops.Exp(), Fraction(10_000)),
        (ops.Tanh(), Fraction(10) ** 400),
    ],
)
def test_a_point_outside_the_domain_has_no_value(op: ops.Smooth, point: Fraction) -> None:
    with pytest.raises(NoValue):
        evaluate_exact(elementwise(op, 1), {"x": exactly([point], (1, 1))})


# --- maxima ---------------------------------------------------------------------------------------


@st.composite
def maxima(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 6))
    shape = draw(st.sampled_from([(2,), (1, 3), (2, 2)]))
    width = draw(st.integers(1, 4))
    count = int(np.prod(shape)) * width
    flat = draw(st.lists(st.integers(0, size - 1), min_size=count, max_size=count))
    groups = np.array(flat, dtype=np.int64).reshape(*shape, width)
    return elementwise(ops.GroupMax(groups), size)


@settings(max_examples=40, deadline=None)
@given(graph=maxima(), data=st.data())
def test_maxima_agree_exactly_in_floats_and_in_the_runtime(graph: Graph, data: st.DataObject):
    size = graph.size("x")
    point = data.draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size))
    op = graph.op("y")
    assert isinstance(op, ops.GroupMax)
    wanted = np.array(point)[op.groups].max(axis=-1)
    exact = evaluate_exact(graph, {"x": exactly([Fraction(n) for n in point], (1, size))})["y"]
    assert (exact == wanted).all()
    floats = np.array(point, dtype=np.float32).reshape(1, size)
    assert (evaluate(graph, {"x": floats[np.newaxis]})["y"][0] == wanted).all()
    model = export(graph)
    assert (Runtime(model, "max").run(floats) == wanted).all()
    again = load_onnx(model, "again", check=False).graph
    found = evaluate(again, {again.input: floats[np.newaxis]})[again.output]
    assert (found[0] == wanted).all()


def test_maxima_beside_late_ops_are_exported_by_the_rules_of_that_opset() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 3)), name="x")
    y = builder.add(ops.GroupMax(np.array([[0, 1, 2]])), x)
    graph = builder.build(builder.add(ops.Gelu(), y))
    assert Runtime(export(graph), "late").run(np.array([[-1, 2, 1]], np.float32)).shape == (1,)


# --- transposed convolutions ----------------------------------------------------------------------


@st.composite
def transposed(draw: st.DrawFn) -> tuple[ops.ConvTranspose, ops.Shape]:
    rank = draw(st.integers(1, 2))

    def numbers(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    groups, inner, outer = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, strides, dilations = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    pads = tuple((p, p) for p in numbers(0, 1))
    output_pads = tuple(draw(st.integers(0, s - 1)) for s in strides)
    extent = numbers(2, 4)
    generator = np.random.default_rng(draw(st.integers(0, 9)))
    weight = generator.integers(-4, 5, (groups * inner, outer, *kernel)) / 4
    bias = generator.integers(-4, 5, groups * outer) / 4
    op = ops.ConvTranspose(weight, bias, strides, pads, dilations, output_pads, groups)
    shape = (1, groups * inner, *extent)
    try:
        op.shape(shape)
    except ops.ShapeMismatch:
        op = ops.ConvTranspose(
            weight, bias, strides, tuple((0, 0) for _ in pads), dilations, output_pads, groups
        )
    return op, shape


@settings(max_examples=60, deadline=None)
@given(given_op=transposed(), seed=st.integers(0, 99))
def test_transposed_convolutions_agree_with_torch_and_the_runtime(
    given_op: tuple[ops.ConvTranspose, ops.Shape], seed: int
) -> None:
    op, shape = given_op
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, builder.add(ops.Input(shape), name="x"), name="y"))
    points = np.random.default_rng(seed).integers(-8, 9, (3, *shape)) / 8
    found = evaluate(graph, {"x": points})["y"]
    assert found.shape[1:] == graph.shapes["y"]
    function = getattr(torch.nn.functional, f"conv_transpose{len(op.strides)}d")
    wanted = function(
        torch.tensor(points.reshape(3, *shape[1:])),
        torch.tensor(op.weight),
        torch.tensor(op.bias),
        stride=op.strides,
        padding=tuple(p for p, _ in op.pads),
        output_padding=op.output_pads,
        groups=op.groups,
        dilation=op.dilations,
    ).numpy()
    assert np.allclose(found.reshape(wanted.shape), wanted)
    exact = evaluate_exact(graph, {"x": exactly([Fraction(v) for v in points[0].flat], shape)})
    # Dyadic numbers this small do not round.
    assert (exact["y"].astype(np.float64) == found[0]).all()
    model = export(graph)
    said = Runtime(model, "transposed").run(points[0].astype(np.float32))
    assert (said == found[0]).all()
    again = load_onnx(model, "again", check=False).graph
    assert (evaluate(again, {again.input: points})[again.output] == found).all()

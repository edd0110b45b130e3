"""A form of an ONNX op (a model of a few nodes) against ONNX Runtime, special points included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from tests.graph.onnx_models import Node

# Kinks, ties, and halves that rounding may break either way.
SPECIAL = np.array([-3, -2.5, -2, -1.5, -1, -0.5, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3], np.float32)
POINTS = 24
# float32 against float64; the runtime approximates curves to some ulps of their largest values.
TOLERANCE = 2e-5


def form(
    op: str,
    shape: Sequence[int],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    operands: Sequence[str] | None = None,
    before: Sequence[Node] = (),
    reads: str = "x",
    results: int = 1,
    **attributes: object,
) -> bytes:
    """A model of one node whose results, whatever their type, are cast to float32 outputs.

    `before` computes `reads` from `x`; the node reads that and all constants unless `operands` says
    otherwise.
    """
    names = [f"r{i}" for i in range(results)]
    takes = [reads, *(constants or {})] if operands is None else operands
    nodes = [*before, (op, takes, names, attributes)]
    nodes += [("Cast", [name], [f"y{i}"], {"to": 1}) for i, name in enumerate(names)]
    return several(nodes, shape, constants, opset=opset, outputs=[f"y{i}" for i in range(results)])


def several(
    nodes: Sequence[Node],
    shape: Sequence[int],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    outputs: Sequence[str] = ("y",),
) -> bytes:
    """A model with input `x` and float32 outputs of any shape."""
    graph = helper.make_graph(
        [helper.make_node(op, list(i), list(o), **attributes) for op, i, o, attributes in nodes],
        "form",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph.output
    for output, found in zip(proto.graph.output, inferred, strict=True):
        output.type.tensor_type.shape.CopyFrom(found.type.tensor_type.shape)
        if not found.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.dim.add().dim_param = "unknown"
    return proto.SerializeToString()


def agrees(content: bytes, name: str = "form", points: np.ndarray | None = None) -> Graph:
    """The imported graph, which gives what ONNX Runtime gives at random and at special points."""
    graph = load_onnx(content, name).graph
    shape = graph.shapes[graph.input]
    if points is None:
        points = np.random.default_rng(1).choice(SPECIAL, (POINTS, *shape))
        points[0], points[1] = 0.0, 1.0
    runtime = Runtime(content, name)
    compared = 0
    for point in points.astype(np.float32):
        with np.errstate(all="ignore"):
            values = evaluate(graph, {graph.input: point[np.newaxis].astype(np.float64)})
        for node, expected in zip(graph.outputs, runtime.run_many([point]), strict=True):
            ours = values[node][0]
            assert ours.shape == expected.shape
            # Outside the domain of a function nothing is promised.
            usable = np.isfinite(ours) & np.isfinite(expected)
            scale = max(1.0, np.abs(ours[usable]).max(initial=0.0))
            np.testing.assert_allclose(
                ours[usable], expected[usable], rtol=TOLERANCE, atol=TOLERANCE * scale
            )
            compared += int(usable.sum())
    assert compared
    return graph

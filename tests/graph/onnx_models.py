"""Small ONNX models for tests, built with the onnx package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, object]]


def model(
    nodes: Sequence[Node],
    input_shape: Sequence[int | str],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    output: str = "y",
    output_shape: Sequence[int | str] | None = None,
) -> onnx.ModelProto:
    """A model with input `x` and output `y`. A node is (op, inputs, outputs, attributes)."""
    graph = helper.make_graph(
        [
            helper.make_node(op, list(inputs), list(outputs), **attributes)
            for op, inputs, outputs, attributes in nodes
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if output_shape is None:
        _infer_output_shape(proto)
    return proto


def _infer_output_shape(proto: onnx.ModelProto) -> None:
    """The checker wants the output to have a shape; models that break a rule get any."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph.output[0].type
    shape = proto.graph.output[0].type.tensor_type.shape
    shape.CopyFrom(inferred.tensor_type.shape)
    if not inferred.tensor_type.HasField("shape"):
        shape.dim.add().dim_param = "unknown"


def one_node(
    op: str,
    input_shape: Sequence[int],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    operands: Sequence[str] | None = None,
    opset: int = 13,
    **attributes: object,
) -> bytes:
    """The bytes of a model of one node that reads `x` and all constants, in order."""
    reads = ["x", *(constants or {})] if operands is None else operands
    return model(
        [(op, reads, ["y"], attributes)], input_shape, constants, opset=opset
    ).SerializeToString()


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normals, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    """An int64 vector."""
    return np.array(values, dtype=np.int64)

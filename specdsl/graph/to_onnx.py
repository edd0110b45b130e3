"""`export`: a graph as an ONNX model, so that ONNX Runtime can replay it.

ONNX networks compute in float32, so every constant is rounded to the nearest float32 number. Where
that changes a constant (a weight of 1/3, a merged layer) the exported network is another function
than the graph, by rounding: the graph stays the reference, and a witness must hold for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId

if TYPE_CHECKING:
    import onnx

OPSET = 17
# The IR version that came with opset 17; later ones are refused by runtimes of that time.
IR_VERSION = 8
# Gelu came with opset 20 (and Mish with 18): only graphs with such ops ask for it.
LATE_OPS = (ops.Gelu, ops.GeluTanh, ops.Mish)
LATE_OPSET = 20
LATE_IR_VERSION = 9


@dataclass(slots=True)
class _Model:
    """Nodes and tensors collected so far; `shapes` are those of the graph's nodes."""

    name: str
    graph: Graph
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def float_tensor(self, value: ops.Array, node: NodeId) -> str:
        """A float32 constant. Raises SpecError E0630 beyond the range of float32."""
        text = f"network `{self.name}`: a constant of `{node}` is larger than any float32"
        try:
            with np.errstate(over="ignore"):
                rounded = ops.as_float(value).astype(np.float32)
        except OverflowError as error:
            raise SpecError.of("E0630", text) from error
        if not np.isfinite(rounded).all():
            raise SpecError.of("E0630", text)
        return self._tensor(rounded)

    def integer_tensor(self, values: npt.NDArray[np.int64] | Sequence[int]) -> str:
        """An int64 constant, for shapes and positions."""
        return self._tensor(np.asarray(values, dtype=np.int64))

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        node = helper.make_node(op, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def between(self, output: str) -> str:
        """A free name for an intermediate value of the node `output`."""
        return self._fresh(f"{output}.{len(self.nodes)}")

    def _fresh(self, name: str) -> str:
        while name in self.graph.shapes:
            name += "_"
        return name

    def _tensor(self, value: npt.NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        name = self._fresh(f"constant.{len(self.tensors)}")
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def export(graph: Graph, name: str = "network") -> bytes:
    """The bytes of an ONNX model (float32) with the graph's inputs and outputs in order.

    Values are called like their nodes; only an output that is an input, or an output already, gets
    another name. Raises SpecError E0630 where a constant is beyond float32.
    """
    from onnx import TensorProto, helper

    model = _Model(name, graph)
    for node, op, operands in graph:
        if not isinstance(op, ops.Input):
            export_op(op, model, operands, node)
    ends: list[str] = []
    for node in graph.outputs:
        taken = node in graph.inputs or node in ends
        ends.append(model.add("Identity", [node], model.between(node)) if taken else node)
    proto = helper.make_graph(
        model.nodes,
        name,
        [_value(graph, node, node, TensorProto.FLOAT) for node in graph.inputs],
        [
            _value(graph, node, end, TensorProto.FLOAT)
            for node, end in zip(graph.outputs, ends, strict=True)
        ],
        model.tensors,
    )
    number = opset_of(graph)
    opset = helper.make_opsetid("", number)
    version = IR_VERSION if number == OPSET else LATE_IR_VERSION
    return helper.make_model(
        proto, opset_imports=[opset], ir_version=version, producer_name="specdsl"
    ).SerializeToString()


def opset_of(graph: Graph) -> int:
    """The opset that `export` uses: the oldest of two that has all ops of the graph."""
    return LATE_OPSET if any(isinstance(op, LATE_OPS) for _, op, _ in graph) else OPSET


def expose(model: bytes, names: Sequence[str]) -> bytes:
    """The model with the float32 values `names` as further outputs, those that are none yet."""
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_model_from_string(model)
    present = {output.name for output in proto.graph.output}
    for name in names:
        if name not in present:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            proto.graph.output.append(value)
            present.add(name)
    return proto.SerializeToString()


def tensor_bytes(value: npt.NDArray[np.float32], name: str) -> bytes:
    """A serialised ONNX TensorProto."""
    from onnx import numpy_helper

    return numpy_helper.from_array(value, name).SerializeToString()


def _value(graph: Graph, node: NodeId, name: str, element: int) -> onnx.ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, element, list(graph.shapes[node]))


@singledispatch
def export_op(op: ops.Op, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    """Add what computes `node`. Raises SpecError E0630 for an op without an ONNX form."""
    raise _no_form(op, model, node)


def _no_form(op: ops.Op, model: _Model, node: NodeId) -> SpecError:
    text = f"network `{model.name}`: `{node}` ({type(op).__name__}) has no ONNX form"
    return SpecError.of("E0630", text)


@export_op.register
def _constant(op: ops.Constant, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Identity", [model.float_tensor(op.value, node)], node)


@export_op.register
def _dense(op: ops.Dense, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    weight, bias = model.float_tensor(op.weight.T, node), model.float_tensor(op.bias, node)
    product = model.add("MatMul", [operands[0], weight], model.between(node))
    model.add("Add", [product, bias], node)


@export_op.register
def _conv(op: ops.Conv, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    weight, bias = model.float_tensor(op.weight, node), model.float_tensor(op.bias, node)
    model.add(
        "Conv",
        [operands[0], weight, bias],
        node,
        strides=list(op.strides),
        pads=[*(begin for begin, _ in op.pads), *(end for _, end in op.pads)],
        dilations=list(op.dilations),
        group=op.groups,
    )


@export_op.register
def _scale(op: ops.Scale, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    _affine(model, operands[0], op.scale, op.shift, node)


@export_op.register
def _batch_norm(op: ops.BatchNorm, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    extent = (-1, *(1 for _ in model.graph.shapes[node][2:]))
    _affine(model, operands[0], op.factor.reshape(extent), op.offset.reshape(extent), node)


def _affine(model: _Model, x: str, scale: ops.Array, shift: ops.Array, node: NodeId) -> None:
    factor, offset = model.float_tensor(scale, node), model.float_tensor(shift, node)
    product = model.add("Mul", [x, factor], model.between(node))
    model.add("Add", [product, offset], node)


@export_op.register
def _sum(op: ops.Sum, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    terms: list[str] = []
    for coefficient, operand in zip(op.coefficients, operands, strict=True):
        if coefficient == 1:
            terms.append(operand)
            continue
        factor = model.float_tensor(np.array(coefficient), node)
        terms.append(model.add("Mul", [operand, factor], model.between(node)))
    model.add("Sum", terms, node)


@export_op.register
def _reshape(op: ops.Reshape, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Reshape", [operands[0], model.integer_tensor(op.target)], node)


@export_op.register
def _transpose(op: ops.Transpose, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Transpose", [operands[0]], node, perm=list(op.axes))


@export_op.register
def _select(op: ops.Select, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    flat = model.add("Reshape", [operands[0], model.integer_tensor([-1])], model.between(node))
    model.add("Gather", [flat, model.integer_tensor(op.indices)], node, axis=0)


@export_op.register
def _concat(op: ops.Concat, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Concat", operands, node, axis=op.axis)


@export_op.register
def _piecewise(
    op: ops.PiecewiseLinear, model: _Model, operands: Sequence[str], node: NodeId
) -> None:
    """`value at the first knot + slope before it * (x - knot) + sum of bends`, each a ReLU."""
    first = op.breakpoints[0]
    intercept = np.array(op.anchor - op.slopes[0] * first)
    line = model.between(node)
    _affine(model, operands[0], np.array(op.slopes[0]), intercept, line)
    terms = [line]
    for i, knot in enumerate(op.breakpoints):
        offset = model.float_tensor(np.array(-knot), node)
        beyond = model.add("Add", [operands[0], offset], model.between(node))
        bend = model.add("Relu", [beyond], model.between(node))
        change = model.float_tensor(np.array(op.slopes[i + 1] - op.slopes[i]), node)
        terms.append(model.add("Mul", [bend, change], model.between(node)))
    model.add("Sum", terms, node)


@export_op.register
def _leaky_relu(op: ops.LeakyRelu, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("LeakyRelu", [operands[0]], node, alpha=op.slope)


@export_op.register
def _relu(op: ops.Relu, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Relu", [operands[0]], node)


@export_op.register
def _clip(op: ops.Clip, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    bounds = [model.float_tensor(np.array(b), node) for b in (op.minimum, op.maximum)]
    model.add("Clip", [operands[0], *bounds], node)


@export_op.register
def _abs(op: ops.Abs, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Abs", [operands[0]], node)


@export_op.register
def _multiply(op: ops.Multiply, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Mul", operands, node)


@export_op.register
def _square(op: ops.Square, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Mul", [operands[0], operands[0]], node)


# --- largest, steps, curves -----------------------------------------------------------------------


@export_op.register
def _conv_transpose(
    op: ops.ConvTranspose, model: _Model, operands: Sequence[str], node: NodeId
) -> None:
    weight, bias = model.float_tensor(op.weight, node), model.float_tensor(op.bias, node)
    model.add(
        "ConvTranspose",
        [operands[0], weight, bias],
        node,
        strides=list(op.strides),
        pads=[*(begin for begin, _ in op.pads), *(end for _, end in op.pads)],
        dilations=list(op.dilations),
        output_padding=list(op.output_pads),
        group=op.groups,
    )


@export_op.register
def _group_max(op: ops.GroupMax, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    flat = model.add("Reshape", [operands[0], model.integer_tensor([-1])], model.between(node))
    gathered = model.add(
        "Gather", [flat, model.integer_tensor(op.groups)], model.between(node), axis=0
    )
    if opset_of(model.graph) == OPSET:
        model.add("ReduceMax", [gathered], node, axes=[-1], keepdims=0)
    else:  # From opset 18 on the axes are an input.
        model.add("ReduceMax", [gathered, model.integer_tensor([-1])], node, keepdims=0)


# ONNX ops that compute an op by themselves.
SAME: Mapping[type[ops.Op], str] = MappingProxyType(
    {
        ops.Sign: "Sign",
        ops.Floor: "Floor",
        ops.Ceil: "Ceil",
        ops.Round: "Round",
        ops.Exp: "Exp",
        ops.Log: "Log",
        ops.Sqrt: "Sqrt",
        ops.Reciprocal: "Reciprocal",
        ops.Sigmoid: "Sigmoid",
        ops.Tanh: "Tanh",
        ops.Erf: "Erf",
        ops.Softsign: "Softsign",
        ops.Softplus: "Softplus",
        ops.Gelu: "Gelu",
        ops.Mish: "Mish",
        ops.HardSwish: "HardSwish",
        ops.Sin: "Sin",
        ops.Cos: "Cos",
        ops.Tan: "Tan",
    }
)
# Comparisons with 0 that give 1 or 0.
COMPARED: Mapping[type[ops.Op], str] = MappingProxyType(
    {ops.Positive: "Greater", ops.NotNegative: "GreaterOrEqual", ops.IsZero: "Equal"}
)


@export_op.register(ops.Step)
@export_op.register(ops.Smooth)
def _same(op: ops.Op, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    """Raises SpecError E0630 for an op of these kinds that has no ONNX form."""
    if type(op) not in SAME:
        raise _no_form(op, model, node)
    model.add(SAME[type(op)], operands, node)


@export_op.register
def _threshold(op: ops.Threshold, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    from onnx import TensorProto

    if type(op) not in COMPARED:
        _same(op, model, operands, node)
        return
    zero = model.float_tensor(np.array(0.0), node)
    truth = model.add(COMPARED[type(op)], [operands[0], zero], model.between(node))
    model.add("Cast", [truth], node, to=TensorProto.FLOAT)


@export_op.register
def _truncate(op: ops.Truncate, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    """`sign(x) floor(|x|)`."""
    sign = model.add("Sign", operands, model.between(node))
    size = model.add("Abs", operands, model.between(node))
    whole = model.add("Floor", [size], model.between(node))
    model.add("Mul", [sign, whole], node)


@export_op.register
def _power(op: ops.Power, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    exponent = model.float_tensor(np.array(op.exponent), node)
    model.add("Pow", [operands[0], exponent], node)


@export_op.register
def _elu(op: ops.Elu, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Elu", operands, node, alpha=op.alpha)


@export_op.register
def _gelu_tanh(op: ops.GeluTanh, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    model.add("Gelu", operands, node, approximate="tanh")


@export_op.register
def _silu(op: ops.Silu, model: _Model, operands: Sequence[str], node: NodeId) -> None:
    gate = model.add("Sigmoid", operands, model.between(node))
    model.add("Mul", [operands[0], gate], node)

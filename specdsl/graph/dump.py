"""A graph as text: one line a node, the same for the same graph on every machine."""

from __future__ import annotations

from functools import singledispatch
from hashlib import sha256

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph

# Longer parameters are shown by shape and digest.
MAX_SHOWN = 8
DIGEST_DIGITS = 8


def dump(graph: Graph) -> str:
    """Lines `name: shape = op(parameters) <- operands`, in topological order, then the outputs.

    Small parameters are written out, larger ones by shape and a digest of their values.
    """
    lines = [_line(graph, node) for node in graph.order]
    lines.append(f"outputs: {', '.join(graph.outputs)}")
    return "\n".join(lines) + "\n"


def _line(graph: Graph, node: str) -> str:
    shape = ", ".join(str(n) for n in graph.shapes[node])
    operands = graph.operands(node)
    reads = f" <- {', '.join(operands)}" if operands else ""
    return f"{node}: [{shape}] = {describe(graph.op(node))}{reads}"


def describe(op: ops.Op) -> str:
    """The op and its parameters, for people."""
    parameters = ", ".join(f"{k} = {v}" for k, v in parameters_of(op).items())
    return f"{type(op).__name__.lower()}({parameters})"


@singledispatch
def parameters_of(op: ops.Op) -> dict[str, str]:
    """Name and text of what defines the op beyond its kind. Ops without parameters have none."""
    return {}


@parameters_of.register
def _constant(op: ops.Constant) -> dict[str, str]:
    return {"value": _tensor(op.value)}


@parameters_of.register
def _dense(op: ops.Dense) -> dict[str, str]:
    return {"weight": _tensor(op.weight), "bias": _tensor(op.bias)}


@parameters_of.register
def _conv(op: ops.Conv) -> dict[str, str]:
    geometry = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    shown = {name: _numbers(value) for name, value in geometry.items()}
    groups = {"groups": str(op.groups)} if op.groups != 1 else {}
    return {"weight": _tensor(op.weight), "bias": _tensor(op.bias), **shown, **groups}


@parameters_of.register
def _conv_transpose(op: ops.ConvTranspose) -> dict[str, str]:
    shown = {"weight": _tensor(op.weight), "bias": _tensor(op.bias)}
    shown |= {"strides": _numbers(op.strides), "pads": _numbers(op.pads)}
    shown |= {"dilations": _numbers(op.dilations), "output_pads": _numbers(op.output_pads)}
    return shown | ({"groups": str(op.groups)} if op.groups != 1 else {})


@parameters_of.register
def _scale(op: ops.Scale) -> dict[str, str]:
    return {"scale": _tensor(op.scale), "shift": _tensor(op.shift)}


@parameters_of.register
def _sum(op: ops.Sum) -> dict[str, str]:
    return {"coefficients": _tensor(np.array(op.coefficients))}


@parameters_of.register
def _transpose(op: ops.Transpose) -> dict[str, str]:
    return {"axes": _numbers(op.axes)}


@parameters_of.register
def _select(op: ops.Select) -> dict[str, str]:
    return {"indices": _tensor(op.indices)}


@parameters_of.register
def _concat(op: ops.Concat) -> dict[str, str]:
    return {"axis": str(op.axis)}


@parameters_of.register
def _batch_norm(op: ops.BatchNorm) -> dict[str, str]:
    return {"factor": _tensor(op.factor), "offset": _tensor(op.offset)}


@parameters_of.register
def _leaky_relu(op: ops.LeakyRelu) -> dict[str, str]:
    return {"slope": _number(op.slope)}


@parameters_of.register
def _relu(op: ops.Relu) -> dict[str, str]:
    return {}


@parameters_of.register
def _clip(op: ops.Clip) -> dict[str, str]:
    return {"minimum": _number(op.minimum), "maximum": _number(op.maximum)}


@parameters_of.register
def _group_max(op: ops.GroupMax) -> dict[str, str]:
    return {"groups": _tensor(op.groups)}


@parameters_of.register
def _power(op: ops.Power) -> dict[str, str]:
    return {"exponent": _number(op.exponent)}


@parameters_of.register
def _elu(op: ops.Elu) -> dict[str, str]:
    return {"alpha": _number(op.alpha)}


def _numbers(values: tuple[object, ...]) -> str:
    inside = (_numbers(v) if isinstance(v, tuple) else str(v) for v in values)
    return f"[{', '.join(inside)}]"


def _tensor(value: ops.Array) -> str:
    if value.size <= MAX_SHOWN:
        return _nested(value)
    entries = " ".join(_number(v) for v in value.reshape(-1).tolist())
    shape = ", ".join(str(n) for n in value.shape)
    return f"<[{shape}] {sha256(entries.encode()).hexdigest()[:DIGEST_DIGITS]}>"


def _nested(value: ops.Array) -> str:
    if value.ndim == 0:
        return _number(value.tolist())
    return f"[{', '.join(_nested(np.asarray(v)) for v in value)}]"


def _number(value: object) -> str:
    """Fractions as `1/3`, floats as the shortest text that reads back, without `.0`."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)

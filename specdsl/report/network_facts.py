"""What there is to say about the nodes of a network: shape, parameters, readers, kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

import numpy as np

from specdsl.graph import ops
from specdsl.graph.dump import parameters_of
from specdsl.graph.graph import Graph, NodeId

KINDS: Mapping[str, tuple[type[ops.Op], ...]] = {
    "input": (ops.Input,),
    "constant": (ops.Constant,),
    "moves entries": (ops.Rearrange,),
    "affine": (ops.Affine,),
    "piecewise linear": (ops.PiecewiseLinear, ops.GroupMax),
    "curved": (ops.Smooth, ops.Polynomial),
    "jumps": (ops.Step,),
}
"""Kinds of ops in words, the first that fits."""

# Parameters that take more letters than this are told by their number alone.
_LONGEST = 24


@dataclass(frozen=True, slots=True)
class Layer:
    """One node. `settings`: what defines it beside weights, `slope = 0.1`; `parameters`: how many
    numbers it holds.
    """

    node: NodeId
    op: str
    kind: str
    shape: str
    settings: str
    parameters: int
    readers: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """`entries`: of values that some op computes which is not affine, by the kind of op."""

    nodes: int
    parameters: int
    entries: Mapping[str, int]


def layers(graph: Graph) -> tuple[Layer, ...]:
    """All nodes in topological order."""
    readers: dict[NodeId, list[NodeId]] = {node: [] for node in graph.order}
    for node, _, operands in graph:
        for operand in dict.fromkeys(operands):
            readers[operand].append(node)
    return tuple(_layer(graph, node, tuple(readers[node])) for node in graph.order)


def totals(graph: Graph) -> Totals:
    """Sums over all nodes."""
    entries: Counter[str] = Counter()
    for node, op, _ in graph:
        if kind_of(op) in ("piecewise linear", "curved", "jumps"):
            entries[kind_of(op)] += graph.size(node)
    parameters = sum(parameter_count(op) for _, op, _ in graph)
    return Totals(len(graph), parameters, entries)


def kind_of(op: ops.Op) -> str:
    """The kind of op in words."""
    return next((word for word, kinds in KINDS.items() if isinstance(op, kinds)), "other")


def parameter_count(op: ops.Op) -> int:
    """How many numbers the op holds in arrays; positions of entries and single numbers do not
    count.
    """
    assert is_dataclass(op)
    values = (getattr(op, item.name) for item in fields(op))
    arrays = (v for v in values if isinstance(v, np.ndarray) and v.ndim)
    return sum(a.size for a in arrays if not np.issubdtype(a.dtype, np.integer))


def shape_text(shape: ops.Shape) -> str:
    """`1x3x32x32`, and `1` for a number alone."""
    return "x".join(str(n) for n in shape) or "1"


def _layer(graph: Graph, node: NodeId, readers: tuple[NodeId, ...]) -> Layer:
    op = graph.op(node)
    return Layer(
        node=node,
        op=type(op).__name__,
        kind=kind_of(op),
        shape=shape_text(graph.shapes[node]),
        settings=_settings(op),
        parameters=parameter_count(op),
        readers=readers,
    )


def _settings(op: ops.Op) -> str:
    """What tells the op from others of its class, in a few words; values of weights do not."""
    match op:
        case ops.Conv() | ops.ConvTranspose():
            geometry = {"strides": op.strides, "dilations": op.dilations, "groups": (op.groups,)}
            unusual = (f"{k} {shape_text(v)}" for k, v in geometry.items() if set(v) != {1})
            return ", ".join([shape_text(op.weight.shape[2:]), *unusual])
        case ops.GroupMax():
            return f"of {op.groups.shape[-1]}"
        case ops.Dense() | ops.Constant() | ops.Reshape() | ops.BatchNorm():
            return ""
        case ops.Sum() if set(op.coefficients) == {1.0}:
            return ""
        case ops.Scale():
            known = (_number("scale", op.scale, 1), _number("shift", op.shift, 0))
            return ", ".join(filter(None, known))
        case _:
            shown = (f"{key} = {value}" for key, value in parameters_of(op).items())
            return ", ".join(text for text in shown if "<" not in text and len(text) < _LONGEST)


def _number(name: str, parameter: ops.Array, default: int) -> str | None:
    """`scale = 2`, where the parameter is one number that is not the usual one."""
    if parameter.size != 1 or (parameter == default).all():
        return None
    return f"{name} = {float(ops.as_float(parameter).reshape(())):.4g}"

"""A graph's ops as a certificate names them: few kinds, which the checker has rules for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from math import prod

import numpy as np

from specdsl.certificates.tensors import TensorTable
from specdsl.graph import ops
from specdsl.graph.evaluate import knot_values
from specdsl.graph.graph import Graph, NodeId

CURVES: dict[type[ops.Smooth], str] = {
    ops.Sigmoid: "sigmoid",
    ops.Tanh: "tanh",
    ops.Exp: "exp",
    ops.Log: "log",
    ops.Sqrt: "sqrt",
    ops.Softplus: "softplus",
}


class NotCertified(Exception):
    """A certificate has no words for something in a question; the message names it."""


@dataclass(slots=True)
class NodeTable:
    """Records as a header lists them. `numbers`: where the value of each node of the graph is."""

    tensors: TensorTable
    records: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    numbers: dict[NodeId, int] = field(default_factory=dict[NodeId, int])

    def add(
        self,
        op: str,
        operands: list[int],
        shape: ops.Shape,
        evaluated: str,
        attributes: dict[str, object],
    ) -> int:
        """One node; its number."""
        own = {"op": op, "in": operands, "shape": list(shape), "evaluated": evaluated}
        self.records.append(own | attributes)
        return len(self.records) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """A node on its way into the table."""

    table: NodeTable
    operands: list[int]
    source: ops.Shape
    shape: ops.Shape
    evaluated: str

    def tensor(self, values: object) -> int:
        """The position of a parameter."""
        return self.table.tensors.add(values)  # pyright: ignore[reportArgumentType]

    def add(self, op: str, **attributes: object) -> int:
        """The node as one of the certificate's."""
        return self.table.add(op, self.operands, self.shape, self.evaluated, attributes)


def add_graph(table: NodeTable, graph: Graph, evaluated: dict[NodeId, str]) -> None:
    """All nodes of a graph. `evaluated`: those that are not exact. Raises NotCertified."""
    for node, op, operands in graph:
        source = graph.shapes[operands[0]] if operands else ()
        numbers = [table.numbers[o] for o in operands]
        how = evaluated.get(node, "exact")
        place = Place(table, numbers, source, graph.shapes[node], how)
        table.numbers[node] = add_op(op, place)


@singledispatch
def add_op(op: ops.Op, place: Place) -> int:
    """Add an op; the number of the node with its value. Raises NotCertified."""
    raise NotCertified(f"certificates do not cover `{type(op).__name__}`")


@add_op.register
def _(op: ops.Input, place: Place) -> int:
    return place.add("input")


@add_op.register
def _(op: ops.Constant, place: Place) -> int:
    table = place.table
    attributes: dict[str, object] = {"value": place.tensor(op.value)}
    return table.add("constant", [], place.shape, "exact", attributes)


@add_op.register
def _(op: ops.Dense, place: Place) -> int:
    return place.add("dense", weight=place.tensor(op.weight), bias=place.tensor(op.bias))


@add_op.register(ops.Conv)
@add_op.register(ops.ConvTranspose)
def _(op: ops.Conv | ops.ConvTranspose, place: Place) -> int:
    return place.add(
        "conv" if isinstance(op, ops.Conv) else "conv_transpose",
        weight=place.tensor(op.weight),
        bias=place.tensor(op.bias),
        strides=list(op.strides),
        begins=[begin for begin, _ in op.pads],
        ends=[end for _, end in op.pads],
        dilations=list(op.dilations),
        groups=[op.groups],
    )


@add_op.register
def _(op: ops.Scale, place: Place) -> int:
    hidden = place.tensor(np.zeros(()))
    return place.add(
        "scale", factor=place.tensor(op.scale), shift=place.tensor(op.shift), hidden=hidden
    )


@add_op.register
def _(op: ops.BatchNorm, place: Place) -> int:
    along = (-1, *(1 for _ in place.shape[2:]))
    mean, beta = (np.asarray(v, np.float64) for v in (op.mean, op.beta))
    # A runtime subtracts the mean first, and cancels what the folded offset does not show.
    hidden = 2 * (np.abs(op.factor * mean) + np.abs(beta))
    factor, shift, size = (place.tensor(v.reshape(along)) for v in (op.factor, op.offset, hidden))
    return place.add("scale", factor=factor, shift=shift, hidden=size)


@add_op.register
def _(op: ops.Sum, place: Place) -> int:
    return place.add("sum", factors=place.tensor(np.array(op.coefficients, np.float64)))


@add_op.register
def _(op: ops.Reshape, place: Place) -> int:
    return place.add("reshape")


@add_op.register
def _(op: ops.Transpose, place: Place) -> int:
    positions = np.arange(prod(place.source)).reshape(place.source)
    return place.add("pick", indices=place.tensor(positions.transpose(op.axes)))


@add_op.register
def _(op: ops.Select, place: Place) -> int:
    return place.add("pick", indices=place.tensor(op.indices))


@add_op.register
def _(op: ops.Concat, place: Place) -> int:
    return place.add("concat", axis=[op.axis])


@add_op.register
def _(op: ops.PiecewiseLinear, place: Place) -> int:
    return place.add(
        "piecewise",
        breakpoints=place.tensor(np.array(op.breakpoints, np.float64)),
        values=place.tensor(np.array(knot_values(op), dtype=object)),
        slopes=place.tensor(np.array(op.slopes, np.float64)),
    )


@add_op.register
def _(op: ops.GroupMax, place: Place) -> int:
    table = place.table
    members = [
        table.add(
            "pick",
            place.operands,
            place.shape,
            place.evaluated,
            {"indices": place.tensor(op.groups[..., k])},
        )
        for k in range(op.groups.shape[-1])
    ]
    return table.add("maximum", members, place.shape, place.evaluated, {})


@add_op.register
def _(op: ops.Multiply, place: Place) -> int:
    if place.operands[0] == place.operands[1]:
        place = Place(place.table, place.operands[:1], place.source, place.shape, place.evaluated)
        return place.add("smooth", curve="square")
    return place.add("product")


@add_op.register
def _(op: ops.Square, place: Place) -> int:
    return place.add("smooth", curve="square")


@add_op.register
def _(op: ops.Smooth, place: Place) -> int:
    curve = CURVES.get(type(op))
    if curve is None:
        raise NotCertified(f"certificates do not cover `{type(op).__name__}`")
    return place.add("smooth", curve=curve)

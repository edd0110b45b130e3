"""A graph's ops as a certificate names them: few kinds, which the checker has rules for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    ops.Reciprocal: "reciprocal",
    ops.Softplus: "softplus",
}


class NotCertified(Exception):
    """A certificate has no words for something in a question; the message names it."""


class NoMargin(NotCertified):
    """Nor will any other way find one: the claim holds by less than the arithmetic can tell."""


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
    sources: list[ops.Shape]
    shape: ops.Shape
    evaluated: str

    @property
    def source(self) -> ops.Shape:
        """Of the first operand."""
        return self.sources[0]

    def tensor(self, values: object) -> int:
        """The position of a parameter."""
        return self.table.tensors.add(values)  # pyright: ignore[reportArgumentType]

    def add(self, op: str, **attributes: object) -> int:
        """The node as one of the certificate's."""
        return self.table.add(op, self.operands, self.shape, self.evaluated, attributes)


def add_graph(table: NodeTable, graph: Graph, evaluated: dict[NodeId, str]) -> None:
    """All nodes of a graph. `evaluated`: those that are not exact. Raises NotCertified."""
    for node, op, operands in graph:
        sources = [graph.shapes[o] for o in operands]
        numbers = [table.numbers[o] for o in operands]
        how = evaluated.get(node, "exact")
        place = Place(table, numbers, sources, graph.shapes[node], how)
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
    attributes: dict[str, object] = {"maps": [], "offset": place.tensor(op.value)}
    return table.add("affine", [], place.shape, "exact", attributes)


@add_op.register
def _(op: ops.Dense, place: Place) -> int:
    own: dict[str, object] = {"kind": "dense", "weight": place.tensor(op.weight)}
    return place.add("affine", maps=[own], offset=place.tensor(op.bias))


@add_op.register(ops.Conv)
@add_op.register(ops.ConvTranspose)
def _(op: ops.Conv | ops.ConvTranspose, place: Place) -> int:
    own: dict[str, object] = {
        "kind": "conv",
        "transposed": isinstance(op, ops.ConvTranspose),
        "weight": place.tensor(op.weight),
        "strides": list(op.strides),
        "begins": [begin for begin, _ in op.pads],
        "ends": [end for _, end in op.pads],
        "dilations": list(op.dilations),
        "groups": op.groups,
    }
    along = (-1, *(1 for _ in place.shape[2:]))
    return place.add("affine", maps=[own], offset=place.tensor(op.bias.reshape(along)))


def _factor(place: Place, factor: object) -> dict[str, object]:
    return {"kind": "factor", "factor": place.tensor(factor)}


@add_op.register
def _(op: ops.Scale, place: Place) -> int:
    return place.add("affine", maps=[_factor(place, op.scale)], offset=place.tensor(op.shift))


@add_op.register
def _(op: ops.BatchNorm, place: Place) -> int:
    along = (-1, *(1 for _ in place.shape[2:]))
    mean, beta = (np.asarray(v, np.float64) for v in (op.mean, op.beta))
    # A runtime subtracts the mean first, and cancels what the folded offset does not show.
    hidden = 2 * (np.abs(op.factor * mean) + np.abs(beta))
    offset, size = (place.tensor(v.reshape(along)) for v in (op.offset, hidden))
    maps = [_factor(place, op.factor.reshape(along))]
    return place.add("affine", maps=maps, offset=offset, hidden=size)


@add_op.register
def _(op: ops.Sum, place: Place) -> int:
    return _added(place, *op.coefficients)


def _added(place: Place, *coefficients: float) -> int:
    return place.add("affine", maps=[_factor(place, float(c)) for c in coefficients])


@add_op.register
def _(op: ops.Reshape, place: Place) -> int:
    return place.add("affine", maps=[_factor(place, 1.0)])


@add_op.register
def _(op: ops.Transpose, place: Place) -> int:
    positions = np.arange(prod(place.source)).reshape(place.source)
    return _picked(place, positions.transpose(op.axes))


@add_op.register
def _(op: ops.Select, place: Place) -> int:
    return _picked(place, op.indices)


def _picked(place: Place, indices: object) -> int:
    return place.add("affine", maps=[{"kind": "pick", "indices": place.tensor(indices)}])


@add_op.register
def _(op: ops.Concat, place: Place) -> int:
    positions = np.arange(prod(place.shape)).reshape(place.shape)
    ends = np.cumsum([shape[op.axis] for shape in place.sources])
    parts = np.split(positions, ends[:-1], op.axis)
    return place.add("affine", maps=[{"kind": "place", "indices": place.tensor(p)} for p in parts])


@add_op.register
def _(op: ops.PiecewiseLinear, place: Place) -> int:
    return _piecewise(place, op)


def _piecewise(place: Place, op: ops.PiecewiseLinear) -> int:
    return place.add(
        "piecewise",
        breakpoints=place.tensor(np.array(op.breakpoints, np.float64)),
        values=place.tensor(np.array(knot_values(op), dtype=object)),
        slopes=place.tensor(np.array(op.slopes, np.float64)),
    )


@add_op.register
def _(op: ops.GroupMax, place: Place) -> int:
    # The largest of two is one of them and what the other has more. Nothing of it rounds: a runtime
    # takes one of the numbers that there are.
    largest, *others = (_picked(place, op.groups[..., k]) for k in range(op.groups.shape[-1]))
    exact = replace(place, evaluated="exact")
    for other in others:
        more = _added(replace(exact, operands=[other, largest]), 1.0, -1.0)
        own = _piecewise(replace(exact, operands=[more]), ops.Relu())
        largest = _added(replace(exact, operands=[largest, own]), 1.0, 1.0)
    return largest


@add_op.register
def _(op: ops.Multiply, place: Place) -> int:
    if place.operands[0] == place.operands[1]:
        place = replace(place, operands=place.operands[:1])
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

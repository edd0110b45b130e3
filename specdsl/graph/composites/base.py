"""What all composites are made of: sums, products and moves of entries, with broadcasting."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops.base import broadcasts

Number = float | Fraction
IntegerArray = npt.NDArray[np.int64]

# Index arrays of one node, 128 MiB; pooling in the largest VNN-COMP network takes 3 million.
MAX_INDICES = 2**24


class Builder(Protocol):
    """What collects the nodes: a `GraphBuilder`, or something that names or guards them."""

    def add(self, op: ops.Op, *operands: NodeId, name: str | None = None) -> NodeId:
        """Add a node and return its id. Raises ShapeMismatch where the operands do not fit."""
        ...

    def shape(self, node: NodeId) -> ops.Shape:
        """Shape of a node added earlier."""
        ...


def guard(shape: ops.Shape, what: str) -> None:
    """Refuse to build more than `MAX_INDICES` indices. Raises ShapeMismatch."""
    if prod(shape) > MAX_INDICES:
        raise ops.ShapeMismatch(f"{what} of shape {shape} takes more than {MAX_INDICES} entries")


# --- parameters ----------------------------------------------------------------------------------


def exact_array(values: ops.Array | Number) -> ops.Array:
    """Numbers as a parameter: float64 where these are exact, else the fractions themselves."""
    if isinstance(values, np.generic):
        values = np.asarray(values)
    elif not isinstance(values, np.ndarray):
        held = np.empty((), dtype=object)
        held[()] = Fraction(values)
        values = held
    if values.dtype != object:
        return values
    rounded = values.astype(np.float64)
    pairs = zip(rounded.reshape(-1), values.reshape(-1), strict=True)
    return rounded if all(np.isfinite(r) and Fraction(r) == v for r, v in pairs) else values


def share(count: int) -> ops.Array:
    """`1 / count` as a parameter."""
    return exact_array(Fraction(1, count))


def zeros(*shape: int) -> npt.NDArray[np.float32]:
    """A parameter of zeros."""
    return np.zeros(shape, dtype=np.float32)


def ones(*shape: int) -> npt.NDArray[np.float32]:
    """A parameter of ones."""
    return np.ones(shape, dtype=np.float32)


# --- moves ---------------------------------------------------------------------------------------


def positions(shape: ops.Shape) -> IntegerArray:
    """The row-major position of every entry, in that shape: index this to select."""
    return np.arange(prod(shape), dtype=np.int64).reshape(shape)


def select(builder: Builder, x: NodeId, indices: IntegerArray) -> NodeId:
    """Entries by row-major position; no node where all stay where they are."""
    if indices.shape == builder.shape(x) and np.array_equal(indices, positions(indices.shape)):
        return x
    return builder.add(ops.Select(indices), x)


def reshape(builder: Builder, x: NodeId, shape: ops.Shape) -> NodeId:
    """The same entries in another shape; no node where the shape is the same."""
    return x if builder.shape(x) == shape else builder.add(ops.Reshape(shape), x)


def transpose(builder: Builder, x: NodeId, axes: tuple[int, ...]) -> NodeId:
    """Axes in another order; no node where the order is the same."""
    return x if axes == tuple(range(len(axes))) else builder.add(ops.Transpose(axes), x)


def broadcast(builder: Builder, x: NodeId, shape: ops.Shape) -> NodeId:
    """The value repeated to a larger shape, as numpy does."""
    found = builder.shape(x)
    if found == shape:
        return x
    if not broadcasts(found, shape):
        raise ops.ShapeMismatch(f"shape {found} does not broadcast to {shape}")
    if prod(found) == prod(shape):
        return reshape(builder, x, shape)
    guard(shape, "a value")
    return builder.add(ops.Select(np.broadcast_to(positions(found), shape).copy()), x)


def together(builder: Builder, *nodes: NodeId) -> tuple[NodeId, ...]:
    """All operands in their common shape."""
    shapes = [builder.shape(n) for n in nodes]
    try:
        common = np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(s) for s in shapes)
        raise ops.ShapeMismatch(f"shapes {listed} do not broadcast") from None
    return tuple(broadcast(builder, n, common) for n in nodes)


# --- arithmetic ----------------------------------------------------------------------------------


def affine(
    builder: Builder, x: NodeId, scale: Number | ops.Array = 1.0, shift: Number | ops.Array = 0.0
) -> NodeId:
    """`scale * x + shift`; no node where that is x. Parameters broadcast to x, and x to them."""
    factor, offset = exact_array(scale), exact_array(shift)
    if (factor == 1).all() and (offset == 0).all() and factor.ndim == offset.ndim == 0:
        return x
    shape = np.broadcast_shapes(builder.shape(x), factor.shape, offset.shape)
    return builder.add(ops.Scale(factor, offset), broadcast(builder, x, shape))


def opposite(builder: Builder, x: NodeId) -> NodeId:
    """`-x`."""
    return affine(builder, x, -1.0)


def add(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """`x + y`."""
    return builder.add(ops.Sum((1.0, 1.0)), *together(builder, x, y))


def subtract(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """`x - y`."""
    return builder.add(ops.Sum((1.0, -1.0)), *together(builder, x, y))


def multiply(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """`x * y`; a square where both are one node."""
    if x == y:
        return builder.add(ops.Square(), x)
    return builder.add(ops.Multiply(), *together(builder, x, y))


def divide(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """`x / y`."""
    return multiply(builder, x, builder.add(ops.Reciprocal(), y))

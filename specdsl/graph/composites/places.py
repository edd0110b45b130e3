"""Slices whose places are computed.

A slice `x[start:end]` along an axis is kept as the whole axis with a truth value for each entry:
whether it is in the slice. Nothing moves, so that what depends on where an entry came from stays
constant, and a slice costs two comparisons for each entry.

Places are whole numbers. Comparisons are made half-way between whole numbers, where rounding
decides nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    IntegerArray,
    affine,
    ones,
    select,
    subtract,
    zeros,
)
from specdsl.graph.graph import NodeId

FloatArray = npt.NDArray[np.float64]

Place = NodeId | int
"""A whole number: a node of one entry, or known."""


def from_front(builder: Builder, place: NodeId, extent: int) -> NodeId:
    """A place counted from the front of an axis: negative ones count from its end."""
    negative = builder.add(ops.Positive(), affine(builder, place, -1.0, -0.5))
    return builder.add(ops.Sum((1.0, float(extent))), place, negative)


def inside(builder: Builder, start: Place, end: Place, extent: int) -> NodeId:
    """Which entries of an axis `x[start:end]` has, as truth values (extent,).

    As ONNX `Slice` and Python mean it: negative places count from the end, what lies beyond an end
    of the axis is cut off, and a slice may be empty.
    """
    begun = _beyond(builder, start, extent)
    ended = _beyond(builder, end, extent)
    if isinstance(begun, str) and isinstance(ended, str):
        return builder.add(ops.Relu(), subtract(builder, begun, ended))
    if isinstance(begun, str):
        return affine(builder, begun, scale=1.0 - np.asarray(ended))
    if isinstance(ended, str):
        return affine(builder, ended, scale=-begun, shift=begun)
    return builder.add(ops.Constant(begun * (1.0 - ended)))


def _beyond(builder: Builder, place: Place, extent: int) -> NodeId | FloatArray:
    """Whether an entry is at a place or after it, (extent,): truth values of the graph, or known.

    Comparing needs no clamping: every entry is after a place in front of the axis.
    """
    entries = np.arange(extent, dtype=np.float64)
    if isinstance(place, int):
        return (entries >= (place + extent if place < 0 else place)).astype(np.float64)
    everywhere: IntegerArray = np.zeros(extent, dtype=np.int64)
    spread = select(builder, from_front(builder, place, extent), everywhere)
    return builder.add(ops.Positive(), affine(builder, spread, -1.0, entries + 0.5))


def count(builder: Builder, present: NodeId) -> NodeId:
    """How many entries a slice has, (1,), from what `inside` says."""
    (extent,) = builder.shape(present)
    return builder.add(ops.Dense(ones(1, extent), zeros(1)), present)

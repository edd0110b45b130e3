"""Pooling over windows."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    IntegerArray,
    affine,
    exact_array,
    guard,
    positions,
    share,
    zeros,
)
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True)
class Window:
    """Geometry of a pooling or convolution, one entry for each spatial axis.

    `pads` gives (begin, end). With `ceil`, a last window may reach beyond the padding, if it starts
    before the padding at the end.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    ceil: bool = False

    def extents(self, spatial: ops.Shape) -> ops.Shape:
        """Number of windows along each axis. Raises ShapeMismatch where there is none."""
        counts = tuple(self._count(axis, extent) for axis, extent in enumerate(spatial))
        if min(counts, default=1) < 1:
            raise ops.ShapeMismatch(f"a window of {self.kernel} does not fit into {spatial}")
        return counts

    def _count(self, axis: int, extent: int) -> int:
        begin, end = self.pads[axis]
        stride = self.strides[axis]
        room = extent + begin + end - self.dilations[axis] * (self.kernel[axis] - 1) - 1
        if not self.ceil or room < 0:
            return room // stride + 1
        count = -(-room // stride) + 1
        return count - 1 if (count - 1) * stride >= extent + begin else count

    def starts(self, spatial: ops.Shape) -> list[IntegerArray]:
        """For each axis the places (windows, kernel) that windows see; outside the value too."""
        return [
            np.arange(count)[:, np.newaxis] * stride
            - pad[0]
            + np.arange(size)[np.newaxis] * dilation
            for count, stride, pad, size, dilation in zip(
                self.extents(spatial),
                self.strides,
                self.pads,
                self.kernel,
                self.dilations,
                strict=True,
            )
        ]


def max_pool(builder: Builder, x: NodeId, window: Window) -> NodeId:
    """The largest entry of each window, padding left out; x: (n, channels, *spatial).

    Raises ShapeMismatch where a window lies in the padding alone.
    """
    shape = builder.shape(x)
    spatial = _spatial(shape, window)
    rank = len(spatial)
    places = window.starts(spatial)
    guard((*shape[:2], *(prod(p.shape) for p in places)), "a pooling")
    flat: IntegerArray = np.zeros((1,) * (2 * rank), dtype=np.int64)
    inside: npt.NDArray[np.bool_] = np.ones((1,) * (2 * rank), dtype=bool)
    for axis, (place, extent) in enumerate(zip(places, spatial, strict=True)):
        spread = [1] * (2 * rank)
        spread[axis], spread[rank + axis] = place.shape
        flat = flat * extent + place.reshape(spread)
        inside = inside & ((place >= 0) & (place < extent)).reshape(spread)
    counts = window.extents(spatial)
    members = np.where(inside, flat, -1)
    members = np.broadcast_to(members, (*counts, *window.kernel)).reshape(*counts, -1)
    # Padding repeats a member of its window: the same set, so the same maximum.
    largest = members.max(axis=-1, keepdims=True)
    if (largest < 0).any():
        raise ops.ShapeMismatch("a pooling window lies in the padding alone")
    members = np.where(members < 0, largest, members)
    size = prod(spatial)
    first = positions(shape[:2]) * size
    groups = first.reshape(*shape[:2], *(1 for _ in members.shape)) + members
    return builder.add(ops.GroupMax(groups), x)


def average_pool(
    builder: Builder, x: NodeId, window: Window, *, count_padding: bool = False
) -> NodeId:
    """The average of each window: over its entries, or with the declared padding as zeros.

    A convolution of every channel by itself, with exact weights; where windows differ in the
    number of entries that count, each sum is divided by its own.
    """
    shape = builder.shape(x)
    spatial = _spatial(shape, window)
    counts = _counts(window, spatial, count_padding)
    least, most = int(counts.min()), int(counts.max())
    if least < 1:
        raise ops.ShapeMismatch("a pooling window lies in the padding alone")
    channels = shape[1]
    weight = share(most) if least == most else np.ones((), np.float32)
    pads = tuple(
        (begin, max(end, int(place.max()) + 1 - extent))
        for (begin, end), place, extent in zip(
            window.pads, window.starts(spatial), spatial, strict=True
        )
    )
    op = ops.Conv(
        np.full((channels, 1, *window.kernel), weight[()]),
        zeros(channels),
        window.strides,
        pads,
        window.dilations,
        channels,
    )
    total = builder.add(op, x)
    if least == most:
        return total
    inverse = np.empty(counts.shape, dtype=object)
    inverse.reshape(-1)[:] = [Fraction(1, int(c)) for c in counts.reshape(-1)]
    return affine(builder, total, exact_array(inverse))


def _counts(window: Window, spatial: ops.Shape, count_padding: bool) -> IntegerArray:
    """How many places of each window count, in the shape of the result's spatial axes."""
    result: IntegerArray = np.ones((), dtype=np.int64)
    for place, extent, (begin, end) in zip(
        window.starts(spatial), spatial, window.pads, strict=True
    ):
        low, high = (-begin, extent + end) if count_padding else (0, extent)
        result = result[..., np.newaxis] * ((place >= low) & (place < high)).sum(axis=1)
    return result


def _spatial(shape: ops.Shape, window: Window) -> ops.Shape:
    if len(shape) != len(window.kernel) + 2:
        raise ops.ShapeMismatch(f"a pooling over {len(window.kernel)} axes of {shape}")
    return shape[2:]

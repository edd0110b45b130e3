"""Resampling along axes: nearest neighbours and linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    exact_array,
    guard,
    positions,
    select,
    transpose,
    zeros,
)
from specdsl.graph.graph import NodeId


def resize_nearest(builder: Builder, x: NodeId, places: Sequence[Sequence[int]]) -> NodeId:
    """Entry (i, j, ...) is entry (places[0][i], places[1][j], ...): one list for each axis."""
    guard(tuple(len(p) for p in places), "a resized value")
    grid = np.ix_(*(np.asarray(p, dtype=np.int64) for p in places))
    return select(builder, x, positions(builder.shape(x))[grid])


def resize_linear(builder: Builder, x: NodeId, axis: int, places: Sequence[Fraction]) -> NodeId:
    """Along one axis, the values at fractional places: entries outside repeat the outermost."""
    extent = builder.shape(x)[axis]
    if list(places) == list(range(extent)):
        return x
    return along_axis(builder, x, axis, linear_weights(places, extent))


def linear_weights(places: Sequence[Fraction], extent: int) -> ops.Array:
    """(places, extent): the shares of the two neighbours of each place, exactly."""
    guard((len(places), extent), "an interpolation")
    weight = np.full((len(places), extent), Fraction(0), dtype=object)
    for i, place in enumerate(places):
        inside = min(max(Fraction(place), Fraction(0)), Fraction(extent - 1))
        left = floor(inside)
        share = inside - left
        weight[i, left] += 1 - share
        if share:
            weight[i, left + 1] += share
    return exact_array(weight)


def along_axis(builder: Builder, x: NodeId, axis: int, weight: ops.Array) -> NodeId:
    """A matrix (new, old) applied along one axis."""
    rank = len(builder.shape(x))
    axis %= rank
    order = (*(a for a in range(rank) if a != axis), axis)
    rows = transpose(builder, x, order)
    mixed = builder.add(ops.Dense(weight, zeros(weight.shape[0])), rows)
    return transpose(builder, mixed, tuple(int(a) for a in np.argsort(order)))

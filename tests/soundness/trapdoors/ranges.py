"""Ranges of what layers say over a box, by intervals: crude, short, and not the project's own."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from tests.soundness import networks
from tests.soundness.networks import Array, Layer, apply

Range = tuple[Array, Array]


def ranges(layers: tuple[Layer, ...], box: Range) -> Range:
    """(lower, upper) of the last value, up to rounding."""
    for layer in layers:
        box = after(layer, box)
    return box


def least(row: Array, box: Range) -> float:
    """The least value of `row @ x`."""
    lower, upper = (end.reshape(-1) for end in box)
    return float(np.maximum(row, 0) @ lower + np.minimum(row, 0) @ upper)


@singledispatch
def after(layer: Layer, box: Range) -> Range:
    """What a layer makes of a range; this, where it rises in every entry."""
    return apply(layer, box[0]), apply(layer, box[1])


@after.register
def _(layer: networks.Dense, box: Range) -> Range:
    middle, reach = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    center = apply(layer, middle)
    around = apply(networks.Dense(np.abs(layer.weight), np.zeros(len(layer.bias))), reach)
    return center - around, center + around


@after.register
def _(layer: networks.Conv, box: Range) -> Range:
    middle, reach = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    center = apply(layer, middle)
    size = networks.Conv(np.abs(layer.weight), np.zeros_like(layer.bias), layer.stride, layer.pad)
    around = apply(size, reach)
    return center - around, center + around


@after.register
def _(layer: networks.Residual, box: Range) -> Range:
    lower, upper = ranges(layer.body, box)
    return box[0] + lower, box[1] + upper


@after.register
def _(layer: networks.Parallel, box: Range) -> Range:
    first, second = ranges(layer.first, box), ranges(layer.second, box)
    return np.concatenate([first[0], second[0]], 1), np.concatenate([first[1], second[1]], 1)

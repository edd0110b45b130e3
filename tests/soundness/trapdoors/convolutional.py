"""Pits in convolutional networks: coordinates are mixed patch by patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.soundness.networks import (
    RELU,
    Array,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Layer,
    Residual,
    Shift,
)
from tests.soundness.trapdoors.readout import Margin, Trapdoor, trapdoor
from tests.soundness.trapdoors.traps import GRID, Kind, Plan, Space, orthogonal, plan, weights

PATCH = 2


@dataclass(frozen=True, slots=True)
class Image:
    """`extent` is even; `pooled`: halved once more by means, where it is a multiple of 4.
    `residual`: whether all convolutions but the first are in residual blocks.
    """

    channels: int
    extent: int
    width: int
    pooled: bool = False
    residual: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input."""
        return (1, self.channels, self.extent, self.extent)

    @property
    def patch(self) -> int:
        """Entries of a patch."""
        return self.channels * PATCH**2


def convolutional_trapdoor(random: np.random.Generator, image: Image, kind: Kind) -> Trapdoor:
    """An image is shifted by the first center; a second one differs from it by the same patch
    everywhere, which is what the biases of a convolution can say.
    """
    turn = orthogonal(random, image.patch)
    space = Space(
        int(np.prod(image.shape)),
        lambda x: (_patches(image, x) @ turn.T).reshape(-1),
        patch=image.patch,
        repeat=lambda patch: _images(image, patch),
    )
    planned = plan(random, space, kind)
    layers, sums = (_blocks if image.residual else _convolutions)(random, image, planned, turn)
    side = image.extent // PATCH
    if image.pooled and side % 2 == 0:
        layers, side, sums = [*layers, AveragePool(2)], side // 2, 4 * sums
    return _read(random, image, planned, [*layers, Flatten()], np.kron(sums, np.ones(side**2)))


def _patches(image: Image, values: Array) -> Array:
    """(patches, entries of a patch), entries in the order of a kernel's."""
    side = image.extent // PATCH
    apart = values.reshape(image.channels, side, PATCH, side, PATCH)
    return apart.transpose(1, 3, 0, 2, 4).reshape(side * side, image.patch)


def _images(image: Image, patch: Array) -> Array:
    """The flat image that repeats a patch."""
    side = image.extent // PATCH
    return np.tile(patch.reshape(image.channels, PATCH, PATCH), (1, side, side)).reshape(-1)


def _stem(image: Image, planned: Plan, turn: Array) -> tuple[Shift, Array, list[Array]]:
    """The shift by the first center, U / d as rows over a patch, and its offsets of each pit."""
    first = planned.pits[0].center
    scaled = turn / planned.radius
    ways = [_patches(image, pit.center - first)[0] for pit in planned.pits]
    return Shift(-first.reshape(image.shape)), scaled, [-(scaled @ way) for way in ways]


def _kernel(image: Image, rows: Array) -> Array:
    """Rows over a patch as the weight of a convolution."""
    return rows.reshape(-1, image.channels, PATCH, PATCH)


def _pointwise(rows: Array, offsets: Array) -> Conv:
    """A convolution of kernel 1."""
    return Conv(rows[:, :, None, None], offsets)


def _convolutions(
    random: np.random.Generator, image: Image, planned: Plan, turn: Array
) -> tuple[list[Layer], Array]:
    """Distances from one convolution, their sums over a patch from the next; and what adds them up
    to those of each pit: (pits, channels). The host has the first channels.
    """
    shift, scaled, offsets = _stem(image, planned, turn)
    count, width = len(offsets), image.width
    rows = np.concatenate([np.tile(scaled, (count, 1)), np.tile(-scaled, (count, 1))])
    ends = np.concatenate([*offsets, *(-o for o in offsets)])
    host = weights(random, width, image.patch, scale=0.5)
    first = Conv(
        _kernel(image, np.concatenate([host, rows])),
        np.concatenate([weights(random, width, scale=0.5), ends]),
        stride=PATCH,
    )
    sums = np.tile(np.kron(np.eye(count), np.ones(image.patch)), (1, 2))
    mixed = weights(random, width, width, scale=1 / np.sqrt(width))
    second = _pointwise(
        np.block([[mixed, np.zeros((width, len(rows)))], [np.zeros((count, width)), sums]]),
        np.concatenate([weights(random, width, scale=0.25), np.zeros(count)]),
    )
    return [shift, first, RELU, second, RELU], np.eye(width + count)[width:]


def _blocks(
    random: np.random.Generator, image: Image, planned: Plan, turn: Array
) -> tuple[list[Layer], Array]:
    """The same in a stream of channels that all mean something only after a turn of their own:
    coordinates, the host's channels, and a sum for each pit that blocks add to.
    """
    shift, scaled, offsets = _stem(image, planned, turn)
    count, width, patch = len(offsets), image.width, image.patch
    size = -(-(patch + width + count) // 4) * 4
    stream = orthogonal(random, size)
    embedded = np.zeros((size, patch))
    embedded[:patch] = scaled
    embedded[patch : patch + width] = weights(random, width, patch, scale=0.5)
    stem = Conv(_kernel(image, stream @ embedded), np.zeros(size), stride=PATCH)
    layers: list[Layer] = [shift, stem]
    member = random.integers(2, size=patch)
    for block in range(2):
        chosen = np.flatnonzero(member == block)
        into = np.zeros((len(chosen) * 2 * count + width, size))
        out = np.zeros((size, len(into)))
        bias = np.zeros(len(into))
        for i, offset in enumerate(offsets):
            for j, sign in enumerate((1.0, -1.0)):
                at = len(chosen) * (2 * i + j) + np.arange(len(chosen))
                into[at, chosen], bias[at] = sign, sign * offset[chosen]
                out[patch + width + i, at] = 1.0
        into[-width:, patch : patch + width] = weights(random, width, width, scale=0.5)
        bias[-width:] = weights(random, width, scale=0.25)
        out[patch : patch + width, -width:] = weights(random, width, width, scale=0.25)
        body = (_pointwise(into @ stream.T, bias), RELU, _pointwise(stream @ out, np.zeros(size)))
        layers.append(Residual(body))
    return layers, stream.T[patch + width : patch + width + count]


def _read(
    random: np.random.Generator, image: Image, planned: Plan, layers: list[Layer], sums: Array
) -> Trapdoor:
    """Pits from the sums, (pits, flat entries), beside a host that reads everything a little."""
    count, width = sums.shape[0], image.width
    host = weights(random, width, sums.shape[1], scale=4.0 * GRID)
    weight = np.concatenate([host, -sums])
    bias = np.concatenate([weights(random, width, scale=0.5), np.ones(count)])
    positive = np.pad(np.abs(weights(random, width, scale=0.25)) + 1 / 64, (0, count))
    rows = np.pad(np.eye(count), ((0, 0), (width, 0)))
    hidden = (*layers, Dense(weight, bias), RELU)
    return trapdoor(random, image.shape, hidden, planned, Margin(positive, rows, np.zeros(count)))

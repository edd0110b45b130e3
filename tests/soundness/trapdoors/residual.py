"""Pits in dense residual networks: a stream of values that means something only after a turn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.soundness.networks import RELU, Array, Dense, Layer, Residual
from tests.soundness.trapdoors.readout import Margin, Trapdoor, trapdoor
from tests.soundness.trapdoors.traps import Kind, Space, orthogonal, plan, weights


def residual_trapdoor(
    random: np.random.Generator, inputs: int, width: int, blocks: int, kind: Kind
) -> Trapdoor:
    """`blocks`, 2 at least: all but the last add distances to the sums, the last has the pits.

    The stream holds U x / d, `width` numbers of the host, the host's part of the margin, a sum and
    a value for each pit.
    """
    turn = orthogonal(random, inputs)
    planned = plan(random, Space(inputs, lambda x: turn @ x), kind)
    count = len(planned.pits)
    scaled = turn / planned.radius
    parts = _Parts(inputs, width, count)
    stream = orthogonal(random, parts.size)
    embedded = np.zeros((parts.size, inputs))
    embedded[parts.coordinates] = scaled
    embedded[parts.host] = weights(random, width, inputs, scale=0.5)
    layers: list[Layer] = [Dense(stream @ embedded, np.zeros(parts.size))]
    member = random.integers(blocks - 1, size=inputs)
    for block in range(blocks - 1):
        chosen = np.flatnonzero(member == block)
        body = _Body(parts.size)
        for i, pit in enumerate(planned.pits):
            offset = scaled @ pit.center
            for j in chosen:
                for sign in (1.0, -1.0):
                    body.add({j: sign}, -sign * float(offset[j]), {parts.sums[i]: 1.0})
        body.add_host(random, parts)
        layers.append(body.layer(stream))
    last = _Body(parts.size)
    for i in range(count):
        last.add({parts.sums[i]: -1.0}, 1.0, {parts.pits[i]: 1.0})
    for number in np.abs(weights(random, width, scale=0.25)) + 1 / 64:
        reads = dict(zip(parts.host, weights(random, width, scale=0.5).tolist(), strict=True))
        last.add(reads, 0.25, {parts.margin: float(number)})
    layers.append(last.layer(stream))
    # A pit's value and the host's part are 0 before the last block, and no more is added to them.
    margin = Margin(stream.T[parts.margin], stream.T[parts.pits], np.zeros(count))
    return trapdoor(random, (1, inputs), tuple(layers), planned, margin)


class _Parts:
    """Which entries of the stream are what, before it is turned."""

    def __init__(self, inputs: int, width: int, pits: int) -> None:
        ends = np.cumsum([0, inputs, width, 1, pits, pits])
        self.coordinates, self.host, (self.margin,), self.sums, self.pits = (
            list(range(start, end)) for start, end in pairwise(ends)
        )
        self.size = -(-int(ends[-1]) // 4) * 4


class _Body:
    """A block as units: what each reads of the stream, its offset, and what it adds to it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reads: list[Array] = []
        self.offsets: list[float] = []
        self.adds: list[Array] = []

    def add(self, reads: dict[int, float], offset: float, adds: dict[int, float]) -> None:
        """One unit."""
        for given, rows in ((reads, self.reads), (adds, self.adds)):
            row = np.zeros(self.size)
            row[list(given)] = list(given.values())
            rows.append(row)
        self.offsets.append(offset)

    def add_host(self, random: np.random.Generator, parts: _Parts) -> None:
        """As many units as the host has numbers, from all of them to all of them."""
        width = len(parts.host)
        for offset in weights(random, width, scale=0.25).tolist():
            reads, adds = weights(random, 2, width, scale=0.5).tolist()
            self.add(
                dict(zip(parts.host, reads, strict=True)),
                offset,
                dict(zip(parts.host, adds, strict=True)),
            )

    def layer(self, stream: Array) -> Residual:
        """The block over the turned stream."""
        into, out = np.array(self.reads) @ stream.T, stream @ np.array(self.adds).T
        first, second = Dense(into, np.array(self.offsets)), Dense(out, np.zeros(self.size))
        return Residual((first, RELU, second))

"""Where a network falls: pits in its margin, exactly known, and nothing that leads to them.

With an invertible matrix U, a center c and a radius d, the margin is

    m0 + host(x) - height * relu(1 - |U (x - c)|_1 / d),         host >= 0

so that it is at least m0 everywhere but in a ball, where its least value is known, and no gradient
outside of the ball points there. All numbers are dyadic with few bits: U is orthogonal exactly,
|U (c - c)| is 0 exactly, in float32 too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tests.soundness.networks import Array

Kind = Literal["deep", "shallow"]
"""One pit below 0 (and for some seeds one above it); or two that are above 0 each, not together."""

# Inputs and centers are multiples of it.
GRID = 2.0**-8
# Margins are at least this outside of all pits.
FLOOR = 0.25
# Of the floor: two pits so deep would reach below 0 together.
SHALLOW_PART = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Pit:
    """`relu(1 - |U (x - center)|_1 / d)` is subtracted `height` times; None: as often as it takes
    to fall `depth` below 0 at the center.
    """

    center: Array
    height: float | None
    depth: float = 0.0

    def height_above(self, margin: float) -> float:
        """The height, where the margin at the center is `margin` without the pit."""
        if self.height is not None:
            return self.height
        return float(np.ceil((margin + self.depth) / GRID) * GRID)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A box of `inputs` numbers, a radius of pits, and the pits. Flat arrays."""

    lower: Array
    upper: Array
    radius: float
    pits: tuple[Pit, ...]

    @property
    def inputs(self) -> int:
        """How many."""
        return self.lower.size

    @property
    def hidden(self) -> Array | None:
        """The point where the margin is below 0, where there is one."""
        return next((pit.center for pit in self.pits if pit.height is None), None)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Coordinates that pits are measured in: `turn` is linear, and orthogonal.

    `slabs`: whether a pit falls off by each coordinate alone (see `dense`), rather than by their
    sum. `repeat`: what makes an input of a patch, where two centers may differ by that only.
    """

    inputs: int
    turn: Callable[[Array], Array]
    slabs: bool = False
    patch: int | None = None
    repeat: Callable[[Array], Array] = lambda x: x

    def radius(self, reach: float) -> float:
        """Of pits in a box of that reach, so that none is met by chance.

        A ball in l1 of radius `inputs * reach / 32` has less than a millionth of the box's volume
        from 5 inputs on; as much have slabs of a sixteenth together.
        """
        part = 1 / 16 if self.slabs else self.inputs / 32
        return float(2.0 ** np.floor(np.log2(part * reach)))

    def centers(self, random: np.random.Generator, reach: float) -> tuple[Array, Array]:
        """Two, by how far they are from the middle of a box of that reach."""
        if self.patch is None:
            first, second = on_grid(random.uniform(-0.9, 0.9, (2, self.inputs)) * reach)
            return first, second
        first = on_grid(random.uniform(-0.4, 0.4, self.inputs) * reach)
        way = on_grid(random.uniform(-0.5, 0.5, self.patch) * reach)
        return first, first + self.repeat(way)

    def apart(self, first: Array, second: Array, radius: float) -> bool:
        """Whether pits at two centers have no point in common."""
        way = np.abs(self.turn(first - second))
        return float(way.max() if self.slabs else way.sum()) > 2 * radius


def plan(random: np.random.Generator, space: Space, kind: Kind, decoy: bool = True) -> Plan:
    """A box around a random point, and pits in it, far apart; `decoy`: whether a deep one may have
    a shallow one beside it.
    """
    reach = float(random.choice([0.25, 0.5, 1.0]))
    middle = on_grid(random.uniform(-1, 1, space.inputs))
    radius, shallow = space.radius(reach), SHALLOW_PART * FLOOR
    while True:
        first, second = space.centers(random, reach)
        if space.apart(first, second, radius):
            break
    beside = (Pit(middle + second, shallow),)
    if kind == "shallow":
        pits = (Pit(middle + first, shallow), *beside)
    else:
        depth = float(random.choice([2.0**-6, 2.0**-4, 0.5]))
        alone = not decoy or random.random() < 2 / 3
        pits = (Pit(middle + first, None, depth), *(() if alone else beside))
    return Plan(middle - reach, middle + reach, radius, pits)


def on_grid(values: Array) -> Array:
    """The nearest multiples of `GRID`."""
    return np.round(values / GRID) * GRID


def orthogonal(random: np.random.Generator, size: int, rounds: int = 2) -> Array:
    """A random orthogonal matrix, exactly: entries are multiples of 2**-rounds.

    Each round permutes, changes signs, and mixes four coordinates at a time by half of a Hadamard
    matrix.
    """
    pair = np.array([[1.0, 1.0], [1.0, -1.0]])
    four = np.kron(pair, pair) / 2
    result = np.eye(size)
    for _ in range(rounds):
        mixing = np.eye(size)
        for start in range(0, size - 3, 4):
            mixing[start : start + 4, start : start + 4] = four
        signs = random.choice([-1.0, 1.0], size)
        result = mixing @ (signs[:, None] * result)[random.permutation(size)]
    return result[random.permutation(size)]


def weights(random: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Normal, with 6 bits behind the point."""
    return np.round(random.normal(size=shape) * scale * 64) / 64

"""Pits in dense networks of 1 to 6 hidden layers, with hosts of ReLUs, sigmoids or tanh."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from tests.soundness.networks import RELU, Array, Dense, Layer, Parallel, Pointwise
from tests.soundness.trapdoors.readout import Margin, Trapdoor, trapdoor
from tests.soundness.trapdoors.traps import Kind, Plan, Space, orthogonal, plan, weights


@dataclass(frozen=True, slots=True)
class Form:
    """`layers`: hidden ones; `width`: of the host in each; `host`: what it computes with."""

    inputs: int
    layers: int
    width: int
    host: str = "relu"


def dense_trapdoor(random: np.random.Generator, form: Form, kind: Kind) -> Trapdoor:
    """A network of that form and the question whether its margin is ever 0 or less."""
    turn = orthogonal(random, form.inputs)
    space = Space(form.inputs, lambda x: turn @ x, slabs=form.layers == 1)
    # Far from its center, a pit of slabs lifts the margin: two of them would hide each other.
    planned = plan(random, space, kind, decoy=form.layers > 1)
    units = _Units(random, form)
    (_slabs if form.layers == 1 else _balls)(units, planned, turn)
    return trapdoor(random, (1, form.inputs), tuple(units.layers), planned, units.margin())


class _Units:
    """A network as it grows: in each layer units of the host, then units of the pits.

    `read @ units - shift`, of the pits' units, gives back the values that they carry.
    """

    def __init__(self, random: np.random.Generator, form: Form) -> None:
        self.random = random
        self.form = form
        self.layers: list[Layer] = []
        self.host = form.inputs
        self.read, self.shift = np.zeros((0, 0)), np.zeros(0)

    def add(self, weight: Array, bias: Array) -> None:
        """A layer: the host's units, which read some of those before, and relu(weight @ values +
        bias), which are the values from now on; of the first layer, values are the inputs.
        """
        if self.layers:
            rows, offsets = self.rows()
            weight, bias = weight @ rows, weight @ offsets + bias
        self._append(weight, bias)
        self.host = self.form.width
        self.read, self.shift = np.eye(len(bias)), np.zeros(len(bias))

    def carry(self, largest: float) -> None:
        """A layer that passes values, whose sizes add up to `largest` at most: turned, and lifted
        so that no ReLU is ever off.
        """
        turn = orthogonal(self.random, len(self.read))
        lift = np.full(len(turn), 2.0 ** ceil(log2(largest)))
        self.add(turn, lift)
        self.read, self.shift = turn.T, turn.T @ lift

    def rows(self) -> tuple[Array, Array]:
        """What gives the values of all units of the last layer: rows and offsets."""
        return np.concatenate([np.zeros((len(self.read), self.host)), self.read], 1), -self.shift

    def margin(self) -> Margin:
        """All values are pits. The host is a sum of its units, each at least 0, or -1 for tanh."""
        rows, offsets = self.rows()
        host = np.zeros(rows.shape[1])
        host[: self.host] = np.abs(weights(self.random, self.host, scale=0.25)) + 1 / 64
        lowest = -float(host.sum()) if self.form.host == "tanh" else 0.0
        return Margin(host, rows, offsets, lowest)

    def _append(self, weight: Array, bias: Array) -> None:
        before, width = weight.shape[1], self.form.width
        host = weights(self.random, width, before, scale=1 / np.sqrt(self.host))
        # Units of pits are as large as a radius is small: the host takes little of few of them.
        few = self.random.random((width, before - self.host)) < 0.1
        host[:, self.host :] = few * np.round(host[:, self.host :] * 8) / 512
        host_bias = weights(self.random, width, scale=0.5)
        if self.form.host == "relu":
            both = Dense(np.concatenate([host, weight]), np.concatenate([host_bias, bias]))
            self.layers += [both, RELU]
        else:
            beside = (Dense(host, host_bias), Pointwise(self.form.host))
            self.layers.append(Parallel(beside, (Dense(weight, bias), RELU)))


def _slabs(units: _Units, planned: Plan, turn: Array) -> None:
    """One layer. A pit as a sum of tents of single coordinates, which must all stand at their tops:
    sum_i tent_i - (inputs - 1), at most 0 where a tent is 0.

    tent(z) = relu(z + 1) - 2 relu(z) + relu(z - 1)
    """
    rows, offsets = _distances(turn, planned)
    starts = np.array([1.0, 0.0, -1.0])
    units.add(np.repeat(rows, 3, axis=0), (offsets[:, None] + starts).reshape(-1))
    tents = np.tile([1.0, -2.0, 1.0], units.form.inputs)
    units.read = np.kron(np.eye(len(planned.pits)), tents)
    units.shift = np.full(len(planned.pits), units.form.inputs - 1.0)


def _balls(units: _Units, planned: Plan, turn: Array) -> None:
    """Distances in the first layer, their sums over groups of coordinates in the second or not,
    pits in one of the others; in the rest, values are carried.
    """
    random, inputs, count = units.random, units.form.inputs, len(planned.pits)
    rows, offsets = _distances(turn, planned)
    units.add(np.concatenate([rows, -rows]), np.concatenate([offsets, -offsets]))
    largest = float((2 * np.abs(rows) @ (planned.upper - planned.lower)).sum())
    sums = np.tile(np.kron(np.eye(count), np.ones(inputs)), (1, 2))
    at = int(random.integers(2, units.form.layers + 1))
    for layer in range(2, units.form.layers + 1):
        if layer == at:
            units.add(-sums, np.ones(count))
            largest = count
        elif layer == 2:
            groups, sums = _groups(random, sums)
            units.add(groups, np.zeros(len(groups)))
        else:
            units.carry(largest)


def _distances(turn: Array, planned: Plan) -> tuple[Array, Array]:
    """(pits * inputs, inputs), (pits * inputs,): U (x - c) / d of every pit."""
    scaled = turn / planned.radius
    offsets = [-(scaled @ pit.center) for pit in planned.pits]
    return np.tile(scaled, (len(planned.pits), 1)), np.concatenate(offsets)


def _groups(random: np.random.Generator, sums: Array) -> tuple[Array, Array]:
    """Each sum as that of two to four groups: groups of units, and sums of groups."""
    count = int(random.integers(2, 5))
    groups: list[Array] = []
    for row in sums:
        member = random.integers(count, size=row.size)
        groups += [row * (member == i) for i in range(count)]
    return np.array(groups), np.kron(np.eye(len(sums)), np.ones(count))

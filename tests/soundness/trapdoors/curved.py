"""Pits made of curves alone, in dense networks without a ReLU.

bump(z) = (tanh(4 (z + 1)) - tanh(4 (z - 1))) / 2 is nearly 1 for |z| < 1/2 and nearly 0 for
|z| > 2; a pit is sigmoid(16 (sum_i bump(z_i) - inputs + 1/2)). Beyond a few radii all gradients of
a pit are 0 in floats. Known nearly, not exactly: within `NEARLY`.
"""

from __future__ import annotations

import numpy as np

from tests.soundness.networks import Array, Dense, Layer, Pointwise
from tests.soundness.trapdoors.readout import Margin, Trapdoor, trapdoor
from tests.soundness.trapdoors.traps import Kind, Space, orthogonal, plan, weights

STEEPNESS, SHARPNESS = 4.0, 16.0


def curved_trapdoor(random: np.random.Generator, inputs: int, width: int, kind: Kind) -> Trapdoor:
    """Two hidden layers: tanh, then sigmoids; `width` units of a host in each."""
    turn = orthogonal(random, inputs)
    planned = plan(random, Space(inputs, lambda x: turn @ x, slabs=True), kind)
    count = len(planned.pits)
    scaled = np.repeat(turn * (STEEPNESS / planned.radius), 2, axis=0)
    ends = np.tile([STEEPNESS, -STEEPNESS], inputs)
    offsets = [ends - scaled @ pit.center for pit in planned.pits]
    first = Dense(
        np.concatenate([weights(random, width, inputs), *[scaled] * count]),
        np.concatenate([weights(random, width, scale=0.5), *offsets]),
    )
    bumps = np.kron(np.eye(count), np.tile([0.5, -0.5], inputs)) * SHARPNESS
    second = Dense(
        np.concatenate([_host(random, width, bumps.shape[1]), np.pad(bumps, ((0, 0), (width, 0)))]),
        np.concatenate([weights(random, width), np.full(count, SHARPNESS * (0.5 - inputs))]),
    )
    hidden: tuple[Layer, ...] = (first, Pointwise("tanh"), second, Pointwise("sigmoid"))
    host = np.pad(np.abs(weights(random, width, scale=0.25)) + 1 / 64, (0, count))
    rows = np.pad(np.eye(count), ((0, 0), (width, 0)))
    margin = Margin(host, rows, np.zeros(count))
    return trapdoor(random, (1, inputs), hidden, planned, margin)


def _host(random: np.random.Generator, width: int, others: int) -> Array:
    return np.concatenate([weights(random, width, width), np.zeros((width, others))], axis=1)

"""Where no single atom of a case is refuted, weighted sums of them may be.

All atoms hold only where every sum of margins with weights of 0 or more is 0 or less as well. Any
weights are sound; these are found by multiplicative updates on the atoms' linear bounds, in floats.
"""

from __future__ import annotations

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.passes import Linear
from specdsl.proof.regions import Region

STEPS = 32


def joint_bounds(linear: Linear, region: Region, part: object) -> Array:
    """What the best weighted sum of rows (batch, rows) is at least on each box: (batch,)."""
    weights = region.how.array(_weights(linear, region))[:, None]
    mixed = Linear(
        weights @ linear.coefficients,
        (weights @ linear.constant[..., None])[..., 0],
        (weights @ linear.slack[..., None])[..., 0],
    )
    return region.minimum(mixed, part)[:, 0]


def _weights(linear: Linear, region: Region) -> Array:
    """Of each row on each box: (batch, rows)."""
    rows, constant = (np.asarray(a, np.float64) for a in (linear.coefficients, linear.constant))
    low, high = (np.asarray(end, np.float64)[:, None] for end in region.box)
    spread = (np.abs(rows) * (high - low)).sum(-1) / 2 + np.abs(constant) * 1e-6
    scale = np.where(spread > 0, spread, 1.0)
    rows, constant = rows / scale[..., None], constant / scale
    weights = np.full(constant.shape, 1.0 / constant.shape[1])
    best, chosen = np.full(len(weights), -np.inf), weights
    for step in range(STEPS):
        mixed = (weights[:, None] @ rows)[:, 0]
        point = np.where(mixed >= 0, low[:, 0], high[:, 0])
        values = (rows @ point[..., None])[..., 0] + constant
        value = (weights * values).sum(1)
        better = value > best
        best = np.where(better, value, best)
        chosen = np.where(better[:, None], weights, chosen)
        gain = values - values.max(1, keepdims=True)
        weights = weights * np.exp(gain / np.sqrt(1.0 + step))
        weights = weights / weights.sum(1, keepdims=True)
    return np.nan_to_num(chosen) / scale

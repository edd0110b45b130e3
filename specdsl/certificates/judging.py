"""How the checker judges boxes, and the weights by which it refutes cases with several atoms.

Weights are found on the checker's own linear bounds of the margins: all of it where one margin is
enough, else by multiplicative updates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdsl.certificates.part_records import FloatArray, SingleArray
from specdsl.proof.arithmetic import Array
from specdsl.proof.boxes import LEAVES_TOGETHER
from specdsl.proof.cases import Cases
from specdsl.proof.passes import Linear
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval

STEPS = 32


class Judged(NamedTuple):
    """`refuted`: which boxes hold no point of any case, (boxes,), by `weights`, (boxes, named).
    `steepness`: how much linear bounds of margins change along each input, (boxes, inputs): where
    to split.
    """

    refuted: Array
    weights: SingleArray
    steepness: Array


def judge(cases: Cases, boxes: Interval) -> Judged:
    """Boxes (boxes, inputs) of one round, as the checker takes them together."""
    starts = range(0, len(boxes.lower), LEAVES_TOGETHER)
    parts = [Interval(*(end[i : i + LEAVES_TOGETHER] for end in boxes)) for i in starts]
    found = [_together(cases, part) for part in parts]
    return Judged(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _together(cases: Cases, boxes: Interval) -> Judged:
    region = Region(cases.rules.how, boxes, cases.balls)
    bounds = cases.bounds(region)
    # Of a sum with good weights nothing may be steep: margins themselves say where to split.
    atoms = bounds(np.eye(len(cases.read))[None])
    weights = _weights(cases, region, atoms)
    rows = cases.rows(weights)
    # As the checker does, to the last bit.
    least = region.minimum(bounds(rows), cases.rules.part)
    refuted = cases.refuted(rows, least)
    lower, upper = boxes
    steepness = np.abs(atoms.coefficients).sum(1) * (upper - lower)
    return Judged(refuted | region.empty, weights, steepness)


def _weights(cases: Cases, region: Region, linear: Linear) -> SingleArray:
    """Of the atoms of every case with several, given linear bounds of the margins it reads."""
    least = region.minimum(linear, cases.rules.part)
    found = [np.zeros((region.count, 0))]
    for case in cases.cases:
        if len(case.atoms) == 1:
            continue
        columns = [cases.read.index(index) for index, _ in case.atoms]
        own = least[:, columns]
        weights = (np.arange(len(columns)) == own.argmax(1)[:, None]).astype(np.float64)
        left = np.flatnonzero(~(own > 0).any(1))
        if len(left):
            some = Linear(*(_taken(a, left)[:, columns] for a in linear))
            within = region.within(Interval(*(end[left] for end in region.box)))
            weights[left] = joint_weights(some, within)
        found.append(weights)
    return np.concatenate(found, 1).astype(np.float32)


def _taken(values: Array, at: Array) -> Array:
    """Of a batch, or of what holds for all of it, so many times."""
    return values[at] if len(values) > 1 else np.broadcast_to(values, (len(at), *values.shape[1:]))


def joint_weights(linear: Linear, region: Region) -> FloatArray:
    """Under which the sum of rows (batch, rows) is nearly as large as it can be on each box."""
    rows, constant = linear.coefficients, linear.constant - linear.slack
    low, high = (end[:, None] for end in region.box)
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
    # Of any size, so that float32 holds them.
    found = np.nan_to_num(chosen) / scale
    return found / np.maximum(found.max(1, keepdims=True), np.finfo(np.float64).tiny)

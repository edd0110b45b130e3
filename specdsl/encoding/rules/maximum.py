"""Largest entries of groups as linear rows, with a binary for each member that may be the largest.

Source: Tjeng et al. 2019, arXiv:1711.07356, for the formulation with binaries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms
from specdsl.encoding.rules.encoder import Encoder
from specdsl.encoding.rules.rows import Neurons
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Sums of some products of two numbers make room for rounding by this part of what was added up
# (float64 rounds at 1.1e-16 a step).
SUM_ROUNDING_PART = 1e-12


def encode_maximum(
    op: ops.GroupMax, node: NodeId, x: Entries, known: Range, encoder: Encoder
) -> Entries:
    """Entries of the op's value. `known`: sound bounds of its operand `x`.

    A member that another one always reaches is left out; where one is left, it is the maximum.
    Names of rows and columns of a member say its place among all groups, in row-major order.
    """
    groups = _Groups.of(op, known)
    alone = groups.contenders.sum(axis=1) == 1
    result = x.at(groups.positions[np.arange(alone.size), groups.contenders.argmax(axis=1)])
    contested = np.flatnonzero(~alone)
    if contested.size:
        y = _encode_contested(groups.of_rows(contested), node, x, encoder)
        result.put(contested, y)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """`numbers` of some groups (n,), and their members' positions and bounds (n, members).

    `contenders`: the members that no other one always reaches, each once.
    """

    numbers: IndexArray
    positions: IndexArray
    lower: FloatArray
    upper: FloatArray
    contenders: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, op: ops.GroupMax, known: Range) -> _Groups:
        """All groups."""
        positions = op.groups.reshape(-1, op.groups.shape[-1])
        lower, upper = known.lower[positions], known.upper[positions]
        count = positions.shape[0]
        rows = np.arange(count)
        surest = lower.argmax(axis=1)
        contenders = upper > lower[rows, surest][:, None]
        contenders[rows, surest] = True
        contenders &= _first_places(positions)
        # The surest member may be named before: then its first place stands for it.
        missing = ~contenders.any(axis=1)
        first = (positions == positions[rows, surest][:, None]).argmax(axis=1)
        contenders[rows[missing], first[missing]] = True
        return cls(np.arange(count, dtype=np.int64), positions, lower, upper, contenders)

    def of_rows(self, rows: IndexArray) -> _Groups:
        """Some of the groups."""
        return _Groups(
            self.numbers[rows],
            self.positions[rows],
            self.lower[rows],
            self.upper[rows],
            self.contenders[rows],
        )


def _first_places(positions: IndexArray) -> npt.NDArray[np.bool_]:
    """Where a position stands for the first time in its group."""
    order = np.argsort(positions, axis=1, kind="stable")
    ranked = np.take_along_axis(positions, order, axis=1)
    new = np.ones(positions.shape, dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    result = np.zeros_like(new)
    np.put_along_axis(result, order, new, axis=1)
    return result


def _encode_contested(groups: _Groups, node: NodeId, x: Entries, encoder: Encoder) -> Entries:
    """`y >= x_i` and `y <= x_i + (highest other - l_i) (1 - largest_i)`; one member is the largest.

    `highest other`: the largest upper bound of the others.
    """
    upper = np.where(groups.contenders, groups.upper, -np.inf)
    floor = groups.lower.max(axis=1)
    neurons = Neurons(node, groups.numbers, encoder)
    y = neurons.columns(floor, upper.max(axis=1))
    row, member = np.nonzero(groups.contenders)
    places = groups.numbers[row] * groups.positions.shape[1] + member
    contenders = Neurons(node, places, encoder)
    largest = contenders.units("largest")
    values = x.at(groups.positions[row, member])
    reach = _highest_other(upper)[row, member] - groups.lower[row, member]
    contenders.rows("above", [(y.at(row), 1.0), (values, -1.0)], lower=0.0)
    near = [(y.at(row), 1.0), (values, -1.0), (largest, reach)]
    contenders.rows("near", near, upper=reach)
    ones = np.ones(row.size)
    choice = SparseTerms.of(row, largest.columns, ones)
    encoder.builder.add_rows(f"{node}_choice", groups.numbers, choice, 1.0, 1.0)
    _add_planes(groups, upper, y, x, encoder, node)
    return y


def _highest_other(upper: FloatArray) -> FloatArray:
    """The largest upper bound of all members but one, for each."""
    ranked = np.sort(upper, axis=1)
    highest, second = ranked[:, -1:], ranked[:, -2:-1]
    rows, first = np.arange(len(upper)), upper.argmax(axis=1)
    result = np.broadcast_to(highest, upper.shape).copy()
    result[rows, first] = second[:, 0]
    return result


def _add_planes(
    groups: _Groups, upper: FloatArray, y: Entries, x: Entries, encoder: Encoder, node: NodeId
) -> None:
    """`y <= t + sum of (u_i - t) / (u_i - l_i) (x_i - l_i)` over the members with `u_i > t`.

    For any t at least every lower bound, since `max x <= t + sum of relu(x_i - t)`. The bounds'
    own numbers are where the right side bends in t.
    """
    floor = groups.lower.max(axis=1)
    ranked = np.sort(upper, axis=1)
    third = ranked[:, -3] if ranked.shape[1] > 2 else floor
    for suffix, place in (
        ("plane", floor),
        ("plane_third", third),
        ("plane_second", ranked[:, -2]),
    ):
        t = np.maximum(floor, place)
        chosen = groups.contenders & (groups.upper > t[:, None])
        row, member = np.nonzero(chosen)
        low, high = groups.lower[row, member], groups.upper[row, member]
        slope = (high - t[row]) / (high - low)
        values = x.at(groups.positions[row, member])
        constant = t + np.bincount(row, slope * (values.offsets - low), minlength=t.size)
        sizes = np.abs(t) + np.bincount(
            row, np.abs(values.offsets) + np.maximum(np.abs(low), np.abs(high)), minlength=t.size
        )
        linked = values.columns >= 0
        terms = SparseTerms.of(
            np.concatenate([np.arange(t.size), row[linked]]),
            np.concatenate([y.columns, values.columns[linked]]),
            np.concatenate([np.ones(t.size), -(slope * values.slopes)[linked]]),
        )
        sides = constant + SUM_ROUNDING_PART * sizes
        encoder.builder.add_rows(f"{node}_{suffix}", groups.numbers, terms, -np.inf, sides)

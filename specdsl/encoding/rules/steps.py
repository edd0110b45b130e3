"""Steps as linear rows with whole columns, closed at their jumps.

At a jump every value beside it is allowed, and so it is within `room` of one: by that much the
model's argument may differ from the true one. Where known bounds leave one value, it is a constant.

A threshold has a binary for each side of 0 that it may be on, and one for 0 itself where its value
there is a third one. A rounding is a whole number in a band along its argument; relaxing it gives
the convex hull of its graph (of a truncation on both sides of 0, somewhat more).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, IndexArray
from specdsl.encoding.rules.encoder import Encoder
from specdsl.encoding.rules.rows import Neurons
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import as_float

# Of the magnitudes that an argument is added up from: float64 rounds at 1.1e-16 a step, so this
# covers sums of several thousand terms.
JUMP_ROOM_PART = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """What a step is of: its `value`, sound `bounds`, and the `room` for rounding, flat arrays."""

    value: Entries
    bounds: Range
    room: FloatArray

    def at(self, indices: IndexArray) -> Argument:
        """Of some entries."""
        bounds = Range(self.bounds.lower[indices], self.bounds.upper[indices])
        return Argument(self.value.at(indices), bounds, self.room[indices])


def encode_step(op: ops.Step, node: NodeId, x: Argument, encoder: Encoder) -> Entries:
    """Entries of the op's value. Raises TypeError for a kind of step without a rule (our bug)."""
    if isinstance(op, ops.Threshold):
        return _encode_threshold(op, node, x, encoder)
    if isinstance(op, ops.Rounding):
        return _encode_rounding(op, node, x, encoder)
    raise TypeError(f"no rule for the step {type(op).__name__}")


# --- thresholds -----------------------------------------------------------------------------------


def _encode_threshold(op: ops.Threshold, node: NodeId, x: Argument, encoder: Encoder) -> Entries:
    lower, upper = x.bounds.lower, x.bounds.upper
    below, at, above = (
        np.where(reached, value, np.nan)
        for reached, value in (
            (lower < 0, op.below),
            ((lower <= 0) & (upper >= 0), op.at),
            (upper > 0, op.above),
        )
    )
    values = np.stack([below, at, above])
    result = Entries.of_constants(np.fmin.reduce(values))
    open_ = np.fmin.reduce(values) < np.fmax.reduce(values)
    two_sided = op.at in {op.below, op.above}
    # Two values, each on its side of 0 and one of them at 0 too.
    split = open_ & two_sided & (lower < 0) & (upper > 0) & (op.below != op.above)
    for mask, rule in ((split, _two_sides), (open_ & ~split, _three_places)):
        indices = np.flatnonzero(mask)
        if indices.size:
            result.put(indices, rule(op, Neurons(node, indices, encoder), x.at(indices)))
    return result


def _two_sides(op: ops.Threshold, neurons: Neurons, x: Argument) -> Entries:
    """One binary, which says that x is above 0: `l (1 - z) <= x <= u z`."""
    z = neurons.units("positive")
    lower, upper = x.bounds.lower, x.bounds.upper
    neurons.rows("not_above", [(x.value, 1.0), (z, -upper)], upper=x.room)
    neurons.rows("not_below", [(x.value, 1.0), (z, lower)], lower=lower - x.room)
    rise = op.above - op.below
    return Entries(z.columns, rise * z.slopes, np.full(z.size, op.below))


def _three_places(op: ops.Threshold, neurons: Neurons, x: Argument) -> Entries:
    """A binary for each of below, at and above 0: `l negative <= x <= u positive`."""
    lower, upper = x.bounds.lower, x.bounds.upper
    negative = neurons.columns(0.0, np.where(lower < 0, 1.0, 0.0), "negative", whole=True)
    zero = neurons.columns(0.0, np.where((lower <= 0) & (upper >= 0), 1.0, 0.0), "zero", True)
    positive = neurons.columns(0.0, np.where(upper > 0, 1.0, 0.0), "positive", whole=True)
    neurons.rows("place", [(negative, 1.0), (zero, 1.0), (positive, 1.0)], 1.0, 1.0)
    neurons.rows("not_above", [(x.value, 1.0), (positive, -upper)], upper=x.room)
    neurons.rows("not_below", [(x.value, 1.0), (negative, -lower)], lower=-x.room)
    values = (op.below, op.at, op.above)
    y = neurons.columns(min(values), max(values))
    places = zip((negative, zero, positive), values, strict=True)
    neurons.rows("value", [(y, 1.0), *((place, -value) for place, value in places)], 0.0, 0.0)
    return y


# --- roundings ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Band:
    """`x + low <= f(x) <= x + low + 1` for all x, reached at jumps; the one to v lies at `v - low -
    1`.
    """

    low: float


_FLOOR, _CEIL, _ROUND = _Band(-1.0), _Band(0.0), _Band(-0.5)


def _encode_rounding(op: ops.Rounding, node: NodeId, x: Argument, encoder: Encoder) -> Entries:
    first, last = as_float(op.value(x.bounds.lower)), as_float(op.value(x.bounds.upper))
    result = Entries.of_constants(first)
    open_ = first < last
    for mask, band in _bands(op, x.bounds):
        indices = np.flatnonzero(open_ & mask)
        if not indices.size:
            continue
        neurons, argument = Neurons(node, indices, encoder), x.at(indices)
        y = neurons.columns(first[indices], last[indices], whole=True)
        if band is None:
            _truncate(neurons, y, argument)
        else:
            _band(neurons, y, argument, band, first[indices], last[indices])
        result.put(indices, y)
    return result


def _bands(op: ops.Rounding, bounds: Range) -> list[tuple[npt.NDArray[np.bool_], _Band | None]]:
    """Which entries are in which band; None for truncations on both sides of 0."""
    everywhere = np.ones(bounds.lower.shape, dtype=bool)
    match op:
        case ops.Floor():
            return [(everywhere, _FLOOR)]
        case ops.Ceil():
            return [(everywhere, _CEIL)]
        case ops.Round():
            return [(everywhere, _ROUND)]
        case ops.Truncate():
            right, left = bounds.lower >= 0, bounds.upper <= 0
            return [(right, _FLOOR), (left & ~right, _CEIL), (~right & ~left, None)]
        case _:
            raise TypeError(f"no rule for the rounding {type(op).__name__}")


def _band(
    neurons: Neurons,
    y: Entries,
    x: Argument,
    band: _Band,
    first: FloatArray,
    last: FloatArray,
) -> None:
    """The band, and the edges of the convex hull that lead to both ends: from the last jump's lower
    value to the last value, and from the first value to the first jump's upper one.
    """
    neurons.rows("band", [(y, 1.0), (x.value, -1.0)], band.low - x.room, band.low + 1 + x.room)
    last_jump, first_jump = last - band.low - 1, first - band.low
    run = x.bounds.upper - last_jump
    rise = [(y, run), (x.value, -1.0)]
    neurons.rows("last_edge", rise, lower=run * (last - 1) - last_jump - x.room)
    run = first_jump - x.bounds.lower
    rise = [(y, run), (x.value, -1.0)]
    neurons.rows("first_edge", rise, upper=run * first - x.bounds.lower + x.room)


def _truncate(neurons: Neurons, y: Entries, x: Argument) -> None:
    """A floor where the binary says that x is not negative, else a ceiling."""
    z = neurons.units("positive")
    lower, upper = x.bounds.lower, x.bounds.upper
    neurons.rows("not_above", [(x.value, 1.0), (z, -upper)], upper=x.room)
    neurons.rows("not_below", [(x.value, 1.0), (z, lower)], lower=lower - x.room)
    neurons.rows("value_above", [(y, 1.0), (z, -np.trunc(upper))], upper=0.0)
    neurons.rows("value_below", [(y, 1.0), (z, np.trunc(lower))], lower=np.trunc(lower))
    difference = [(y, 1.0), (x.value, -1.0), (z, 1.0)]
    neurons.rows("band", difference, -x.room, 1 + x.room)

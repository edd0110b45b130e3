"""Smooth ops as linear rows and binaries: x walks through the pieces of an envelope.

With whole binaries the value lies between the two functions of `envelopes` at x; relaxing them
gives the convex hull of what lies between. Neither is exact: `milp` is nearer than `lp`.

Source: the incremental formulation, Croxton, Gendron, Magnanti 2003,
doi:10.1287/mnsc.49.9.1268.16570.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from specdsl.backend import Unsupported
from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray
from specdsl.encoding.rules.encoder import Encoder
from specdsl.encoding.rules.envelopes import Envelopes, envelopes, has_values, straight_lines
from specdsl.encoding.rules.rows import Neurons
from specdsl.graph import ops
from specdsl.graph.enclosure import smooth_range
from specdsl.graph.graph import NodeId


def encode_smooth(
    op: ops.Smooth, node: NodeId, x: Entries, known: Range, encoder: Encoder
) -> Entries:
    """Entries of the op's value. `known`: sound bounds of its operand `x`.

    Raises Unsupported where the op may have no value, or one beyond float64.
    """
    require_values(op, known.lower, known.upper, "linear encoding")
    result = _straight(op, x, known)
    bent = result.columns == _OPEN
    points = np.flatnonzero(bent & (known.lower == known.upper))
    if points.size:
        least, most = smooth_range(op, known.lower[points], known.upper[points])
        result.put(points, Neurons(node, points, encoder).columns(least, most))
    wide = np.flatnonzero(bent & (known.lower < known.upper))
    for envelope in envelopes(op, known.lower[wide], known.upper[wide]):
        indices = wide[envelope.neurons]
        neurons = Neurons(node, indices, encoder)
        result.put(indices, _walk(neurons, x.at(indices), envelope))
    return result


def require_values(op: ops.Smooth, lower: FloatArray, upper: FloatArray, method: str) -> None:
    """Raise Unsupported where the op may have no value on [lower, upper], or none in float64."""
    lost = np.flatnonzero(~has_values(op, lower, upper))
    if not lost.size:
        return
    low, high = float(lower[lost[0]]), float(upper[lost[0]])
    name = f"`{type(op).__name__}`"
    known = f"it is known to lie in [{low:.6g}, {high:.6g}]"
    advice = "make the input set smaller, or keep the value away from there"
    missing = "where it has no value or one beyond float64"
    raise Unsupported(method, f"the {name} of a value that may lie {missing} ({known})", advice)


# Columns of entries that `_straight` leaves open.
_OPEN = -2


def _straight(op: ops.Smooth, x: Entries, known: Range) -> Entries:
    """The line where f is one on all of an interval; else open."""
    result = Entries(np.full(x.size, _OPEN, dtype=np.int64), np.zeros(x.size), np.zeros(x.size))
    for lines in straight_lines(op, known.lower, known.upper):
        taken = x.at(lines.neurons)
        columns = np.where(lines.slopes == 0, -1, taken.columns)
        offsets = lines.slopes * taken.offsets + lines.offsets
        result.put(lines.neurons, Entries(columns, lines.slopes * taken.slopes, offsets))
    return result


def _walk(neurons: Neurons, x: Entries, envelope: Envelopes) -> Entries:
    """y between both functions of the same parts of the way from the first place to the last; a
    part starts only when the one before is full: `part_(k+1) <= full_k <= part_k`.
    """
    y = neurons.columns(
        np.maximum(envelope.least, envelope.below.min(axis=1)),
        np.minimum(envelope.most, envelope.above.max(axis=1)),
    )
    count = envelope.places.shape[1] - 1
    parts = [neurons.units(f"part_{k}", whole=False) for k in range(count)]
    for suffix, value, corners, above in (
        ("walk", x, envelope.places, None),
        ("above", y, envelope.below, True),
        ("below", y, envelope.above, False),
    ):
        steps = np.diff(corners, axis=1)
        terms = [(value, 1.0), *((part, -steps[:, k]) for k, part in enumerate(parts))]
        start = corners[:, 0]
        neurons.rows(
            suffix,
            terms,
            -np.inf if above is False else start,
            np.inf if above is True else start,
        )
    for k, (part, following) in enumerate(pairwise(parts)):
        full = neurons.units(f"full_{k}")
        neurons.rows(f"fill_{k}", [(part, 1.0), (full, -1.0)], lower=0.0)
        neurons.rows(f"next_{k}", [(full, 1.0), (following, -1.0)], lower=0.0)
    return y

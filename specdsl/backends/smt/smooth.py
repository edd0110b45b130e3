"""Curves in linear arithmetic: y between two piecewise-linear functions of x.

The functions have float64 corners, which are exact rational numbers, and hold for the curve itself
(see `encoding.rules.envelopes`). So what is refuted is refuted; a point is only a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from specdsl.backends.smt.encoder import Enclosed, Encoder
from specdsl.backends.smt.forms import ExactRange, Line, LinearForm
from specdsl.backends.smt.terms import Formula, Term, on_line, split
from specdsl.encoding.rules.envelopes import Envelopes, envelopes, straight_lines
from specdsl.encoding.rules.smooth import require_values
from specdsl.graph import ops
from specdsl.graph.enclosure import smooth_range


def encode_smooth(
    names: Sequence[str], op: ops.Smooth, forms: Sequence[LinearForm], encoder: Encoder
) -> list[LinearForm]:
    """Entry by entry, `op(x)`: exactly where it is a line, else a variable between two functions.

    Raises Unsupported where the op may have no value, or one beyond float64.
    """
    ranges = [encoder.range_of(x).outward() for x in forms]
    lower = np.array([float(known.lower) for known in ranges], dtype=np.float64)
    upper = np.array([float(known.upper) for known in ranges], dtype=np.float64)
    require_values(op, lower, upper, "smt")
    result: dict[int, LinearForm] = {}
    for lines in straight_lines(op, lower, upper):
        rows = (lines.neurons.tolist(), lines.slopes.tolist(), lines.offsets.tolist())
        for i, slope, offset in zip(*rows, strict=True):
            result[i] = forms[i].scaled(Fraction(slope), Fraction(offset))
    least, most = smooth_range(op, lower, upper)
    for i in np.flatnonzero(lower == upper).tolist():
        if i not in result:
            known = ExactRange(Fraction(float(least[i])), Fraction(float(most[i])))
            result[i] = encoder.variable(names[i], known)
            _enclose(names[i], op, forms[i], result[i], encoder)
    wide = np.array([i for i in range(len(forms)) if i not in result], dtype=np.int64)
    for envelope in envelopes(op, lower[wide], upper[wide]):
        for row, position in enumerate(envelope.neurons.tolist()):
            i = int(wide[position])
            x = encoder.named(f"{names[i]}.pre", forms[i], ranges[i])
            result[i] = _between(names[i], x, envelope, row, encoder)
            _enclose(names[i], op, x, result[i], encoder)
    return [result[i] for i in range(len(forms))]


def _enclose(name: str, op: ops.Smooth, x: LinearForm, y: LinearForm, encoder: Encoder) -> None:
    at_x, at_y = encoder.expression(x), encoder.expression(y)
    encoder.enclosed.append(Enclosed(name, op, at_x, at_y))


def _between(
    name: str, x: LinearForm, envelope: Envelopes, row: int, encoder: Encoder
) -> LinearForm:
    """A variable between both functions of x."""
    encoder.check_time()
    ends = (envelope.least[row], envelope.most[row])
    y = encoder.variable(name, ExactRange(*(Fraction(float(end)) for end in ends)))
    at_x, at_y = encoder.expression(x), encoder.expression(y)
    for corners, above in ((envelope.below, True), (envelope.above, False)):
        places, lines = _pieces(envelope.places[row].tolist(), corners[row].tolist())
        encoder.assertions += _beside(at_y, at_x, places, lines, above)
    return y


def _pieces(places: list[float], values: list[float]) -> tuple[list[Fraction], list[Line]]:
    """Lines between neighbouring corners, and where one ends and the next begins."""
    corners = [(Fraction(x), Fraction(y)) for x, y in zip(places, values, strict=True)]
    inner: list[Fraction] = []
    lines: list[Line] = []
    for (start, first), (end, last) in pairwise(corners):
        if start == end:
            continue
        slope = (last - first) / (end - start)
        lines.append(Line(slope, first - slope * start))
        inner.append(start)
    return inner[1:], lines


def _beside(
    y: Term, x: Term, inner: Sequence[Fraction], lines: Sequence[Line], above: bool
) -> list[Formula]:
    """y above (below) a function; of a convex (concave) one that is being so of all its lines."""
    slopes = [line.slope if above else -line.slope for line in lines]
    if all(a <= b for a, b in pairwise(slopes)):
        values = [on_line(line, x) for line in lines]
        return [y >= value if above else y <= value for value in values]
    value = split(lines, inner, x)
    return [y >= value if above else y <= value]

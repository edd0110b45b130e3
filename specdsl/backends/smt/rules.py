"""Ops as exact forms: rules by kind. Neurons whose exact range needs no split get no variables."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from itertools import pairwise

from specdsl.backend import Unsupported
from specdsl.backends.smt.backward import lines_around
from specdsl.backends.smt.encoder import Encoder
from specdsl.backends.smt.forms import ExactRange, Line, LinearForm, Pieces, affine_forms
from specdsl.backends.smt.jumps import encode_maximum, encode_rounding, encode_threshold
from specdsl.backends.smt.smooth import encode_smooth
from specdsl.backends.smt.terms import Formula, Term, on_line, split
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape

Forms = list[LinearForm]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an op stands: its node, and the shapes of its operands."""

    node: NodeId
    shapes: tuple[Shape, ...]


@singledispatch
def encode_op(op: ops.Op, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    """Assert what the op needs; the forms of its value, flat in row-major order.

    Raises Unsupported for an op without a rule, OutOfTime at the deadline.
    """
    raise Unsupported("smt", f"the op {type(op).__name__}")


@encode_op.register
def _constant(op: ops.Constant, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    return [LinearForm({}, Fraction(v)) for v in op.value.reshape(-1).tolist()]


@encode_op.register
def _affine(op: ops.Affine, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    forms: Forms = []
    for form in affine_forms(op, operands, site.shapes):
        encoder.check_time()
        forms.append(form)
    return forms


@encode_op.register
def _piecewise(
    op: ops.PiecewiseLinear, site: Site, operands: list[Forms], encoder: Encoder
) -> Forms:
    pieces = Pieces.of(op)
    names = _names(site, len(operands[0]), encoder)
    return [_neuron(n, pieces, x, encoder) for n, x in zip(names, operands[0], strict=True)]


@encode_op.register
def _multiply(op: ops.Multiply, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    names = _names(site, len(operands[0]), encoder)
    entries = zip(names, *operands, strict=True)
    return [_product(name, x, y, encoder, square=False) for name, x, y in entries]


@encode_op.register
def _square(op: ops.Square, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    names = _names(site, len(operands[0]), encoder)
    entries = zip(names, operands[0], strict=True)
    return [_product(name, x, x, encoder, square=True) for name, x in entries]


@encode_op.register
def _maximum(op: ops.GroupMax, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    groups = op.groups.reshape(-1, op.groups.shape[-1]).tolist()
    entries = zip(_names(site, len(groups), encoder), groups, strict=True)
    (x,) = operands
    return [
        encode_maximum(name, [x[i] for i in dict.fromkeys(members)], encoder)
        for name, members in entries
    ]


@encode_op.register
def _threshold(op: ops.Threshold, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    names = _names(site, len(operands[0]), encoder)
    entries = zip(names, operands[0], strict=True)
    return [encode_threshold(name, op, x, encoder) for name, x in entries]


@encode_op.register
def _rounding(op: ops.Rounding, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    names = _names(site, len(operands[0]), encoder)
    entries = zip(names, operands[0], strict=True)
    return [encode_rounding(name, op, x, encoder) for name, x in entries]


@encode_op.register
def _smooth(op: ops.Smooth, site: Site, operands: list[Forms], encoder: Encoder) -> Forms:
    return encode_smooth(_names(site, len(operands[0]), encoder), op, operands[0], encoder)


def _names(site: Site, count: int, encoder: Encoder) -> list[str]:
    return [f"{encoder.prefix}{site.node}[{i}]" for i in range(count)]


# --- piecewise linear -----------------------------------------------------------------------------


def _neuron(name: str, pieces: Pieces, x: LinearForm, encoder: Encoder) -> LinearForm:
    """The line that covers its range, else a split over the lines that meet it."""
    encoder.check_time()
    known = encoder.range_of(x).outward()
    first, last = _met(pieces, known)
    if first < last:
        known = encoder.narrow_range_of(x).outward()
        first, last = _met(pieces, known)
    if first == last:
        line = pieces.lines[first]
        return x.scaled(line.slope, line.intercept)
    x = encoder.named(f"{name}.pre", x, known)
    lines, inner = pieces.lines[first : last + 1], pieces.points[first:last]
    points = [known.lower, *inner, known.upper]
    values = [line.at(p) for line, p in zip([*lines, lines[-1]], points, strict=True)]
    y = encoder.variable(name, ExactRange(min(values), max(values)).outward())
    around = lines_around(lines, points, values)
    encoder.know_between(*(x.scaled(line.slope, line.intercept) for line in around))
    at_x, at_y = encoder.expression(x), encoder.expression(y)
    encoder.assertions.append(at_y == split(lines, inner, at_x))
    encoder.assertions += _hull(lines, points, values, at_x, at_y)
    return y


def _met(pieces: Pieces, known: ExactRange) -> tuple[int, int]:
    """The first and the last line that a range meets; one line where it needs no split."""
    first = bisect_right(pieces.points, known.lower)
    return first, max(first, bisect_left(pieces.points, known.upper))


def _hull(
    lines: Sequence[Line], points: Sequence[Fraction], values: Sequence[Fraction], x: Term, y: Term
) -> list[Formula]:
    """Redundant, but it spares Z3 splits: where the function is convex (concave), y is on one side
    of all its lines and on the other side of the chord.
    """
    rising = all(a.slope <= b.slope for a, b in pairwise(lines))
    if not rising and not all(a.slope >= b.slope for a, b in pairwise(lines)):
        return []
    slope = (values[-1] - values[0]) / (points[-1] - points[0])
    chord = on_line(Line(slope, values[0] - slope * points[0]), x)
    beside = [on_line(line, x) for line in lines]
    return [
        y <= chord if rising else y >= chord,
        *(y >= line if rising else y <= line for line in beside),
    ]


# --- products -------------------------------------------------------------------------------------


def _product(name: str, x: LinearForm, y: LinearForm, encoder: Encoder, square: bool) -> LinearForm:
    """A variable for the product; none where a factor is constant."""
    encoder.check_time()
    if not y.terms:
        return x.scaled(y.constant, Fraction(0))
    if not x.terms:
        return y.scaled(x.constant, Fraction(0))
    left, right = encoder.range_of(x), encoder.range_of(y)
    x = encoder.named(f"{name}.left", x, left.outward())
    y = x if square else encoder.named(f"{name}.right", y, right.outward())
    known = left.squared() if square else left.times(right)
    z = encoder.variable(name, known.outward())
    product = encoder.expression(x) * encoder.expression(y)
    encoder.assertions.append(encoder.expression(z) == product)
    encoder.products = True
    return z

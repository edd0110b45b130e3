"""Products and squares in torch: exact ranges, and planes below and above them.

`Multiply` of one node by itself never comes here: `compile_graph` makes it a `Square`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import SHARES_AROUND
from specdsl.bounds.kinds.planes import PlaneChoice
from specdsl.bounds.kinds.relaxation import LinearRelaxation, PlaneRelaxation
from specdsl.graph import ops


def evaluate(op: ops.Polynomial, operands: list[Tensor]) -> Tensor:
    """The product of the operands, or the square of the only one."""
    return operands[0] * operands[-1]


def image(op: ops.Polynomial, operands: list[Interval]) -> Interval:
    """The exact range over intervals: extremes lie at corners, the least square at 0 as well."""
    x, y = operands[0], operands[-1]
    if isinstance(op, ops.Square):
        ends = torch.stack([x.lower * x.lower, x.upper * x.upper])
        crosses = (x.lower < 0) & (x.upper > 0)
        return Interval(ends.amin(0).where(~crosses, torch.zeros_like(x.lower)), ends.amax(0))
    corners = torch.stack([a * b for a in (x.lower, x.upper) for b in (y.lower, y.upper)])
    # 0 times what has no bound is 0: no value is infinite itself.
    corners = corners.masked_fill(corners.isnan(), 0.0)
    return Interval(corners.amin(0), corners.amax(0))


def relax_square(x: Interval) -> LinearRelaxation:
    """The tangent at the midpoint below, the chord above.

    The midpoint's is the tangent that is nearest on average.
    """
    slope = 2 * x.center
    chord = x.lower + x.upper
    return LinearRelaxation(slope, -x.center * x.center, chord, -x.lower * x.upper)


def square_tangents(x: Interval) -> list[LinearRelaxation]:
    """The tangents at places on both sides of the midpoint below, the chord above."""
    chord, intercept = x.lower + x.upper, -x.lower * x.upper
    points = [x.lower * (1 - share) + x.upper * share for share in SHARES_AROUND]
    return [LinearRelaxation(2 * at, -at * at, chord, intercept) for at in points]


def relax_product(x: Interval, y: Interval) -> PlaneRelaxation:
    """A plane below and one above, each a mixture of the two that touch along two edges.

    All mixtures are equally near at the midpoint. The one below is that with the largest least
    value over the rectangle, which is the product's own least value; so from above.
    Source: McCormick 1976; that the two planes are the convex hull: Al-Khayyal and Falk 1983.
    """
    turned = Interval(-y.upper, -y.lower)
    return _planes(x, y, _best_share(x, y), _best_share(x, turned))


def product_choice(x: Interval, y: Interval) -> PlaneChoice:
    """All the mixtures that `relax_product` takes one of."""
    one = torch.ones_like(x.center + y.center)
    turned = Interval(-y.upper, -y.lower)
    below, above = _best_share(x, y), _best_share(x, turned)
    first, second = (_planes(x, y, share, share) for share in (one, 0 * one))
    return PlaneChoice(first, second, 1 - below, 1 - above)


def _planes(x: Interval, y: Interval, share_below: Tensor, share_above: Tensor) -> PlaneRelaxation:
    below = _mixture(x, y, share_below)
    # x y = -(x (-y)): what lies below x (-y), turned over, lies above.
    above = _mixture(x, Interval(-y.upper, -y.lower), share_above)
    return PlaneRelaxation(below.x, below.y, below.intercept, -above.x, above.y, -above.intercept)


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    x: Tensor
    y: Tensor
    intercept: Tensor


def _best_share(x: Interval, y: Interval) -> Tensor:
    """Where it is 1: `x.lower y + y.lower x - x.lower y.lower`; 0: the same at the upper ends.

    The least value over the rectangle is concave and piecewise linear in the share, so it is
    largest at an end or where one of the two slopes is 0.
    """
    one = torch.ones_like(x.center + y.center)
    flat_x = (y.upper / _nonzero(y.upper - y.lower)).clamp(0, 1) * one
    flat_y = (x.upper / _nonzero(x.upper - x.lower)).clamp(0, 1) * one
    best = one / 2
    height = _least(_mixture(x, y, best), x, y)
    for share in (one, 0 * one, flat_x, flat_y):
        least = _least(_mixture(x, y, share), x, y)
        best = share.where(least > height, best)
        height = torch.maximum(height, least)
    return best


def _mixture(x: Interval, y: Interval, share: Tensor) -> _Plane:
    rest = 1 - share
    return _Plane(
        share * y.lower + rest * y.upper,
        share * x.lower + rest * x.upper,
        -share * (x.lower * y.lower) - rest * (x.upper * y.upper),
    )


def _least(plane: _Plane, x: Interval, y: Interval) -> Tensor:
    along_x = torch.minimum(plane.x * x.lower, plane.x * x.upper)
    along_y = torch.minimum(plane.y * y.lower, plane.y * y.upper)
    return along_x + along_y + plane.intercept


def _nonzero(width: Tensor) -> Tensor:
    """A width to divide by; where it is 0 any share gives the same plane on the rectangle."""
    return width.clamp(min=torch.finfo(width.dtype).tiny)

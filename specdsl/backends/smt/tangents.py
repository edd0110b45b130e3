"""An l2 ball in exact linear arithmetic: from outside, by tangents where Z3's points leave it.

With `u_i = offset_i / radius` the ball is `share_i >= u_i^2`, `sum of share_i <= 1`; the squares
are bounded below by tangents `share_i >= 2 t u_i - t^2`, which hold for every rational t. This is
`specdsl.encoding.rules.balls` without rounding.
"""

from __future__ import annotations

from fractions import Fraction

import z3

from specdsl.backends.smt.formula import RoundBall
from specdsl.backends.smt.terms import Formula, Term, number
from specdsl.query.sets import ExactArray

# Places of tangents are rounded to this, so that the solver's numbers stay short.
STEP = Fraction(1, 2**24)
# A point whose squared norm is beyond the squared radius by no more than this part is as good as on
# the border: further tangents are for nothing.
BORDER_PART = Fraction(1, 2**40)


class TangentBall:
    """The shares of one ball, as fresh Z3 variables, and rows about them."""

    def __init__(self, ball: RoundBall) -> None:
        self._ball = ball
        self._shares: list[Term] = [z3.FreshReal("share") for _ in ball.offsets]

    def start(self) -> list[Formula]:
        """Shares are not negative and add up to at most 1; a ball of radius 0 is a point."""
        if not self._ball.ball.radius:
            return [offset == 0 for offset in self._ball.offsets]
        total: Term = z3.Sum(self._shares)
        return [*(share >= 0 for share in self._shares), total <= 1]

    def cut_off(self, point: ExactArray) -> list[Formula]:
        """Tangents at an exact point of the whole input, none where it is not outside."""
        ball = self._ball.ball
        if point in ball:
            return []
        units = ball.scale * (point[ball.positions] - ball.center) / ball.radius
        if (units * units).sum() <= 1 + BORDER_PART:
            return []
        return [self._tangent(i, u) for i, u in enumerate(units) if u]

    def _tangent(self, entry: int, unit: Fraction) -> Formula:
        """Touching the square at about `unit`."""
        t = round(unit / STEP) * STEP or unit
        steepness = number(2 * t / self._ball.ball.radius)
        return self._shares[entry] >= steepness * self._ball.offsets[entry] - number(t * t)

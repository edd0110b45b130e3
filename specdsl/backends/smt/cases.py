"""Deciding the cases over one input set, one after another, on solvers that they share."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import z3

from specdsl.backend import Deadline
from specdsl.backends.smt.formula import NetworkFormula, exact_point
from specdsl.backends.smt.session import Z3Session
from specdsl.backends.smt.tangents import TangentBall
from specdsl.backends.smt.terms import Formula, number
from specdsl.evidence import Replayer, Suspected
from specdsl.verdict import Unknown, Witness

# Z3's own point often lies exactly on the boundary, where float32 rounding decides. Deeper points
# are looked for at these parts of the margin's range below 0, nearest first: the last ones where
# curves are enclosed, and points near the boundary mostly are none.
DEPTHS = tuple(Fraction(1, 2**k) for k in (20, 14, 8, 5, 3))
# Each round of tangents at least halves the errors in the entries that matter: after some 20, a
# ball is known to a millionth of its radius. The exact polynomial decides what is closer than that.
MOST_ROUNDS = 50


class Cases:
    """Solvers are made when a case asks for one."""

    def __init__(self, formula: NetworkFormula, replayer: Replayer, deadline: Deadline) -> None:
        self._formula = formula
        self._replayer = replayer
        self._deadline = deadline
        self._balls = [TangentBall(ball) for ball in formula.balls]
        self._exact: Z3Session | None = None
        self._linear: Z3Session | None = None

    def settle(self, case: int) -> Witness | Unknown | None:
        """A confirmed witness, None where Z3 refutes the case, else why it stays open."""
        if self._balls and not self._formula.products:
            outcome = self._settle_by_tangents(case)
            if not isinstance(outcome, Unknown) or self._deadline.passed:
                return outcome
        session = self._exact_session()
        with session.scope(self._atoms(case)):
            result = session.check(self._deadline)
            if result == z3.unsat:
                return None
            if result != z3.sat:
                return session.gave_up(self._deadline)
            return self._confirmed(case, session)

    def _exact_session(self) -> Z3Session:
        if self._exact is None:
            formula = self._formula
            self._exact = Z3Session(formula.assertions, formula.whole, formula.polynomial)
        return self._exact

    def _linear_session(self) -> Z3Session:
        """What is known of l2 balls are tangents."""
        if self._linear is None:
            lasting = [*self._formula.network, *(r for ball in self._balls for r in ball.start())]
            self._linear = Z3Session(lasting, self._formula.whole, polynomial=False)
        return self._linear

    def _atoms(self, case: int) -> list[Formula]:
        return self._formula.atoms(self._replayer.query.cases[case])

    def _settle_by_tangents(self, case: int) -> Witness | Unknown | None:
        """The same with l2 balls bounded from outside, which leaves a linear formula: what it
        refutes is refuted, and its points are tried after they were pulled into the balls.
        """
        session, found = self._linear_session(), list[Formula]()
        with session.scope(self._atoms(case)):
            outcome = self._tangent_rounds(case, session, found)
        session.keep(found)  # they hold for the cases that follow as well
        return outcome

    def _tangent_rounds(
        self, case: int, session: Z3Session, found: list[Formula]
    ) -> Witness | Unknown | None:
        """`found` gets the tangents."""
        for _ in range(MOST_ROUNDS):
            result = session.check(self._deadline)
            if result == z3.unsat:
                return None
            if result != z3.sat:
                return session.gave_up(self._deadline)
            point = exact_point(session.model(), self._formula.inputs)
            outcome = self._replayer.confirm(point, [case])
            if isinstance(outcome, Witness):
                return outcome
            tangents = [row for ball in self._balls for row in ball.cut_off(point)]
            if not tangents:
                break
            session.add(tangents)
            found += tangents
        return Unknown("Z3's points lie on the border of an l2 ball")

    def _confirmed(self, case: int, session: Z3Session) -> Witness | Unknown:
        """A witness near one of Z3's points, or why none is."""
        suspected: Suspected | None = None
        gap = _widest_gap(self._formula, session.model())
        for point in self._points(case, session):
            outcome = self._replayer.confirm(exact_point(point, self._formula.inputs), [case])
            if isinstance(outcome, Witness):
                return outcome
            suspected = suspected or outcome
        if suspected is not None:
            return Unknown(suspected.reason, advice="the decision hangs on float32 rounding")
        if gap is not None:
            return Unknown(
                f"Z3 has a point, but there {gap}", advice="use `search`, which divides boxes"
            )
        reason = "Z3 has an exact point of the case, but no float32 input near it is one"
        return Unknown(reason, advice="the decision hangs on less than float32 resolves")

    def _points(self, case: int, session: Z3Session) -> Iterator[Any]:
        """Z3's model, then models with margins deeper below 0, as long as there are any."""
        yield session.model()
        read = [atom.index for atom in self._replayer.query.cases[case].atoms]
        lowest = min((self._formula.ranges[i].lower for i in read), default=Fraction(0))
        if lowest >= 0:
            return
        for depth in DEPTHS:
            if self._deadline.passed:
                return
            limit = number(lowest * depth)
            session.add([self._formula.margins[i] <= limit for i in read])
            if session.check(self._deadline) != z3.sat:
                return
            yield session.model()


def _widest_gap(formula: NetworkFormula, model: Any) -> str | None:
    """The curve that a model strays from farthest, in words; None where there are no curves."""
    if not formula.enclosed:
        return None
    gaps = [each.gap(model) for each in formula.enclosed]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    worst, gap = formula.enclosed[widest], gaps[widest]
    return f"`{type(worst.op).__name__}` at `{worst.name}` is only enclosed, and off by {gap:.2g}"

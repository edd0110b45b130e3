"""The `smt` backend: one Z3 query a case, in exact arithmetic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import z3

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.smt.formula import CaseFormula, encode_case, exact_point, logic
from specdsl.backends.smt.tangents import TangentBall
from specdsl.backends.smt.terms import number
from specdsl.evidence import Replayer, Suspected
from specdsl.evidence.replay import ELEMENTARY
from specdsl.graph import ops
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness

# Z3's own point often lies exactly on the boundary, where float32 rounding decides. Deeper points
# are looked for at these parts of the margin's range below 0, nearest first.
DEPTHS = (Fraction(1, 2**20), Fraction(1, 2**14), Fraction(1, 2**8))
# Each round of tangents at least halves the errors in the entries that matter: after some 20, a
# ball is known to a millionth of its radius. The exact polynomial decides what is closer than that.
MOST_ROUNDS = 50
# Z3 takes the timeout as a 32-bit number of milliseconds.
LONGEST_TIMEOUT = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Smt:
    """Exact: strict atoms are strict, no tolerance anywhere. For small networks.

    Complete but for curves, which are enclosed: where that does not decide, the answer is Unknown.
    """

    timeout: float | None = None
    name: ClassVar[str] = "smt"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=True,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where Z3 refutes every case, Falsified with a confirmed exact point."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        verdict = _decide(query, deadline)
        return Answer(verdict, "smt/z3", time.monotonic() - start)


def _decide(query: Query, deadline: Deadline) -> Verdict:
    replayer = Replayer(query)
    unsettled: Unknown | None = None
    for case in range(len(query.cases)):
        if deadline.passed:
            return unsettled or _timeout(deadline)
        # One solver at a time in Z3's main context: many contexts crash some versions.
        try:
            formula = encode_case(query, case, deadline=deadline)
        except OutOfTime:
            return unsettled or _timeout(deadline)
        outcome = _decide_case(formula, case, replayer, deadline)
        if isinstance(outcome, Witness):
            return Falsified(outcome)
        unsettled = unsettled or outcome
    if unsettled is not None:
        return unsettled
    curves = any(isinstance(op, ops.Smooth) for _, op, _ in query.graph)
    trusted = ("z3", ELEMENTARY) if curves else ("z3",)
    return Verified(Certificate("smt/z3", None, trusted, leaves=len(query.cases)))


def _decide_case(
    formula: CaseFormula, case: int, replayer: Replayer, deadline: Deadline
) -> Witness | Unknown | None:
    """A confirmed witness, None where Z3 refutes the case, else why it stays open."""
    if formula.balls and not formula.products:
        outcome = _decide_by_tangents(formula, case, replayer, deadline)
        if not isinstance(outcome, Unknown) or deadline.passed:
            return outcome
    solver = z3.SolverFor(logic(formula.whole, formula.polynomial))
    solver.add(formula.assertions)
    result = _check(solver, deadline)
    if result == z3.unsat:
        return None
    if result != z3.sat:
        return _gave_up(solver, deadline)
    suspected: Suspected | None = None
    gap = _widest_gap(formula, solver.model())
    for point in _points(solver, formula, deadline):
        outcome = replayer.confirm(exact_point(point, formula.inputs), [case])
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


def _decide_by_tangents(
    formula: CaseFormula, case: int, replayer: Replayer, deadline: Deadline
) -> Witness | Unknown | None:
    """The same with l2 balls bounded from outside by tangents, which leaves a linear formula: what
    it refutes is refuted, and its points are tried after they were pulled into the balls.
    """
    solver = z3.SolverFor(logic(formula.whole, polynomial=False))
    solver.add([*formula.network, *formula.atoms])
    balls = [TangentBall(ball) for ball in formula.balls]
    for ball in balls:
        solver.add(ball.start())
    for _ in range(MOST_ROUNDS):
        result = _check(solver, deadline)
        if result == z3.unsat:
            return None
        if result != z3.sat:
            return _gave_up(solver, deadline)
        point = exact_point(solver.model(), formula.inputs)
        outcome = replayer.confirm(point, [case])
        if isinstance(outcome, Witness):
            return outcome
        tangents = [row for ball in balls for row in ball.cut_off(point)]
        if not tangents:
            break
        solver.add(tangents)
    return Unknown("Z3's points lie on the border of an l2 ball")


def _points(solver: Any, formula: CaseFormula, deadline: Deadline) -> Iterator[Any]:
    """Z3's model, then models with margins deeper below 0, as long as there are any."""
    yield solver.model()
    lowest = min((known.lower for known in formula.ranges), default=Fraction(0))
    if lowest >= 0:
        return
    for depth in DEPTHS:
        if deadline.passed:
            return
        limit = number(lowest * depth)
        solver.add([margin <= limit for margin in formula.margins])
        if _check(solver, deadline) != z3.sat:
            return
        yield solver.model()


def _widest_gap(formula: CaseFormula, model: Any) -> str | None:
    """The curve that a model strays from farthest, in words; None where there are no curves."""
    if not formula.enclosed:
        return None
    gaps = [each.gap(model) for each in formula.enclosed]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    worst, gap = formula.enclosed[widest], gaps[widest]
    return f"`{type(worst.op).__name__}` at `{worst.name}` is only enclosed, and off by {gap:.2g}"


def _check(solver: Any, deadline: Deadline) -> Any:
    if deadline.end is not None:
        milliseconds = max(1, int(deadline.remaining * 1000))
        solver.set("timeout", min(milliseconds, LONGEST_TIMEOUT))
    return solver.check()


def _gave_up(solver: Any, deadline: Deadline) -> Unknown:
    reason = str(solver.reason_unknown())
    if deadline.passed or reason in ("timeout", "canceled"):
        return _timeout(deadline)
    return Unknown(f"Z3 gave up: {reason}")


def _timeout(deadline: Deadline) -> Unknown:
    spent = "timeout" if deadline.seconds is None else f"timeout after {deadline.seconds:g} s"
    advice = "use `search` or `milp`, which are faster but round"
    return Unknown(f"{spent}; Z3 has no answer yet", advice=advice, timeout=True)

"""Solving a case until it is settled: targets, rows that points ask for, replays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.deciding.program import Program
from specdsl.encoding.model.linear_model import FloatArray
from specdsl.encoding.rules.balls import excess
from specdsl.encoding.solvers.session import TARGET_REACHED, Solution, Until
from specdsl.evidence import Replayer, Suspected
from specdsl.verdict import Witness

# Each round of tangents about halves the errors in the entries that matter: to 1e-6 of a radius it
# takes some 10 to 20 rounds.
MOST_ROUNDS = 40
# Within this part of the radius, further rounds are taken to add at most this many times what the
# last one added to the bound, and to change the margin by at most that part of its range: where
# neither is enough for a verdict, the rounds end.
NEAR_PART = 1e-2
# Before branching, rows are sought while a round lifts the bound by this part of what it lacks.
WORTH_PART = 2e-2
FORESEEN = 10.0


class CaseSearch:
    """One case, or several that a joint program chooses from, on a program that is about them.

    After `run`: the `solution` last found, what was `suspected` at its point, and `nodes`, of all
    branch and bounds.
    """

    def __init__(
        self,
        cases: Sequence[int],
        program: Program,
        replayer: Replayer,
        deadline: Deadline,
        gap: float,
    ) -> None:
        self.cases = cases
        self.program = program
        self.solution: Solution | None = None
        self.suspected: Suspected | None = None
        self.nodes = 0
        self._replayer = replayer
        self._deadline = deadline
        self._gap = gap

    def run(self, deep: float) -> Witness | None:
        """Solve; a confirmed witness comes back. A point below `deep` is confirmed nearly always:
        only if not, the search goes on to the optimum. It ends where the bound is positive.
        """
        if self.program.model.binaries:
            witness = self._relaxed_first()
            if witness is not None or self.solution is not None:
                return witness
        for target in (deep, -np.inf):
            witness = self._cut_and_solve(Until(self._gap, target, enough=0.0))
            if witness is not None:
                return witness
            if self.solution is None or self.solution.status != TARGET_REACHED:
                return None
        return None

    def _cut_and_solve(self, until: Until) -> Witness | None:
        before = -np.inf
        for _ in range(MOST_ROUNDS):
            solution = self.program.session.solve(self._deadline, until)
            self.solution = solution
            self.nodes += solution.nodes
            if solution.point is None or solution.bound > 0:
                return None
            outcome = self._confirm(solution.point)
            if isinstance(outcome, Witness):
                return outcome
            self.suspected = outcome
            if self._deadline.passed or self._hopeless(solution, before):
                return None
            if not self.program.cut_off(solution.point):
                return None
            before = solution.bound
        return None

    def _hopeless(self, solution: Solution, before: float) -> bool:
        """Whether more tangents can neither lift the bound to 0 nor move the point so much that it
        becomes a witness.
        """
        assert solution.point is not None
        if not self.program.balls:  # rows of several neurons are found fast, and end by themselves
            return False
        outside = excess(self.program.balls, solution.point)
        model = self.program.model
        reach = outside * float((model.upper - model.lower) @ model.cost)
        foreseen = solution.bound + FORESEEN * (solution.bound - before)
        return outside <= NEAR_PART and reach < -solution.bound and foreseen < 0

    def _relaxed_first(self) -> Witness | None:
        """Without branching: the linear relaxation, with the rows that it asks for. Where it proves
        the case, its solution stands. Its points are most of all witnesses that branching finds.
        """
        self.program.branch(whole=False)
        before = -np.inf
        try:
            for _ in range(MOST_ROUNDS):
                solution = self.program.session.solve(self._deadline)
                if solution.bound > 0:
                    self.solution = solution
                    return None
                if solution.point is None or self._deadline.passed:
                    return None
                outcome = self._confirm(solution.point)
                if isinstance(outcome, Witness):
                    return outcome
                far = excess(self.program.balls, solution.point) > NEAR_PART
                risen = solution.bound - before > -WORTH_PART * solution.bound
                if not (self.program.cut_off(solution.point) and (far or risen)):
                    return None
                before = solution.bound
            return None
        finally:
            self.program.branch(whole=True)

    def _confirm(self, point: FloatArray) -> Witness | Suspected | None:
        return self._replayer.confirm(point[self.program.model.inputs], self.cases)

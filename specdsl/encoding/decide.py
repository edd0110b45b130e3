"""Deciding a query case by case on linear models: what `lp` and `milp` have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from specdsl.backend import Deadline
from specdsl.bounds.passes.affordable import count_coarse, describe_coarse
from specdsl.encoding.balls import cut_off, excess
from specdsl.encoding.cases import Bounds, CaseModel, case_models
from specdsl.encoding.emptiness import hidden_by_rounding, proven_empty
from specdsl.encoding.enclosed import widest_gap
from specdsl.encoding.highs import INFEASIBLE, OPTIMAL, TARGET_REACHED, TIME_LIMIT, Solution, solve
from specdsl.encoding.linear_model import FloatArray, LinearModel
from specdsl.evidence import Replayer, Suspected
from specdsl.evidence.atoms import ELEMENTARY
from specdsl.graph import ops
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness

# Of the way from 0 down to the proven lower bound: deep enough that rounding decides nothing.
DEEP_PART = 1e-3
# Each round of tangents about halves the errors in the entries that matter: to 1e-6 of a radius it
# takes some 10 to 20 rounds.
MOST_ROUNDS = 40
# Within this part of the radius, further rounds are taken to add at most this many times what the
# last one added to the bound, and to change the margin by at most that part of its range: where
# neither is enough for a verdict, the rounds end.
NEAR_PART = 1e-2
FORESEEN = 10.0


@dataclass(frozen=True, slots=True)
class LinearMethod:
    """`relax`: let binaries be fractional; `gap`: relative gap at which HiGHS may stop.

    `bounds`: how what nonlinear ops read is bounded, which every model starts from. `programs`:
    whether there is anything to solve, or those bounds alone decide.

    `trusted` goes into certificates, `advice` into Unknown verdicts.
    """

    name: Literal["lp", "milp"]
    relax: bool
    gap: float
    trusted: tuple[str, ...]
    advice: str
    bounds: Bounds = "crown"
    programs: bool = True


@dataclass(slots=True)
class _Progress:
    """What is known after some of the cases. `unsettled`: why a case is not decided, None if all
    are; `timeout`: whether that was for lack of time.
    """

    bound: float = np.inf
    unsettled: str | None = None
    timeout: bool = False
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def solved(self) -> bool:
        """Whether some case needed a solver; bounds settled the others."""
        return "columns" in self.statistics

    def note(self, case_model: CaseModel) -> None:
        """What looser bounds than CROWN's a case's model stands on."""
        for name, value in count_coarse(case_model.coarse).items():
            self.statistics[name] = max(self.statistics.get(name, 0.0), value)

    def leave(self, reason: str, timeout: bool = False) -> None:
        """A case stays open; the first reason is kept."""
        if self.unsettled is None:
            self.unsettled, self.timeout = reason, timeout

    def count(self, model: LinearModel, nodes: int) -> None:
        """Sizes of the largest model, nodes of all."""
        sizes = {"columns": model.columns, "rows": model.rows, "binaries": model.binaries}
        for name, size in sizes.items():
            self.statistics[name] = max(self.statistics.get(name, 0.0), float(size))
        self.statistics["nodes"] = self.statistics.get("nodes", 0.0) + nodes


def decide(query: Query, deadline: Deadline, method: LinearMethod) -> Answer:
    """Minimise the largest margin of every case; verified where all proven minima are positive.

    A minimiser's input is tried as a witness. Raises Unsupported before solving.
    """
    start = time.monotonic()
    progress = _Progress()
    verdict = _decide(query, deadline, method, progress)
    name = _method_name(method, progress)
    return Answer(verdict, name, time.monotonic() - start, dict(progress.statistics))


def _method_name(method: LinearMethod, progress: _Progress) -> str:
    """What decided: the solver, or the bounds that every model starts from."""
    return f"{method.name}/{'highs' if progress.solved else 'bounds'}"


def _decide(query: Query, deadline: Deadline, method: LinearMethod, progress: _Progress) -> Verdict:
    replayer = Replayer(query)
    processed = 0
    for case_model in case_models(query, method.bounds, deadline):
        if deadline.passed:
            progress.leave(_timeout(deadline), timeout=True)
            break
        witness = _settle_case(case_model, replayer, deadline, method, progress)
        if witness is not None:
            return Falsified(witness)
        processed += 1
    if progress.unsettled is None:
        # Bounds that the solver refined rest on it as well, where they alone decide.
        by_solver = progress.solved or method.bounds in ("lp", "milp")
        trusted = tuple(t for t in method.trusted if t != "highs" or by_solver)
        if any(isinstance(op, ops.Smooth) for _, op, _ in query.graph):
            trusted += (ELEMENTARY,)
        name = _method_name(method, progress)
        return Verified(Certificate(name, progress.bound, trusted, len(query.cases)))
    complete = processed == len(query.cases) and np.isfinite(progress.bound)
    return Unknown(
        reason=progress.unsettled,
        bound=progress.bound if complete else None,
        advice=method.advice,
        timeout=progress.timeout,
    )


def _settle_case(
    case_model: CaseModel,
    replayer: Replayer,
    deadline: Deadline,
    method: LinearMethod,
    progress: _Progress,
) -> Witness | None:
    """Settle one case or note why it stays open; a confirmed witness comes back."""
    case, model = case_model.case, case_model.model
    progress.note(case_model)
    if case_model.empty:
        return None
    if model is None:
        inputs = replayer.query.cases[case].inputs.box
        outcome = replayer.confirm((inputs.lower + inputs.upper) / 2, [case])
        if isinstance(outcome, Witness):
            return outcome
        progress.leave("a case without atoms, but no point of its inputs could be confirmed")
        return None
    lowest = float(model.lower @ model.cost)
    if lowest > 0:  # bounds alone settle it
        progress.bound = min(progress.bound, lowest)
        return None
    if not method.programs:
        progress.bound = min(progress.bound, lowest)
        progress.leave(f"bounds alone do not settle it; best bound {lowest:.4g}")
        return None
    search = _CaseSearch(case_model, model, replayer, deadline, method, progress)
    witness = search.run(lowest * DEEP_PART)
    solution = search.solution
    if witness is not None or solution is None:
        return witness
    if solution.status in INFEASIBLE and _is_empty(search, replayer.query, deadline):
        return None
    progress.bound = min(progress.bound, solution.bound)
    if solution.bound <= 0:
        timeout = solution.status == TIME_LIMIT
        progress.leave(_reason(search, solution, deadline, method), timeout)
    return None


def _is_empty(search: _CaseSearch, query: Query, deadline: Deadline) -> bool:
    """Whether the case has no point, since its model has none by more than rounding hides."""
    asked = restate(query.graph).graph
    hidden = hidden_by_rounding((asked, simplify(asked)), query.cases[search.case].inputs)
    return proven_empty(search.model, deadline, hidden)


class _CaseSearch:
    """One case's model, solved until it is settled; l2 balls get tangents where points leave them.

    After `run`: `model` as solved last, its `solution`, and what was `suspected` at its point.
    """

    def __init__(
        self,
        case_model: CaseModel,
        model: LinearModel,
        replayer: Replayer,
        deadline: Deadline,
        method: LinearMethod,
        progress: _Progress,
    ) -> None:
        self.case = case_model.case
        self.balls = case_model.balls
        self.enclosed = case_model.enclosed
        self.coarse = case_model.coarse
        self.model = model.relaxed() if method.relax else model
        self.solution: Solution | None = None
        self.suspected: Suspected | None = None
        self._replayer = replayer
        self._deadline = deadline
        self._method = method
        self._progress = progress

    def run(self, deep: float) -> Witness | None:
        """Solve; a confirmed witness comes back. A point below `deep` is confirmed nearly always:
        only if not, the search goes on to the optimum.
        """
        if self.balls and self.model.binaries:
            witness = self._cut_relaxation()
            if witness is not None or self.solution is not None:
                return witness
        for target in (deep, None):
            witness = self._cut_and_solve(target)
            if witness is not None:
                return witness
            if self.solution is None or self.solution.status != TARGET_REACHED:
                return None
        return None

    def _cut_and_solve(self, target: float | None) -> Witness | None:
        before = -np.inf
        for _ in range(MOST_ROUNDS):
            solution = solve(self.model, self._deadline, self._method.gap, target)
            self.solution = solution
            self._progress.count(self.model, solution.nodes)
            if solution.point is None or solution.bound > 0:
                return None
            outcome = self._confirm(solution.point)
            if isinstance(outcome, Witness):
                return outcome
            self.suspected = outcome
            tightened = cut_off(self.model, self.balls, solution.point)
            if tightened is None or self._deadline.passed:
                return None
            if self._hopeless(solution, before):
                return None
            self.model, before = tightened, solution.bound
        return None

    def _hopeless(self, solution: Solution, before: float) -> bool:
        """Whether more tangents can neither lift the bound to 0 nor move the point so much that it
        becomes a witness.
        """
        assert solution.point is not None
        outside = excess(self.balls, solution.point)
        reach = outside * float((self.model.upper - self.model.lower) @ self.model.cost)
        foreseen = solution.bound + FORESEEN * (solution.bound - before)
        return outside <= NEAR_PART and reach < -solution.bound and foreseen < 0

    def _cut_relaxation(self) -> Witness | None:
        """Tangents that the linear relaxation asks for are found without branching. Where it proves
        the case, its solution stands.
        """
        for _ in range(MOST_ROUNDS):
            solution = solve(self.model.relaxed(), self._deadline)
            self._progress.count(self.model, nodes=0)
            if solution.bound > 0:
                self.solution = solution
                return None
            if solution.point is None or self._deadline.passed:
                return None
            outcome = self._confirm(solution.point)
            if isinstance(outcome, Witness):
                return outcome
            tightened = cut_off(self.model, self.balls, solution.point)
            if tightened is None or excess(self.balls, solution.point) <= NEAR_PART:
                return None
            self.model = tightened
        return None

    def _confirm(self, point: FloatArray) -> Witness | Suspected | None:
        return self._replayer.confirm(point[self.model.inputs], [self.case])


def _reason(
    search: _CaseSearch, solution: Solution, deadline: Deadline, method: LinearMethod
) -> str:
    bound = f"best bound {solution.bound:.4g}"
    if search.balls and solution.point is not None:
        outside = max(0.0, excess(search.balls, solution.point))
        bound += f", its point outside the l2 ball by {outside:.1g} of the radius"
    if search.suspected is not None:
        return f"{search.suspected.reason}; {bound}"
    if solution.status == TIME_LIMIT:
        return f"{_timeout(deadline)}; {bound}"
    if solution.status != OPTIMAL or solution.objective is None:
        return f"HiGHS ended with `{solution.status}`, which proves nothing here; {bound}"
    if method.relax and solution.objective <= 0:
        coarse = search.coarse
        loose = f"; {describe_coarse(coarse)}" if coarse else ""
        return f"the linear relaxation does not settle it; {bound}{loose}"
    if solution.objective <= 0 and solution.point is not None:
        gap = widest_gap(search.enclosed, solution.point)
        if gap is not None:
            least = f"the model's least margin is {solution.objective:.3g}"
            return f"solver's point not confirmed: {least}, but there {gap}; {bound}"
    if solution.objective > 0:
        least = f"the least margin found is {solution.objective:.3g}"
        return f"{least}, positive by less than gap and solver tolerances can prove; {bound}"
    return (
        f"solver's point not confirmed: its margin is {solution.objective:.3g} by the model, but "
        f"the network does not agree; {bound}"
    )


def _timeout(deadline: Deadline) -> str:
    return "timeout" if deadline.seconds is None else f"timeout after {deadline.seconds:g} s"

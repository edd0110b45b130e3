"""Deciding a query case by case on linear models: what `lp` and `milp` have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.cases import CaseModel, case_models
from specdsl.encoding.highs import OPTIMAL, TARGET_REACHED, TIME_LIMIT, Solution, solve
from specdsl.encoding.linear_model import LinearModel
from specdsl.evidence import Replayer, Suspected
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness

# Of the way from 0 down to the proven lower bound: deep enough that rounding decides nothing.
DEEP_PART = 1e-3


@dataclass(frozen=True, slots=True)
class LinearMethod:
    """`relax`: let binaries be fractional; `gap`: relative gap at which HiGHS may stop.

    `trusted` goes into certificates, `advice` into Unknown verdicts.
    """

    name: Literal["lp", "milp"]
    relax: bool
    gap: float
    trusted: tuple[str, ...]
    advice: str


@dataclass(slots=True)
class _Progress:
    """What is known after some of the cases. `unsettled`: why a case is not decided, None if all
    are; `timeout`: whether that was for lack of time.
    """

    bound: float = np.inf
    unsettled: str | None = None
    timeout: bool = False
    statistics: dict[str, float] = field(default_factory=dict)

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
    return Answer(
        verdict, f"{method.name}/highs", time.monotonic() - start, dict(progress.statistics)
    )


def _decide(query: Query, deadline: Deadline, method: LinearMethod, progress: _Progress) -> Verdict:
    replayer = Replayer(query)
    processed = 0
    for case_model in case_models(query):
        if deadline.passed:
            progress.leave(_timeout(deadline), timeout=True)
            break
        witness = _settle_case(case_model, replayer, deadline, method, progress)
        if witness is not None:
            return Falsified(witness)
        processed += 1
    if progress.unsettled is None:
        name = f"{method.name}/highs"
        return Verified(Certificate(name, progress.bound, method.trusted, len(query.cases)))
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
    if model is None:
        inputs = replayer.query.cases[case].inputs.box
        outcome = replayer.confirm((inputs.lower + inputs.upper) / 2, [case])
        if isinstance(outcome, Witness):
            return outcome
        progress.leave("a case without atoms, but no point of its inputs could be confirmed")
        return None
    chosen = model.relaxed() if method.relax else model
    lowest = float(model.lower @ model.cost)
    if lowest > 0:  # bounds alone settle it
        progress.bound = min(progress.bound, lowest)
        return None
    # A point this deep is confirmed nearly always; only if not, the search goes on to the optimum.
    for target in (lowest * DEEP_PART, None):
        solution = solve(chosen, deadline, method.gap, target)
        progress.count(chosen, solution.nodes)
        outcome = None
        if solution.point is not None and solution.bound <= 0:
            outcome = replayer.confirm(solution.point[model.inputs], [case])
            if isinstance(outcome, Witness):
                return outcome
        if solution.status != TARGET_REACHED:
            break
    progress.bound = min(progress.bound, solution.bound)
    if solution.bound > 0:
        return None
    timeout = solution.status == TIME_LIMIT
    progress.leave(_reason(solution, outcome, deadline, method), timeout)
    return None


def _reason(
    solution: Solution, suspected: Suspected | None, deadline: Deadline, method: LinearMethod
) -> str:
    bound = f"best bound {solution.bound:.4g}"
    if suspected is not None:
        return f"{suspected.reason}; {bound}"
    if solution.status == TIME_LIMIT:
        return f"{_timeout(deadline)}; {bound}"
    if solution.status != OPTIMAL or solution.objective is None:
        return f"HiGHS ended with `{solution.status}`, which proves nothing here; {bound}"
    if method.relax and solution.objective <= 0:
        return f"the linear relaxation does not settle it; {bound}"
    if solution.objective > 0:
        least = f"the least margin found is {solution.objective:.3g}"
        return f"{least}, positive by less than gap and solver tolerances can prove; {bound}"
    return (
        f"solver's point not confirmed: its margin is {solution.objective:.3g} by the model, but "
        f"the network does not agree; {bound}"
    )


def _timeout(deadline: Deadline) -> str:
    return "timeout" if deadline.seconds is None else f"timeout after {deadline.seconds:g} s"

"""Deciding a query case by case on linear models: what `lp`, `milp` and `sdp` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from specdsl.backend import Deadline
from specdsl.bounds.passes.affordable import count_coarse, describe_coarse
from specdsl.encoding.cases import Bounds, EncodedGroup, encoded_groups
from specdsl.encoding.deciding.case_search import CaseSearch
from specdsl.encoding.deciding.emptiness import hidden_by_rounding, proven_empty
from specdsl.encoding.deciding.group_program import GroupProgram
from specdsl.encoding.deciding.joint import encode_joint
from specdsl.encoding.deciding.program import Program
from specdsl.encoding.encode import EncodedGraph, worst_range
from specdsl.encoding.model.enclosed import widest_gap
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.model.quadratics import Quadratics
from specdsl.encoding.rules.balls import excess
from specdsl.encoding.solvers.highs import HighsSession
from specdsl.encoding.solvers.session import INFEASIBLE, OPTIMAL, TIME_LIMIT, Session, Solution
from specdsl.evidence import Replayer
from specdsl.evidence.atoms import ELEMENTARY
from specdsl.graph import ops
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.query import Atom, Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness

ROUNDING = "float64 rounding"
Start = Callable[[LinearModel, Quadratics], Session]
# Of the way from 0 down to the proven lower bound: deep enough that rounding decides nothing.
DEEP_PART = 1e-3


@dataclass(frozen=True, slots=True)
class LinearMethod:
    """`relax`: let binaries be fractional; `gap`: relative gap at which HiGHS may stop.

    `bounds`: how what nonlinear ops read is bounded, which every model starts from. `programs`:
    whether there is anything to solve, or those bounds alone decide. `solver`: of the cases'
    programs, and how one `start`s on a model; neurons' bounds and proofs of emptiness are HiGHS's
    in any case. `multi_neuron`: the most neurons that a row is about. `joint`: whether the cases
    over an input set are one program, or one after another.

    `trusted` goes into certificates, `advice` into Unknown verdicts.
    """

    name: Literal["lp", "milp", "sdp"]
    relax: bool
    gap: float
    trusted: tuple[str, ...]
    advice: str
    bounds: Bounds = "crown"
    programs: bool = True
    solver: str = "highs"
    multi_neuron: int = 1
    joint: bool = False
    start: Start = lambda model, _: HighsSession(model)


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

    def note(self, group: EncodedGroup) -> None:
        """What looser bounds than CROWN's some cases' model stands on."""
        for name, value in count_coarse(group.coarse).items():
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
    return f"{method.name}/{method.solver if progress.solved else 'bounds'}"


def _decide(query: Query, deadline: Deadline, method: LinearMethod, progress: _Progress) -> Verdict:
    replayer = Replayer(query)
    processed = 0
    for group in encoded_groups(query, method.bounds, deadline, method.multi_neuron):
        progress.note(group)
        cases = _Cases(group, replayer, deadline, method, progress)
        portions = [group.members] if method.joint else [(member,) for member in group.members]
        for portion in portions:
            if deadline.passed:
                progress.leave(_timeout(deadline), timeout=True)
                break
            witness = cases.settle(portion)
            if witness is not None:
                return Falsified(witness)
            processed += len(portion)
    if progress.unsettled is None:
        # Bounds that the solver refined rest on it as well, where they alone decide.
        by_solver = progress.solved or method.bounds in ("lp", "milp")
        trusted = tuple(t for t in method.trusted if t == ROUNDING or by_solver)
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


class _Cases:
    """The cases over one input set; one program serves all that need one, in turn or together."""

    def __init__(
        self,
        group: EncodedGroup,
        replayer: Replayer,
        deadline: Deadline,
        method: LinearMethod,
        progress: _Progress,
    ) -> None:
        self._group = group
        self._replayer = replayer
        self._deadline = deadline
        self._method = method
        self._progress = progress
        self._program: GroupProgram | None = None

    def settle(self, cases: Sequence[int]) -> Witness | None:
        """Settle cases together or note why one stays open; a confirmed witness comes back."""
        if self._group.empty:
            return None
        encoded = self._group.encoded
        left: list[int] = []
        lows: list[float] = []
        for case in cases:
            atoms = self._atoms(case)
            if encoded is None or not atoms:
                witness = self._center(case)
                if witness is not None:
                    return witness
                continue
            lowest, _ = worst_range(encoded, atoms)
            if lowest > 0 or not self._method.programs:  # bounds alone
                self._progress.bound = min(self._progress.bound, lowest)
                if lowest <= 0:
                    text = f"bounds alone do not settle it; best bound {lowest:.4g}"
                    self._progress.leave(text)
                continue
            left.append(case)
            lows.append(lowest)
        if encoded is None or not left:
            return None
        return self._solve(left, self._turned_to(encoded, left), min(lows))

    def _atoms(self, case: int) -> tuple[Atom, ...]:
        return self._replayer.query.cases[case].atoms

    def _center(self, case: int) -> Witness | None:
        """A case without atoms has any point of its inputs."""
        inputs = self._replayer.query.cases[case].inputs.box
        outcome = self._replayer.confirm((inputs.lower + inputs.upper) / 2, [case])
        if isinstance(outcome, Witness):
            return outcome
        no_point = "a case without atoms, but no point of its inputs could be confirmed"
        self._progress.leave(no_point)
        return None

    def _turned_to(self, encoded: EncodedGraph, cases: Sequence[int]) -> Program:
        name, known = self._replayer.query.name, encoded.encoder.quadratics
        relax, pool = self._method.relax, self._group.pool

        def start(model: LinearModel) -> Session:
            return self._method.start(model, known)

        if self._method.joint:
            model = encode_joint(encoded, [self._atoms(case) for case in cases], name)
            return Program(encoded, pool, model, start, relax=relax)
        if self._program is None:
            members = [self._atoms(member) for member in self._group.members]
            self._program = GroupProgram(encoded, pool, members, name, start, relax=relax)
        (case,) = cases
        self._program.turn_to(self._atoms(case))
        return self._program

    def _solve(self, cases: Sequence[int], program: Program, lowest: float) -> Witness | None:
        search = CaseSearch(cases, program, self._replayer, self._deadline, self._method.gap)
        witness = search.run(lowest * DEEP_PART)
        solution = search.solution
        self._progress.count(program.model, search.nodes)
        if witness is not None or solution is None:
            return witness
        if solution.status in INFEASIBLE and self._is_empty(search):
            return None
        self._progress.bound = min(self._progress.bound, solution.bound)
        if solution.bound <= 0:
            timeout = solution.status == TIME_LIMIT
            reason = _reason(search, solution, self._deadline, self._method, self._group)
            self._progress.leave(reason, timeout)
        return None

    def _is_empty(self, search: CaseSearch) -> bool:
        """Whether the case has no point, since its model has none by more than rounding hides."""
        query = self._replayer.query
        asked = restate(query.graph).graph
        inputs = query.cases[search.cases[0]].inputs
        hidden = hidden_by_rounding((asked, simplify(asked)), inputs)
        return proven_empty(search.program.model, self._deadline, hidden)


def _reason(
    search: CaseSearch,
    solution: Solution,
    deadline: Deadline,
    method: LinearMethod,
    group: EncodedGroup,
) -> str:
    bound = f"best bound {solution.bound:.4g}"
    if search.program.balls and solution.point is not None:
        outside = max(0.0, excess(search.program.balls, solution.point))
        bound += f", its point outside the l2 ball by {outside:.1g} of the radius"
    if search.suspected is not None:
        return f"{search.suspected.reason}; {bound}"
    if solution.status == TIME_LIMIT:
        return f"{_timeout(deadline)}; {bound}"
    if solution.status != OPTIMAL or solution.objective is None:
        name = "HiGHS" if method.solver == "highs" else method.solver
        return f"{name} ended with `{solution.status}`, which proves nothing here; {bound}"
    if method.relax and solution.objective <= 0:
        loose = f"; {describe_coarse(group.coarse)}" if group.coarse else ""
        kind = "semidefinite" if method.name == "sdp" else "linear"
        return f"the {kind} relaxation does not settle it; {bound}{loose}"
    if solution.objective <= 0 and solution.point is not None:
        gap = widest_gap(search.program.enclosed, solution.point)
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

"""The `portfolio` backend, the default: a short attack, then bounds, then what fits the query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from specdsl.backend import Backend, Capabilities, Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.prepared import Prepared
from specdsl.backends.search import Search
from specdsl.backends.search.inputs.jumps import has_steps
from specdsl.backends.search.options import SearchOptions
from specdsl.bounds.many_boxes import MANY_SETS
from specdsl.graph import ops
from specdsl.query.query import Query
from specdsl.verdict import Answer, Falsified, OpenCases, Unknown, Verdict, Verified

# HiGHS closes models of 87 to 113 binaries that `search` leaves open (mnist_fc, safenlp) within
# half a minute, and none of 164 (docs/performance.md).
ENCODABLE_UNSTABLE = 128
# Where `milp` may follow, `search` gets this part of the time that is left, or so many seconds if
# there is no end.
SEARCH_PART, SEARCH_SECONDS = 0.7, 60.0
# The first attack, so that hundreds of cases on a large network leave time for bounds (300 buses of
# ml4acopf: 600 cases took all of it).
FIRST_PART = 0.15
# Of many sets of inputs, bounds close most together, and an attack goes to each: bounds first, and
# then attacks on what is left for so much of the time.
SHORT_PART = 0.05
# Z3 settles ties and jumps exactly, among some tens of unstable neurons within a minute.
EXACT_UNSTABLE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio(SearchOptions):
    """Each stage gets what the one before left undecided and what is left of the time.

    The stage that answered is named in the answer's method; nothing is replaced silently.
    `attack`, `milp`: whether there are stages of these. `device`: of `bounds.devices`, for the
    stages that compute with torch.
    """

    attack: bool = True
    milp: bool = True
    timeout: float | None = None
    device: str = "cpu"
    name: ClassVar[str] = "portfolio"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=True,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """The first decided answer; else Unknown with the best bound of all stages."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        prepared = Prepared(query, self.device)
        answers: list[Answer] = []
        left = OpenCases(tuple(range(len(query.cases))), inf)
        for stage, part in self._stages(prepared):
            if isinstance(stage, Attack) and not self.attack:
                continue
            asked = prepared if len(left.cases) == len(query.cases) else prepared.only(left.cases)
            answers.append(_answer(stage, asked, _part_of(deadline, part)))
            verdict = answers[-1].verdict
            if not isinstance(verdict, Unknown) or deadline.passed:
                break
            left = _narrowed(left, verdict)
        verdict = _of_all_cases(_undecided(answers), left)
        statistics = {k: v for answer in answers for k, v in answer.statistics.items()}
        return Answer(verdict, answers[-1].method, time.monotonic() - start, statistics)

    def _before_search(self, query: Query) -> Iterator[tuple[Backend, float]]:
        """Attacks and bounds, what is likelier to decide for its time first."""
        short = Attack(steps=20, restarts=2, seed=self.seed, device=self.device)
        longer = Attack(steps=40, restarts=8, seed=self.seed + 1, device=self.device)
        bounds = Incomplete(device=self.device)
        many = len({id(case.inputs) for case in query.cases}) >= MANY_SETS
        if many:
            yield from ((bounds, 1.0), (short, SHORT_PART))
        elif has_steps(query.graph):
            # Across jumps bounds say little, and they took all of the time before a second attack.
            yield from ((short, FIRST_PART), (longer, 1.0), (bounds, 1.0))
        else:
            yield from ((short, FIRST_PART), (bounds, 1.0), (longer, 1.0))

    def _stages(self, prepared: Prepared) -> Iterator[tuple[Backend, float]]:
        """The stages in order, each with the part of the time left that it may use."""
        query = prepared.query
        yield from self._before_search(query)
        search = Search(**self.as_arguments, device=self.device)
        if search.splits_inputs_alone(query):
            yield search, 1.0
            if has_steps(query.graph):
                yield from self._at_jumps(prepared)
            return
        encodable = self.milp and _unstable(prepared) <= ENCODABLE_UNSTABLE
        # Of many inputs, boxes alone decide nothing, and jumps leave nothing else to split.
        if has_steps(query.graph):
            longer = Attack(steps=200, restarts=60, seed=self.seed + 2, device=self.device)
            yield _milp() if encodable else longer, 1.0
        else:
            yield search, SEARCH_PART if encodable else 1.0
            if encodable:
                yield _milp(), 1.0

    def _at_jumps(self, prepared: Prepared) -> Iterator[tuple[Backend, float]]:
        """Who goes on where boxes never get small enough: what places jumps exactly, or nearly."""
        # Few queries come here, and Z3 takes a third of a second to load.
        from specdsl.backends.smt import Smt

        unstable = _unstable(prepared)
        if unstable <= EXACT_UNSTABLE:
            yield Smt(), 1.0
        elif self.milp and unstable <= ENCODABLE_UNSTABLE:
            yield _milp(), 1.0


def _narrowed(left: OpenCases, verdict: Unknown) -> OpenCases:
    """What is left of the query after a verdict on `left` of it."""
    if verdict.left is None:
        return left
    bound = min(left.closed_bound, verdict.left.closed_bound)
    return OpenCases(tuple(left.cases[i] for i in verdict.left.cases), bound)


def _of_all_cases(verdict: Verdict, left: OpenCases) -> Verdict:
    """A verdict on the cases `left`, the others being settled, as one on the whole query."""
    match verdict:
        case Verified(certificate):
            margin = certificate.margin
            margin = None if margin is None else min(margin, left.closed_bound)
            proofs = tuple(
                replace(proof, cases=tuple(left.cases[i] for i in proof.cases))
                for proof in certificate.proofs
            )
            return Verified(replace(certificate, margin=margin, proofs=proofs))
        case Falsified(witness):
            return Falsified(replace(witness, case=left.cases[witness.case]))
        case Unknown():
            return verdict


def _part_of(deadline: Deadline, part: float) -> Deadline:
    if part >= 1:
        return deadline
    if deadline.end is None:
        return Deadline.after(SEARCH_SECONDS)
    return Deadline.after(part * deadline.remaining)


def _milp() -> Backend:
    # Loaded where it is asked only: what boxes decide does not wait for it.
    from specdsl.backends.milp import Milp

    return Milp()


def _answer(stage: Backend, prepared: Prepared, deadline: Deadline) -> Answer:
    """What a stage says, given what others have worked out where it can use that."""
    if isinstance(stage, Attack | Incomplete | Search):
        return stage.decide(prepared, deadline)
    return stage.answer(prepared.query, deadline)


def _unstable(prepared: Prepared) -> float:
    """How many entries a linear model would decide by whole numbers; infinite where `milp` does not
    take the query, or states it only nearly.
    """
    from specdsl.encoding.encode import encode_op

    query = prepared.query
    if query.nonlinear or any(ball.norm == "l2" for c in query.cases for ball in c.inputs.balls):
        return inf
    no_rule = encode_op.dispatch(ops.Op)
    for _, op, _ in prepared.simplified:
        if isinstance(op, ops.Smooth | ops.Polynomial):
            return inf
        if not isinstance(op, ops.Input) and encode_op.dispatch(type(op)) is no_rule:
            return inf
    return max((prepared.unstable(group) for group in prepared.groups), default=0)


def _undecided(answers: list[Answer]) -> Verdict:
    """The last stage's verdict; an Unknown says what each way of proving and refuting came to."""
    last = answers[-1].verdict
    if not isinstance(last, Unknown):
        return last
    unknowns = [a.verdict for a in answers if isinstance(a.verdict, Unknown)]
    bounds = [v.bound for v in unknowns if v.bound is not None]
    # An attack has no bound to tell: the last stage that tried to prove it speaks first.
    proving = [v for v in unknowns if v.bound is not None and v is not last]
    reason = last.reason
    if last.bound is None and proving and not last.timeout:
        reason = f"{proving[-1].reason}; {last.reason}"
    return Unknown(reason, max(bounds, default=None), last.advice, last.timeout)

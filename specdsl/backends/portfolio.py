"""The `portfolio` backend, the default: a short attack, then bounds, then what fits the query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from specdsl.backend import Backend, Capabilities, Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.backends.search.inputs.jumps import has_steps
from specdsl.bounds.analysis import unstable_entries
from specdsl.encoding.encode import encode_op
from specdsl.graph import ops
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.query import Query
from specdsl.verdict import Answer, Falsified, Unknown, Verdict, Verified

# HiGHS closes big-M models of about this many binaries within a minute; far above it does not.
ENCODABLE_UNSTABLE = 300
# Where `milp` may follow, `search` gets this part of the time that is left, or so many seconds if
# there is no end. All that it decides of mnist_fc takes it less than a second each.
SEARCH_PART, SEARCH_SECONDS = 0.5, 60.0
# Z3 settles ties and jumps exactly, among some tens of unstable neurons within a minute.
EXACT_UNSTABLE = 40


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Each stage gets what the one before left undecided and what is left of the time.

    The stage that answered is named in the answer's method; nothing is replaced silently.
    """

    seed: int = 0
    timeout: float | None = None
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
        answers: list[Answer] = []
        for stage, part in self._stages(query):
            answers.append(stage.answer(query, _part_of(deadline, part)))
            decided = isinstance(answers[-1].verdict, Verified | Falsified)
            if decided or deadline.passed:
                break
        verdict = _undecided(answers)
        statistics = {k: v for answer in answers for k, v in answer.statistics.items()}
        return Answer(verdict, answers[-1].method, time.monotonic() - start, statistics)

    def _stages(self, query: Query) -> Iterator[tuple[Backend, float]]:
        """The stages in order, each with the part of the time left that it may use."""
        yield Attack(steps=20, restarts=2, seed=self.seed), 1.0
        yield Incomplete(), 1.0
        yield Attack(steps=40, restarts=8, seed=self.seed + 1), 1.0
        search = Search(seed=self.seed)
        if search.splits_inputs_alone(query):
            yield search, 1.0
            if has_steps(query.graph):
                yield from _at_jumps(query)
            return
        encodable = _unstable(query) <= ENCODABLE_UNSTABLE
        # Of many inputs, boxes alone decide nothing, and jumps leave nothing else to split.
        if has_steps(query.graph):
            longer = Attack(steps=200, restarts=60, seed=self.seed + 2)
            yield Milp() if encodable else longer, 1.0
        else:
            yield search, SEARCH_PART if encodable else 1.0
            if encodable:
                yield Milp(), 1.0


def _part_of(deadline: Deadline, part: float) -> Deadline:
    if part >= 1:
        return deadline
    if deadline.end is None:
        return Deadline.after(SEARCH_SECONDS)
    return Deadline.after(part * deadline.remaining)


def _at_jumps(query: Query) -> Iterator[tuple[Backend, float]]:
    """Who goes on where boxes never get small enough: what places jumps exactly, else nearly."""
    # Few queries come here, and Z3 takes a third of a second to load.
    from specdsl.backends.smt import Smt

    unstable = _unstable(query)
    if unstable <= EXACT_UNSTABLE:
        yield Smt(), 1.0
    elif unstable <= ENCODABLE_UNSTABLE:
        yield Milp(), 1.0


def _unstable(query: Query) -> float:
    """How many entries a linear model would decide by whole numbers; infinite where `milp` does not
    take the query, or states it only nearly.
    """
    if query.nonlinear or any(ball.norm == "l2" for c in query.cases for ball in c.inputs.balls):
        return inf
    graph = simplify(restate(query.graph).graph)
    no_rule = encode_op.dispatch(ops.Op)
    for _, op, _ in graph:
        if isinstance(op, ops.Smooth | ops.Polynomial):
            return inf
        if not isinstance(op, ops.Input) and encode_op.dispatch(type(op)) is no_rule:
            return inf
    sets = {id(case.inputs): case.inputs for case in query.cases}
    return max(unstable_entries(graph, s) for s in sets.values())


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

"""The `portfolio` backend, the default: a short attack, then bounds, then what fits the query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from specdsl.backend import Backend, Capabilities, Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.backends.search.jumps import has_steps
from specdsl.bounds.analysis import unstable_entries
from specdsl.encoding.encode import encode_op
from specdsl.graph import ops
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.query import Query
from specdsl.verdict import Answer, Falsified, Unknown, Verdict, Verified

# Input splitting doubles the boxes with every input it must cut: past some tens it decides nothing.
SPLITTABLE_INPUTS = 32
# HiGHS closes big-M models of about this many binaries within a minute; far above it does not.
ENCODABLE_UNSTABLE = 300
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
        for stage in self._stages(query):
            answers.append(stage.answer(query, deadline))
            decided = isinstance(answers[-1].verdict, Verified | Falsified)
            if decided or deadline.passed:
                break
        verdict = _undecided(answers)
        statistics = {k: v for answer in answers for k, v in answer.statistics.items()}
        return Answer(verdict, answers[-1].method, time.monotonic() - start, statistics)

    def _stages(self, query: Query) -> Iterator[Backend]:
        yield Attack(steps=40, restarts=8, seed=self.seed)
        yield Incomplete()
        if _varying_inputs(query) <= SPLITTABLE_INPUTS:
            yield Search(seed=self.seed)
            if has_steps(query.graph):
                yield from _at_jumps(query)
        elif _unstable(query) <= ENCODABLE_UNSTABLE:
            yield Milp()
        else:
            yield Attack(steps=200, restarts=60, seed=self.seed + 1)


def _at_jumps(query: Query) -> Iterator[Backend]:
    """Who goes on where boxes never get small enough: what places jumps exactly, else nearly."""
    # Few queries come here, and Z3 takes a third of a second to load.
    from specdsl.backends.smt import Smt

    unstable = _unstable(query)
    if unstable <= EXACT_UNSTABLE:
        yield Smt()
    elif unstable <= ENCODABLE_UNSTABLE:
        yield Milp()


def _varying_inputs(query: Query) -> int:
    """The most inputs that vary in any case."""
    boxes = (case.inputs.box for case in query.cases)
    return max((int(np.sum(box.lower < box.upper)) for box in boxes), default=0)


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

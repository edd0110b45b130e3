"""The `attack` backend: projected gradient descent with restarts, every find confirmed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar

from specdsl.backend import Capabilities, Deadline
from specdsl.backends.attack.descent import Effort, descend
from specdsl.bounds.compiled import compile_graph
from specdsl.encoding.integers import round_inward
from specdsl.evidence import Replayer, Suspected
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet
from specdsl.verdict import Answer, Falsified, Unknown, Verdict


@dataclass(frozen=True, slots=True)
class Attack:
    """`restarts` starting points a case, `steps` of descent each, pseudo-random by `seed`."""

    steps: int = 100
    restarts: int = 30
    seed: int = 0
    timeout: float | None = None
    name: ClassVar[str] = "attack"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=False,
        falsifies=True,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Falsified with a confirmed witness, else Unknown; a near miss does not end the search."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        verdict = self._search(query, deadline)
        return Answer(verdict, "attack/pgd", time.monotonic() - start)

    def _search(self, query: Query, deadline: Deadline) -> Verdict:
        replayer = Replayer(query)
        compiled = compile_graph(simplify(restate(query.graph).graph))
        suspected: Suspected | None = None
        attempts = 0
        effort = Effort(self.steps, self.restarts, self.seed)
        for group in group_cases(query):
            try:
                inputs = round_inward(group.inputs, query.integers)
            except EmptySet:
                continue
            rounded = replace(group, inputs=inputs)
            for candidate in descend(compiled, rounded, query.integers, effort, deadline):
                outcome = replayer.confirm(candidate.point.cpu().numpy(), [candidate.case])
                attempts += 1
                if isinstance(outcome, Suspected):
                    suspected = outcome
                elif outcome is not None:
                    return Falsified(outcome)
                if attempts >= MAX_CONFIRMATIONS:
                    break
        return self._nothing_found(suspected, deadline)

    def _nothing_found(self, suspected: Suspected | None, deadline: Deadline) -> Unknown:
        if suspected is not None:
            return Unknown(f"suspected only: {suspected.reason}")
        if deadline.passed:
            return Unknown(f"{deadline.expiry} of attack", timeout=True)
        reason = f"no witness in {self.restarts} restarts a case; an attack proves nothing"
        return Unknown(reason, advice="use `portfolio`, which also tries to prove it")


# Exact confirmation costs up to seconds on large networks; near misses beyond this many in one
# attack are the same spot again.
MAX_CONFIRMATIONS = 50

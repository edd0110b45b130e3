"""The `search` backend: branch and bound by input splitting on batched CROWN bounds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.input_splitting import Outcome, Problem, Progress, search_group
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.rounding import rounding_slack
from specdsl.encoding.integers import round_inward
from specdsl.evidence import Replayer
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified


@dataclass(frozen=True, slots=True)
class Search:
    """`split`: what to split; `batch`: boxes bounded at once.

    Deterministic: nothing is drawn at random, `seed` is there for the rules that will.
    """

    split: Literal["input"] = "input"
    batch: int = 128
    seed: int = 0
    timeout: float | None = None
    name: ClassVar[str] = "search"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=True,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified, Falsified with a confirmed witness, or Unknown with what is left open."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        confirmer = Confirmer(Replayer(query))
        progress = Progress()
        try:
            verdict = self._decide(query, confirmer, deadline, progress)
        except OutOfTime:
            verdict = _not_verified("timeout", progress, confirmer, deadline)
        statistics = {"domains": float(progress.domains), "leaves": float(progress.leaves)}
        return Answer(verdict, f"search/{self.split}", time.monotonic() - start, statistics)

    def _decide(
        self, query: Query, confirmer: Confirmer, deadline: Deadline, progress: Progress
    ) -> Verdict:
        # Only the signs of margins matter: the slack must be that of the margins searched.
        margins = restate(query.graph).graph
        compiled = compile_graph(simplify(margins))
        for group in group_cases(query):
            try:
                inputs = round_inward(group.inputs, query.integers)
            except EmptySet:
                continue
            slack = rounding_slack(margins, inputs, deadline)
            problem = Problem(compiled, replace(group, inputs=inputs), slack, query)
            outcome = search_group(problem, self.batch, confirmer, deadline, progress)
            if outcome != "verified":
                return _not_verified(outcome, progress, confirmer, deadline)
        margin = None if progress.unmeasured else progress.bound
        certificate = Certificate(
            "search/input", margin, ("float64 rounding",), leaves=progress.leaves
        )
        return Verified(certificate)


def _not_verified(
    outcome: Outcome, progress: Progress, confirmer: Confirmer, deadline: Deadline
) -> Falsified | Unknown:
    if confirmer.witness is not None:
        return Falsified(confirmer.witness)
    bound = progress.open_bound
    open_part = f"best bound {bound:.4g}; {progress.open_domains} domains open"
    if confirmer.suspected is not None:
        reason = f"suspected only: {confirmer.suspected.reason}; {open_part}"
        return Unknown(reason, bound, timeout=outcome == "timeout")
    if outcome == "timeout":
        advice = "raise the timeout, or try `milp` on small networks"
        return Unknown(f"{deadline.expiry}; {open_part}", bound, advice, True)
    if outcome == "jump":
        reason = f"the claim changes across a jump, where float64 rounding decides; {open_part}"
        return Unknown(reason, bound, "use `smt`, which places jumps exactly")
    reason = f"a box is too small to split in float64; {open_part}"
    return Unknown(reason, bound, "use `smt` or `milp`, which are exact there")

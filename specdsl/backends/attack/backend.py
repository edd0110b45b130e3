"""The `attack` backend: descents and random search on margins, every find confirmed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.attack.candidates import Candidate
from specdsl.backends.attack.objective import Objective, stacked
from specdsl.backends.attack.precision import in_dtype, search_dtype
from specdsl.backends.attack.rounds import Hunt, rounds
from specdsl.backends.prepared import Prepared
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import input_region
from specdsl.evidence import Replayer, Suspected
from specdsl.graph.graph import Graph
from specdsl.graph.outputs import only_entries
from specdsl.graph.rewrites import simplify
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Query
from specdsl.verdict import Answer, Falsified, Unknown, Verdict, Witness


@dataclass(frozen=True, slots=True)
class Attack:
    """Rounds of growing effort: the last has `restarts` starting points a case, `steps` of descent
    each, all pseudo-random by `seed`. A single restart goes from the middle of the set.
    `device`: of `bounds.devices`; what is found is judged on the host.
    """

    steps: int = 100
    restarts: int = 30
    seed: int = 0
    timeout: float | None = None
    device: str = "cpu"
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
        return self.decide(Prepared(query, self.device), deadline)

    def decide(self, prepared: Prepared, deadline: Deadline) -> Answer:
        """The same with what others have worked out already."""
        start = time.monotonic()
        self.capabilities.require(self.name, prepared.query)
        verdict = self._search(prepared, deadline)
        return Answer(verdict, "attack/pgd", time.monotonic() - start)

    def _search(self, prepared: Prepared, deadline: Deadline) -> Verdict:
        judge = _Judge(prepared, Replayer(prepared.query))
        try:
            hunts = list(_hunts(prepared, self.seed, deadline))
            for number, effort in enumerate(rounds(self.restarts, self.steps)):
                for hunt in hunts:
                    deadline.check()
                    for candidate in hunt.run(number, effort, deadline):
                        witness = judge.witness(candidate)
                        if witness is not None:
                            return Falsified(witness)
                        if judge.attempts >= MAX_CONFIRMATIONS:
                            break
        except OutOfTime:
            pass
        return self._nothing_found(judge.suspected, deadline)

    def _nothing_found(self, suspected: Suspected | None, deadline: Deadline) -> Unknown:
        if suspected is not None:
            return Unknown(f"suspected only: {suspected.reason}")
        if deadline.passed:
            return Unknown(f"{deadline.expiry} of attack", timeout=True)
        reason = f"no witness in {self.restarts} restarts a case; an attack proves nothing"
        return Unknown(reason, advice="use `portfolio`, which also tries to prove it")


# Every point has all margins of its graph, so that groups which read more than so many are attacked
# over graphs of their own.
MARGINS_TOGETHER = 512
# Exact confirmation costs up to seconds on large networks; near misses beyond this many in one
# attack are the same spot again.
MAX_CONFIRMATIONS = 50


@dataclass(slots=True)
class _Judge:
    """Judges candidates, in float64 first; remembers the last one that was suspected only."""

    prepared: Prepared
    replayer: Replayer
    suspected: Suspected | None = None
    attempts: int = 0

    def witness(self, candidate: Candidate) -> Witness | None:
        point = candidate.point.detach().cpu().double()
        if candidate.point.dtype != torch.float64 and not self._holds(point, candidate.case):
            return None
        self.attempts += 1
        outcome = self.replayer.confirm(point.numpy(), [candidate.case])
        if isinstance(outcome, Suspected):
            self.suspected = outcome
            return None
        return outcome

    def _holds(self, point: Tensor, case: int) -> bool:
        """Whether float64 sees what float32 saw: what is exact costs up to seconds."""
        with torch.no_grad():
            margins = evaluate(self.prepared.compiled, point[None])[0]
        atoms = self.prepared.query.cases[case].atoms
        return all(float(margins[atom.index]) <= 0 for atom in atoms)


def _hunts(prepared: Prepared, seed: int, deadline: Deadline) -> Iterator[Hunt]:
    """One for all boxes together, and one for all groups that are cut by the same balls; more where
    these read thousands of margins.
    """
    like = prepared.like
    alike: dict[object, list[CaseGroup]] = {}
    for group in prepared.groups:
        deadline.check()
        inputs = group.inputs
        balls = tuple(ball.key() for ball in inputs.balls)
        if not balls or not bool(input_region(inputs, like).is_empty.any()):
            alike.setdefault(balls, []).append(group)
    integers = torch.as_tensor(prepared.query.integers, device=like.device)
    for graph, groups in _apart(prepared, list(alike.values())):
        deadline.check()
        region = stacked([group.inputs for group in groups], like)
        dtype = search_dtype(graph, [region])
        compiled = compile_graph(graph, like.to(dtype))
        yield Hunt.of(Objective.of(compiled, groups, in_dtype(region, dtype), integers), seed)


def _apart(
    prepared: Prepared, alike: Sequence[Sequence[CaseGroup]]
) -> Iterator[tuple[Graph, Sequence[CaseGroup]]]:
    """Groups to attack together, with the margins that they count into, simplified."""
    margins = prepared.margins
    if margins.size(margins.output) <= MARGINS_TOGETHER:
        yield from ((prepared.simplified, groups) for groups in alike)
        return
    for groups in alike:
        start = 0
        while start < len(groups):
            end, read = start, 0
            while end < len(groups) and (end == start or read <= MARGINS_TOGETHER):
                read += len(groups[end].rows)
                end += 1
            rows = np.unique(np.concatenate([group.rows for group in groups[start:end]]))
            own = [replace(g, rows=np.searchsorted(rows, g.rows)) for g in groups[start:end]]
            yield simplify(only_entries(margins, rows)), own
            start = end

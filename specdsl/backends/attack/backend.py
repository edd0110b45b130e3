"""The `attack` backend: descents and random search on margins, every find confirmed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.attack.candidates import Candidate
from specdsl.backends.attack.objective import Objective, stacked
from specdsl.backends.attack.precision import in_dtype, search_dtype
from specdsl.backends.attack.rounds import Hunt, rounds
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import input_region
from specdsl.encoding.integers import round_inward
from specdsl.evidence import Replayer, Suspected
from specdsl.graph.graph import Graph
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet, InputSet
from specdsl.verdict import Answer, Falsified, Unknown, Verdict, Witness


@dataclass(frozen=True, slots=True)
class Attack:
    """Rounds of growing effort: the last has `restarts` starting points a case, `steps` of descent
    each, all pseudo-random by `seed`. A single restart goes from the middle of the set.
    """

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
        graph = simplify(restate(query.graph).graph)
        judge = _Judge(query, Replayer(query), graph)
        try:
            hunts = list(_hunts(graph, query, self.seed, deadline))
            for number, effort in enumerate(rounds(self.restarts, self.steps)):
                for hunt in hunts:
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


# Exact confirmation costs up to seconds on large networks; near misses beyond this many in one
# attack are the same spot again.
MAX_CONFIRMATIONS = 50


@dataclass(slots=True)
class _Judge:
    """Judges candidates, in float64 first; remembers the last one that was suspected only."""

    query: Query
    replayer: Replayer
    graph: Graph
    precise: CompiledGraph | None = None
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
        if self.precise is None:
            self.precise = compile_graph(self.graph)
        with torch.no_grad():
            margins = evaluate(self.precise, point[None])[0]
        return all(float(margins[atom.index]) <= 0 for atom in self.query.cases[case].atoms)


def _hunts(graph: Graph, query: Query, seed: int, deadline: Deadline) -> Iterator[Hunt]:
    """One for all boxes together, and one for all groups that are cut by the same balls."""
    like = torch.empty(0, dtype=torch.float64)
    alike: dict[object, tuple[list[CaseGroup], list[InputSet]]] = {}
    for group in group_cases(query):
        deadline.check()
        try:
            inputs = round_inward(group.inputs, query.integers)
        except EmptySet:
            continue
        balls = tuple(ball.key() for ball in inputs.balls)
        if not balls or not bool(input_region(inputs, like).is_empty.any()):
            groups, sets = alike.setdefault(balls, ([], []))
            groups.append(group)
            sets.append(inputs)
    joined = [(groups, stacked(sets, like)) for groups, sets in alike.values()]
    dtype = search_dtype(graph, [region for _, region in joined])
    compiled = compile_graph(graph, like.to(dtype))
    integers = torch.as_tensor(query.integers)
    for groups, region in joined:
        yield Hunt.of(Objective.of(compiled, groups, in_dtype(region, dtype), integers), seed)

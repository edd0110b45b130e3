"""The `search` backend: branch and bound over inputs, over inner values, or over both in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from specdsl.backend import Capabilities, Deadline, OutOfTime, Unsupported
from specdsl.backends.prepared import Prepared
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.inputs.bounding import FEW_NEURONS
from specdsl.backends.search.inputs.search import search_inputs
from specdsl.backends.search.many_boxes import search_many
from specdsl.backends.search.neurons.search import search_neurons
from specdsl.backends.search.options import SearchOptions
from specdsl.backends.search.problem import Outcome, Problem, Progress, Searching
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.many_boxes import MANY_SETS
from specdsl.bounds.passes.affordable import count_coarse, describe_coarse
from specdsl.certificates.recording import BoxProof
from specdsl.evidence import Replayer
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Query
from specdsl.query.sets import InputSet
from specdsl.verdict import (
    Answer,
    CaseProof,
    Certificate,
    Falsified,
    Unknown,
    Verdict,
    Verified,
)

Way = Literal["input", "neuron"]

# Inputs that vary: up to so many boxes alone are cut, beyond so many inner values alone; between
# the two, both take turns. Cutting 12 inputs once makes 4,096 boxes, some tens of batches.
INPUTS_ALONE, INPUTS_AT_ALL = 12, 32
# Where both take turns on a graph of few neurons, batches of boxes to one of inner values, which
# takes about as long (safenlp: 10 ms for 512 boxes, 170 for 256 parts). On larger ones a batch of
# boxes is as dear as one of parts, and sixteen took the time from cifar_biasfield's neurons.
BATCHES_OF_BOXES = 16
STEEP = "jumps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(SearchOptions):
    """Deterministic: nothing is drawn at random. `device`: of `bounds.devices`. `above`: what
    margins are to be above, for a proof that allows for the rounding of another arithmetic.
    """

    above: float = 0.0
    timeout: float | None = None
    device: str = "cpu"
    name: ClassVar[str] = "search"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=True,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def splits_inputs_alone(self, query: Query) -> bool:
        """Whether `auto` means boxes of inputs and nothing else, going by their number."""
        sets = {id(case.inputs): case.inputs for case in query.cases}
        return max((_varying(s) for s in sets.values()), default=0) <= INPUTS_ALONE

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified, Falsified with a confirmed witness, or Unknown with what is left open."""
        return self.decide(Prepared(query, self.device), deadline)

    def decide(self, prepared: Prepared, deadline: Deadline) -> Answer:
        """The same with what others have worked out already."""
        start = time.monotonic()
        query = prepared.query
        self.capabilities.require(self.name, query)
        run = _Run(self, prepared, Confirmer(Replayer(query)), deadline)
        verdict = run.verdict()
        statistics = {"domains": float(run.domains), "leaves": float(run.leaves)}
        statistics |= count_coarse(run.coarse)
        if run.unraised:
            statistics["unraised_neurons"] = float(sum(run.unraised.values()))
        return Answer(verdict, f"search/{run.way}", time.monotonic() - start, statistics)


@dataclass(slots=True, eq=False)
class _Run:
    """`way`: the one that decided the last group, or the first of those that did not. `domains`,
    `leaves`, `bound`, `unmeasured`: as of Progress, of all groups; `coarse`, `unraised`: of the
    last group that had any.
    """

    options: Search
    prepared: Prepared
    confirmer: Confirmer
    deadline: Deadline
    way: Way = "input"
    domains: int = 0
    leaves: int = 0
    bound: float = float("inf")
    unmeasured: bool = False
    proofs: list[CaseProof] = field(default_factory=list[CaseProof])
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    unraised: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])

    def verdict(self) -> Verdict:
        prepared = self.prepared
        groups: Sequence[CaseGroup] = prepared.groups
        if self._splits_together(groups):
            found = self._many()
            if isinstance(found, Falsified | Unknown):
                return found
            groups = found
        for group in groups:
            ways = self._ways(prepared.compiled, group.inputs)
            self.way = ways[0]
            progress: dict[Way, Progress] = {way: Progress() for way in ways}
            try:
                slack = prepared.slack(group, self.deadline) + self.options.above
                problem = Problem(prepared, group, slack, self.options)
                outcome = self._in_turns({w: self._search(w, problem, progress[w]) for w in ways})
                if outcome == "verified" and self.way == "input":
                    self.proofs.append(BoxProof(group.members, problem.record.tree()))
                neurons = progress[self.way].neurons
                if outcome == "verified" and neurons is not None:
                    self.proofs.append(neurons)
            except OutOfTime:
                outcome = "timeout"
            self._count(progress)
            if outcome != "verified":
                return self._not_verified(outcome, progress)
        margin = None if self.unmeasured else self.bound
        certificate = Certificate(
            f"search/{self.way}",
            margin,
            ("float64 rounding",),
            leaves=self.leaves,
            above_rounding=True,
            proofs=tuple(self.proofs),
        )
        return Verified(certificate)

    def _splits_together(self, groups: Sequence[CaseGroup]) -> bool:
        """Whether parts of many boxes are bounded at a time before any box is searched alone."""
        return (
            self.options.split != "neuron"
            and not self.prepared.query.integers.size
            and len(groups) >= MANY_SETS
        )

    def _many(self) -> tuple[CaseGroup, ...] | Falsified | Unknown:
        """The groups left open after all were split together, or what ends the search."""
        progress: dict[Way, Progress] = {"input": Progress()}
        try:
            left = search_many(self.prepared, self.confirmer, self.deadline, progress["input"])
        except OutOfTime:
            self._count(progress)
            return self._not_verified("timeout", progress)
        self._count(progress)
        return self._not_verified("falsified", progress) if left is None else left

    def _ways(self, compiled: CompiledGraph, inputs: InputSet) -> tuple[Way, ...]:
        """What to split, the more promising first."""
        if self.options.split != "auto":
            if self.options.split == "neuron" and _has_steps(compiled):
                raise Unsupported("search(split = neuron)", STEEP, "use `search(split = input)`")
            return (self.options.split,)
        varying = _varying(inputs)
        inside = compiled.sources - {compiled.graph.input}
        # On both sides of a jump its value is open: parts say nothing of it.
        if varying <= INPUTS_ALONE or not inside or _has_steps(compiled):
            return ("input",)
        return ("neuron",) if varying > INPUTS_AT_ALL else ("neuron", "input")

    def _search(self, way: Way, problem: Problem, progress: Progress) -> Searching:
        if way == "neuron":
            return search_neurons(problem, self.confirmer, self.deadline, progress)
        return search_inputs(problem, self.confirmer, self.deadline, progress)

    def _in_turns(self, searches: Mapping[Way, Searching]) -> Outcome:
        """Some batches of each in turns, until one decides or none can go on."""
        going = dict(searches)
        outcome: Outcome = "exhausted"
        compiled = self.prepared.compiled
        neurons = sum(compiled.graph.size(node) for node in compiled.rules)
        boxes = BATCHES_OF_BOXES if neurons <= FEW_NEURONS else 1
        while going:
            for way, search in list(going.items()):
                try:
                    for _ in range(boxes if way == "input" else 1):
                        next(search)
                except StopIteration as stopped:
                    outcome = stopped.value
                    if outcome in {"verified", "falsified", "timeout"}:
                        self.way = way
                        return outcome
                    del going[way]
        return outcome

    def _count(self, progress: Mapping[Way, Progress]) -> None:
        for each in progress.values():
            self.domains += each.domains
            self.coarse = each.coarse or self.coarse
            self.unraised = each.unraised or self.unraised
        decided = progress[self.way]
        self.leaves += decided.leaves
        self.bound = min(self.bound, decided.bound)
        self.unmeasured |= decided.unmeasured

    def _not_verified(
        self, outcome: Outcome, progress: Mapping[Way, Progress]
    ) -> Falsified | Unknown:
        if self.confirmer.witness is not None:
            return Falsified(self.confirmer.witness)
        best = max(progress.values(), key=lambda each: each.open_bound)
        bound = best.open_bound
        open_part = f"best bound {bound:.4g}; {best.open_domains} domains open"
        if self.coarse:
            open_part += f"; {describe_coarse(self.coarse)}"
        if self.confirmer.suspected is not None:
            reason = f"suspected only: {self.confirmer.suspected.reason}; {open_part}"
            return Unknown(reason, bound, timeout=outcome == "timeout")
        if outcome == "timeout":
            advice = "raise the timeout, or try `milp` on small networks"
            return Unknown(f"{self.deadline.expiry}; {open_part}", bound, advice, True)
        if outcome == "jump":
            reason = f"the claim changes across a jump, where float64 rounding decides; {open_part}"
            return Unknown(reason, bound, "use `smt`, which places jumps exactly")
        if self.way == "neuron":
            reason = f"nothing inside is left to split; {open_part}"
            return Unknown(reason, bound, "use `milp`, or `search(split = input)`")
        reason = f"a box is too small to split in float64; {open_part}"
        return Unknown(reason, bound, "use `smt` or `milp`, which are exact there")


def _varying(inputs: InputSet) -> int:
    """How many entries are not fixed."""
    return int((inputs.box.lower < inputs.box.upper).sum())


def _has_steps(compiled: CompiledGraph) -> bool:
    return any(isinstance(op, ops.Step) for _, op, _ in compiled.graph)

"""The `search` backend: branch and bound over inputs, over inner values, or over both in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

from specdsl.backend import Capabilities, Deadline, OutOfTime, Unsupported
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.inputs.search import search_inputs
from specdsl.backends.search.neurons.search import search_neurons
from specdsl.backends.search.problem import Outcome, Problem, Progress, Searching
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.passes.affordable import count_coarse, describe_coarse
from specdsl.bounds.rounding import rounding_slack
from specdsl.encoding.integers import round_inward
from specdsl.evidence import Replayer
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet, InputSet
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified

Way = Literal["input", "neuron"]
Split = Literal["auto", "input", "neuron"]

# Inputs that vary: up to so many boxes alone are cut, beyond so many inner values alone; between
# the two, both take turns. Cutting 12 inputs once makes 4,096 boxes, some tens of batches.
INPUTS_ALONE, INPUTS_AT_ALL = 12, 32
STEEP = "jumps and functions that are infinitely steep"


@dataclass(frozen=True, slots=True)
class Search:
    """`split`: what to split, decided by the number of inputs that vary where it is `auto`;
    ValueError for anything else. `batch`: boxes of inputs bounded at once.

    Deterministic: nothing is drawn at random, `seed` is there for the rules that will.
    """

    split: Split = "auto"
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

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            listed = ", ".join(get_args(Split))
            raise ValueError(f"`{self.split}` is nothing that can be split; there are {listed}")

    def splits_inputs_alone(self, query: Query) -> bool:
        """Whether `auto` means boxes of inputs and nothing else, going by their number."""
        sets = {id(case.inputs): case.inputs for case in query.cases}
        return max((_varying(s) for s in sets.values()), default=0) <= INPUTS_ALONE

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified, Falsified with a confirmed witness, or Unknown with what is left open."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        run = _Run(self, query, Confirmer(Replayer(query)), deadline)
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
    query: Query
    confirmer: Confirmer
    deadline: Deadline
    way: Way = "input"
    domains: int = 0
    leaves: int = 0
    bound: float = float("inf")
    unmeasured: bool = False
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    unraised: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])

    def verdict(self) -> Verdict:
        # Only the signs of margins matter: the slack must be that of the margins searched.
        margins = restate(self.query.graph).graph
        compiled = compile_graph(simplify(margins))
        for group in group_cases(self.query):
            try:
                inputs = round_inward(group.inputs, self.query.integers)
            except EmptySet:
                continue
            ways = self._ways(compiled, inputs)
            self.way = ways[0]
            progress: dict[Way, Progress] = {way: Progress() for way in ways}
            try:
                slack = rounding_slack(margins, inputs, self.deadline)
                problem = Problem(compiled, replace(group, inputs=inputs), slack, self.query)
                outcome = self._in_turns({w: self._search(w, problem, progress[w]) for w in ways})
            except OutOfTime:
                outcome = "timeout"
            self._count(progress)
            if outcome != "verified":
                return self._not_verified(outcome, progress)
        margin = None if self.unmeasured else self.bound
        trusted = ("float64 rounding",)
        return Verified(Certificate(f"search/{self.way}", margin, trusted, leaves=self.leaves))

    def _ways(self, compiled: CompiledGraph, inputs: InputSet) -> tuple[Way, ...]:
        """What to split, the more promising first."""
        if self.options.split != "auto":
            if self.options.split == "neuron" and compiled.outward is not None:
                raise Unsupported("search(split = neuron)", STEEP, "use `search(split = input)`")
            return (self.options.split,)
        varying = _varying(inputs)
        inside = any(
            isinstance(op, ops.PiecewiseLinear | ops.Smooth) for _, op, _ in compiled.graph
        )
        # Rounding at every node is not followed along constraints on inner values.
        if varying <= INPUTS_ALONE or not inside or compiled.outward is not None:
            return ("input",)
        return ("neuron",) if varying > INPUTS_AT_ALL else ("neuron", "input")

    def _search(self, way: Way, problem: Problem, progress: Progress) -> Searching:
        if way == "neuron":
            return search_neurons(problem, self.confirmer, self.deadline, progress)
        batch = self.options.batch
        return search_inputs(problem, batch, self.confirmer, self.deadline, progress)

    def _in_turns(self, searches: Mapping[Way, Searching]) -> Outcome:
        """A batch of each in turns, until one decides or none can go on."""
        going = dict(searches)
        outcome: Outcome = "exhausted"
        while going:
            for way, search in list(going.items()):
                try:
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

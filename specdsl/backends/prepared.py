"""What several methods need of one query: worked out when it is first asked for, and then kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.analysis import unstable_count
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.devices import like_on
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.crown import Propagated
from specdsl.bounds.regions.region import input_region
from specdsl.bounds.rounding import rounding_slack
from specdsl.encoding.integers import round_inward
from specdsl.graph.graph import Graph
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet


class Prepared:
    """One query for methods that compute in floats; stages of a portfolio share it.

    `device`: one of `bounds.devices`.
    """

    def __init__(self, query: Query, device: str = "cpu") -> None:
        self.query = query
        self.device = device
        self._slacks: dict[int, float] = {}
        self._crown: Propagated | None = None

    @cached_property
    def margins(self) -> Graph:
        """The semantic reference, restated: what rounding is measured on."""
        return restate(self.query.graph).graph

    @cached_property
    def simplified(self) -> Graph:
        """What is computed. Only the signs of margins matter, to the slack of `margins`."""
        return simplify(self.margins)

    @cached_property
    def compiled(self) -> CompiledGraph:
        """The simplified graph in float64, where the device is to hold it."""
        return compile_graph(self.simplified, self.like)

    @cached_property
    def like(self) -> Tensor:
        """An empty tensor of the device."""
        return like_on(self.device, self.simplified)

    @cached_property
    def groups(self) -> tuple[CaseGroup, ...]:
        """Cases by their inputs, integers rounded inward; without those that have no input."""
        found: list[CaseGroup] = []
        for group in group_cases(self.query):
            try:
                inputs = round_inward(group.inputs, self.query.integers)
            except EmptySet:
                continue
            found.append(replace(group, inputs=inputs))
        return tuple(found)

    @property
    def empty_cases(self) -> set[int]:
        """Positions of the cases that have no input."""
        inhabited = {member for group in self.groups for member in group.members}
        return set(range(len(self.query.cases))) - inhabited

    def only(self, cases: Sequence[int]) -> Prepared:
        """For some cases of the query, with what is known of all."""
        query = replace(self.query, cases=tuple(self.query.cases[i] for i in cases))
        found = Prepared(query, self.device)
        found.margins, found.simplified, found.compiled = (
            self.margins,
            self.simplified,
            self.compiled,
        )
        if len(self.groups) == 1:
            found._crown = self._crown
        return found

    def slack(self, group: CaseGroup, deadline: Deadline) -> float:
        """The most that rounding may have added to a margin of a group. Raises OutOfTime."""
        key = group.members[0]
        if key not in self._slacks:
            self._slacks[key] = rounding_slack(self.margins, group.inputs, deadline)
        return self._slacks[key]

    def crown(self, group: CaseGroup, deadline: Deadline) -> Propagated:
        """CROWN's bounds on the inputs of a group, kept where there is no other. Raises OutOfTime,
        and as `propagate` does.
        """
        if self._crown is not None:
            return self._crown
        with torch.no_grad():
            region = input_region(group.inputs, self.compiled.like)
            found = crown_pass(self.compiled, region, deadline)
        if len(self.groups) == 1:
            self._crown = found
        return found

    def unstable(self, group: CaseGroup, deadline: Deadline = FOREVER) -> int:
        """How many entries that nonlinear ops read these bounds leave with more than one piece; an
        entry counts for every op that reads it. Raises as `crown` does.
        """
        return unstable_count(self.compiled, self.crown(group, deadline).bounds)

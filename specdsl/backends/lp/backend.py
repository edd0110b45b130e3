"""The `lp` backend: the relaxation of all nonlinear ops as one linear program a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specdsl.backend import Capabilities, Deadline
from specdsl.encoding.decide import LinearMethod, decide
from specdsl.query.query import Query
from specdsl.verdict import Answer


@dataclass(frozen=True, slots=True)
class Lp:
    """At least as tight as CROWN on the same bounds of pre-activations.

    A bound is computed from HiGHS's duals by our own arithmetic, so that Verified does not rest on
    the solver.
    """

    timeout: float | None = None
    name: ClassVar[str] = "lp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where the relaxation settles every case; Falsified where its minimiser happens
        to be a witness; else Unknown with the bound.
        """
        self.capabilities.require(self.name, query)
        method = LinearMethod(
            name="lp",
            relax=True,
            gap=0.0,
            trusted=("float64 rounding",),
            advice="use `milp`, which branches on what the relaxation leaves open, or `search`",
        )
        return decide(query, deadline, method)

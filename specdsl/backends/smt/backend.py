"""The `smt` backend: Z3 in exact arithmetic, one solver for the cases over one input set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.smt.cases import Cases
from specdsl.backends.smt.formula import encode_network
from specdsl.backends.smt.session import timeout
from specdsl.evidence import Replayer
from specdsl.evidence.replay import ELEMENTARY
from specdsl.graph import ops
from specdsl.query.groups import exact_groups
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness


@dataclass(frozen=True, slots=True)
class Smt:
    """Exact: strict atoms are strict, no tolerance anywhere. For small networks.

    Complete but for curves, which are enclosed: where that does not decide, the answer is Unknown.
    """

    timeout: float | None = None
    name: ClassVar[str] = "smt"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=True,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where Z3 refutes every case, Falsified with a confirmed exact point."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        verdict = _decide(query, deadline)
        return Answer(verdict, "smt/z3", time.monotonic() - start)


def _decide(query: Query, deadline: Deadline) -> Verdict:
    replayer = Replayer(query)
    unsettled: Unknown | None = None
    for members in exact_groups(query):
        try:
            formula = encode_network(query, members, deadline=deadline)
        except OutOfTime:
            return unsettled or timeout(deadline)
        cases = Cases(formula, replayer, deadline)
        for member in members:
            if deadline.passed:
                return unsettled or timeout(deadline)
            outcome = cases.settle(member)
            if isinstance(outcome, Witness):
                return Falsified(outcome)
            unsettled = unsettled or outcome
    if unsettled is not None:
        return unsettled
    curves = any(isinstance(op, ops.Smooth) for _, op, _ in query.graph)
    trusted = ("z3", ELEMENTARY) if curves else ("z3",)
    return Verified(Certificate("smt/z3", None, trusted, leaves=len(query.cases)))

"""The `sdp` backend: the linear relaxation, and all products between inputs and neurons as well.

Source: Raghunathan, Steinhardt and Liang 2018, arXiv:1811.01057.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from specdsl.backend import Capabilities, Deadline, require_one_of
from specdsl.encoding.cases import Bounds as ModelBounds
from specdsl.encoding.deciding.decide import ROUNDING, LinearMethod, decide
from specdsl.encoding.solvers.semidefinite import (
    CONIC_SOLVERS,
    ConicName,
    SdpSession,
    require_cvxpy,
)
from specdsl.query.query import Query
from specdsl.verdict import Answer

Bounds = Literal["crown", "alpha_crown", "all"]
_BOUNDS: dict[Bounds, ModelBounds] = {"crown": "crown", "alpha_crown": "alpha_crown", "all": "lp"}


@dataclass(frozen=True, slots=True)
class Sdp:
    """At least as tight as `lp` on the same bounds of neurons: it has its rows, and knows besides
    that a ReLU is `y (y - z) = 0`. What it lacks is that a product has one value.

    Inputs meet one another in no product, so that Clarabel takes the matrix apart into a small one
    for each input, with the unstable neurons of its layer; these should be some dozens.
    What it proves is computed from the multipliers that the solver proposes, with all rounding, so
    that Verified does not rest on it. Only a case that has no atoms gets a witness.

    `bounds`: of the neurons, as for `lp`. `solver`: `clarabel` is an interior-point method; `scs`
    takes one matrix of all, less accurately, which is for many neurons on few inputs.
    """

    timeout: float | None = None
    bounds: Bounds = "crown"
    solver: ConicName = "clarabel"
    name: ClassVar[str] = "sdp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def __post_init__(self) -> None:
        require_one_of(tuple(_BOUNDS), "bounds are", self.bounds)
        require_one_of(tuple(CONIC_SOLVERS), "solver is", self.solver)

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where the relaxation settles every case, else Unknown with the bound.

        Raises Unsupported where cvxpy is missing, before anything is computed.
        """
        self.capabilities.require(self.name, query)
        require_cvxpy()
        method = LinearMethod(
            name="sdp",
            relax=True,
            gap=0.0,
            trusted=(ROUNDING,),
            advice="use `milp` or `search`, which branch on what relaxations leave open",
            bounds=_BOUNDS[self.bounds],
            solver=self.solver,
            start=partial(SdpSession, solver=self.solver),
        )
        return decide(query, deadline, method)

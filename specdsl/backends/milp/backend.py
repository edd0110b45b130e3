"""The `milp` backend: every unstable neuron gets binaries, and HiGHS branches on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from specdsl.backend import Capabilities, Deadline, require_one_of
from specdsl.encoding.deciding.decide import ROUNDING, LinearMethod, decide
from specdsl.encoding.solvers.other_solvers import (
    OTHER_SOLVERS,
    OtherName,
    OtherSession,
    require_solver,
)
from specdsl.encoding.tightening.multi_neuron import require_multi_neuron
from specdsl.query.query import Query
from specdsl.verdict import Answer

SolverName = Literal["highs", OtherName]
Bounds = Literal["crown", "alpha_crown", "milp"]
_BOUNDS: tuple[Bounds, ...] = get_args(Bounds)
Asked = Literal["each", "together"]
_ASKED: tuple[Asked, ...] = get_args(Asked)
_SOLVERS: tuple[SolverName, ...] = ("highs", *OTHER_SOLVERS)


@dataclass(frozen=True, slots=True)
class Milp:
    """Complete up to the solver's tolerances: a least margin within them of 0 stays Unknown.

    Jumps are closed, so a claim that holds by which side of one counts may stay Unknown too. Curves
    and products are enclosed: where the least point of the model is none of the network, the answer
    is Unknown and says where they are farthest apart.

    `gap`: HiGHS may stop when its bound is within this part of the best point's margin; verdicts
    rest on the bound and on confirmed points alone, so a gap costs answers but never soundness.
    `bounds`: of the neurons. Tighter ones leave fewer binaries, and take longer; `milp` asks the
    solver for every neuron that CROWN leaves unstable (`encoding.tightening.refining`).
    `multi_neuron`: 2 or 3 adds rows of so many neurons of a layer (`encoding.tightening.hulls`).
    `cases`: one program for each, or one that chooses among those over an input set.
    `solver`: others are programs of their own that Pyomo starts; they take no gap.
    """

    timeout: float | None = None
    gap: float = 0.0
    bounds: Bounds = "crown"
    solver: SolverName = "highs"
    multi_neuron: int = 1
    cases: Asked = "each"
    name: ClassVar[str] = "milp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True, falsifies=True, complete=True, norms=frozenset({"l1", "l2"})
    )

    def __post_init__(self) -> None:
        if not 0 <= self.gap < 1:
            raise ValueError(f"the gap is a part from 0 to below 1, not {self.gap:g}")
        require_one_of(_BOUNDS, "bounds are", self.bounds)
        require_one_of(_SOLVERS, "solver is", self.solver)
        require_multi_neuron(self.multi_neuron)
        require_one_of(_ASKED, "cases are", self.cases)
        if self.gap > 0 and self.solver != "highs":
            raise ValueError(f"a gap is for HiGHS: {self.solver} goes on to the optimum")

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified by the solver's dual bound, Falsified by a confirmed minimiser, else Unknown."""
        self.capabilities.require(self.name, query)
        other = None if self.solver == "highs" else self.solver
        if other is not None:
            require_solver(other)
        method = self._method(other)
        return decide(query, deadline, method)

    def _method(self, other: OtherName | None) -> LinearMethod:
        method = LinearMethod(
            name="milp",
            relax=False,
            gap=self.gap,
            trusted=("highs", *(() if other is None else (other,)), ROUNDING),
            advice="raise the timeout, or use `search`; `smt` decides exact ties on small networks",
            bounds=self.bounds,
            multi_neuron=self.multi_neuron,
            joint=self.cases == "together",
        )
        if other is None:
            return method
        return replace(method, solver=other, start=lambda model, _: OtherSession(model, other))

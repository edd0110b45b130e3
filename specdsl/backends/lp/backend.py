"""The `lp` backend: the relaxation of all nonlinear ops as one linear program a case.

Source of the names: Salman et al. 2019, arXiv:1902.08722 (LP-All, LP-Last, LP-Greedy).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from specdsl.backend import Capabilities, Deadline, require_one_of
from specdsl.encoding.cases import Bounds as ModelBounds
from specdsl.encoding.deciding.decide import ROUNDING, LinearMethod, decide
from specdsl.encoding.tightening.multi_neuron import require_multi_neuron
from specdsl.query.query import Query
from specdsl.verdict import Answer

Bounds = Literal["greedy", "last", "crown", "alpha_crown", "all"]
_BOUNDS: dict[Bounds, ModelBounds] = {
    "greedy": "fast_lin",
    "last": "fast_lin",
    "crown": "crown",
    "alpha_crown": "alpha_crown",
    "all": "lp",
}


@dataclass(frozen=True, slots=True)
class Lp:
    """At least as tight as CROWN on the same bounds of pre-activations.

    A bound is computed from HiGHS's duals by our own arithmetic, so that Verified does not rest on
    the solver.

    `bounds`: of the neurons, which every program starts from. `all` is LP-All: a linear program for
    each end of every neuron that CROWN leaves unstable, layer by layer. `last` is LP-Last: Fast-Lin
    inside, programs for the margins alone. `greedy` is LP-Greedy: Fast-Lin everywhere, no program.

    `multi_neuron`: 2 or 3 adds rows of so many neurons of a layer (`encoding.tightening.hulls`).
    """

    timeout: float | None = None
    bounds: Bounds = "crown"
    multi_neuron: int = 1
    name: ClassVar[str] = "lp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=True,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def __post_init__(self) -> None:
        require_one_of(tuple(_BOUNDS), "bounds are", self.bounds)
        require_multi_neuron(self.multi_neuron)

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where the relaxation settles every case; Falsified where its minimiser happens
        to be a witness; else Unknown with the bound.
        """
        self.capabilities.require(self.name, query)
        method = LinearMethod(
            name="lp",
            relax=True,
            gap=0.0,
            trusted=(ROUNDING,),
            advice="use `milp`, which branches on what the relaxation leaves open, or `search`",
            bounds=_BOUNDS[self.bounds],
            programs=self.bounds != "greedy",
            multi_neuron=self.multi_neuron,
        )
        return decide(query, deadline, method)

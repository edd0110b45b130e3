"""The models of a query, one for each case; bounds and encoding are shared by equal input sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.analysis import GraphBounds, Method, graph_bounds
from specdsl.encoding.balls import OuterBall
from specdsl.encoding.enclosed import EnclosedNode
from specdsl.encoding.encode import EncodedGraph, encode_case, encode_graph
from specdsl.encoding.integers import round_inward
from specdsl.encoding.linear_model import LinearModel
from specdsl.encoding.refining import Refinement
from specdsl.graph.graph import NodeId
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet


@dataclass(frozen=True, slots=True, eq=False)
class CaseModel:
    """`model` is None for a case without atoms: it has a point where its inputs have one.

    `balls`: the l2 balls that `model` holds from outside; `enclosed`: the nodes that it does not
    state exactly. `empty`: the inputs have no point. `coarse`: the layers on looser bounds than
    CROWN's, and how many of their neurons were unstable.
    """

    case: int
    model: LinearModel | None
    balls: tuple[OuterBall, ...] = ()
    enclosed: tuple[EnclosedNode, ...] = ()
    empty: bool = False
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])


Bounds = Literal[Method, "lp", "milp"]
"""`lp`, `milp`: by CROWN, then by the solver, without branching or with it (`refining`)."""


def case_models(
    query: Query, method: Bounds = "crown", deadline: Deadline = FOREVER
) -> Iterator[CaseModel]:
    """Mixed-integer models of all cases on such bounds, in the order of their input sets.

    They are made one at a time, when asked for. Raises Unsupported (from the first step on) for an
    op or input set without a rule.
    """
    graph = simplify(restate(query.graph).graph)
    for group in group_cases(query):
        try:
            inputs = round_inward(group.inputs, query.integers)
        except EmptySet:
            yield from (CaseModel(member, None, empty=True) for member in group.members)
            continue
        relax = method == "lp"
        refinement = Refinement(graph, inputs, query.groups(), query.integers, relax)
        yield from _group_models(query, refinement, group, method, deadline)


def _group_models(
    query: Query, on: Refinement, group: CaseGroup, method: Bounds, deadline: Deadline
) -> Iterator[CaseModel]:
    found: GraphBounds | None = None
    encoded: EncodedGraph | None = None
    for member in group.members:
        atoms = query.cases[member].atoms
        if not atoms:
            yield CaseModel(member, None)
            continue
        if found is None or encoded is None:
            if method in ("lp", "milp"):
                found = on.refined(graph_bounds(on.graph, on.inputs), deadline)
            else:
                found = graph_bounds(on.graph, on.inputs, method)
            encoded = encode_graph(on.graph, on.inputs, found.bounds, on.variables, on.integers)
        model = encode_case(encoded, atoms, f"{query.name}_case_{member}")
        balls, enclosed, coarse = encoded.balls, encoded.enclosed, found.coarse
        yield CaseModel(member, model, balls, enclosed, coarse=coarse)

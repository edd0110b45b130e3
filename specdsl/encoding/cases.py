"""The models of a query: cases over the same input set share bounds and encoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.analysis import GraphBounds, Method, graph_bounds
from specdsl.encoding.encode import EncodedGraph, encode_case, encode_graph
from specdsl.encoding.integers import round_inward
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.tightening.multi_neuron import Pool, group_rows
from specdsl.encoding.tightening.refining import Refinement
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet, InputSet


@dataclass(frozen=True, slots=True, eq=False)
class EncodedGroup:
    """Cases over one input set: their positions in the query, and the network on that set.

    `encoded` is None where the set has no point (`empty`), or where no case has atoms. `coarse`:
    the layers on looser bounds than CROWN's, and how many of their neurons were unstable. `pool`:
    rows of several neurons, for models whose points break them.
    """

    members: tuple[int, ...]
    encoded: EncodedGraph | None = None
    empty: bool = False
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    pool: Pool = field(default_factory=Pool)


Bounds = Literal[Method, "lp", "milp"]
"""`lp`, `milp`: by CROWN, then by the solver, without branching or with it (`refining`)."""


def encoded_groups(
    query: Query, method: Bounds = "crown", deadline: Deadline = FOREVER, multi_neuron: int = 1
) -> Iterator[EncodedGroup]:
    """All cases on such bounds, by their input sets, encoded one at a time, when asked for; with
    rows of so many neurons of a layer (`encoding.tightening.multi_neuron`).

    Raises Unsupported (from the first step on) for an op or input set without a rule.
    """
    graph = simplify(restate(query.graph).graph)
    for group in group_cases(query):
        members = group.members
        try:
            inputs = round_inward(group.inputs, query.integers)
        except EmptySet:
            yield EncodedGroup(members, empty=True)
            continue
        if not any(query.cases[member].atoms for member in members):
            yield EncodedGroup(members)
            continue
        found = _bounds(query, graph, inputs, method, deadline)
        variables, integers = query.groups(), query.integers
        encoded = encode_graph(graph, inputs, found.bounds, variables, integers)
        pool = group_rows(encoded, multi_neuron, deadline) if multi_neuron > 1 else Pool()
        yield EncodedGroup(members, encoded, coarse=found.coarse, pool=pool)


def case_models(
    query: Query, method: Bounds = "crown", deadline: Deadline = FOREVER
) -> Iterator[tuple[int, LinearModel | None]]:
    """Every case and a mixed-integer model of its own.

    None for a case without atoms, which has a point where its inputs have one, and for one whose
    inputs have none. Raises Unsupported as `encoded_groups` does.
    """
    for group in encoded_groups(query, method, deadline):
        for member in group.members:
            atoms, name = query.cases[member].atoms, f"{query.name}_case_{member}"
            encoded = group.encoded if atoms else None
            yield member, None if encoded is None else encode_case(encoded, atoms, name)


def _bounds(
    query: Query, graph: Graph, inputs: InputSet, method: Bounds, deadline: Deadline
) -> GraphBounds:
    if method not in ("lp", "milp"):
        return graph_bounds(graph, inputs, method)
    on = Refinement(graph, inputs, query.groups(), query.integers, relax=method == "lp")
    return on.refined(graph_bounds(graph, inputs), deadline)

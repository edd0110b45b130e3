"""The models of a query, one for each case; bounds and encoding are shared by equal input sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specdsl.bounds import pre_activation_bounds
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.linear_model import LinearModel
from specdsl.graph.rewrites import simplify
from specdsl.query.groups import group_cases
from specdsl.query.query import Query


@dataclass(frozen=True, slots=True, eq=False)
class CaseModel:
    """`model` is None for a case without atoms: it has a point where its inputs have one."""

    case: int
    model: LinearModel | None


def case_models(query: Query) -> Iterator[CaseModel]:
    """Mixed-integer models of all cases on CROWN bounds, in the order of their input sets.

    They are made one at a time, when asked for. Raises Unsupported (from the first step on) for an
    op or input set without a rule.
    """
    graph = simplify(query.graph)
    for group in group_cases(query):
        encoded = None
        for member in group.members:
            atoms = query.cases[member].atoms
            if not atoms:
                yield CaseModel(member, None)
                continue
            if encoded is None:
                bounds = pre_activation_bounds(graph, group.inputs)
                encoded = encode_graph(graph, group.inputs, bounds, query.variables)
            yield CaseModel(member, encode_case(encoded, atoms, f"{query.name}_case_{member}"))

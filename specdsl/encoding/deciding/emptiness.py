"""Proving that a model has no point, without taking the solver's word for it.

The least `violation` that every side of every row must give way by is a linear program with points,
and a lower bound on it above what rounding hides, proven like any other bound, says that the model
has none. A model is made of floats: bounds that rounding moved may exclude each other where the
network has values all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from specdsl.backend import Deadline
from specdsl.bounds.rounding import largest_slack
from specdsl.encoding.model.linear_model import Block, LinearModel, SparseTerms
from specdsl.encoding.solvers.highs import solve
from specdsl.graph.graph import Graph
from specdsl.query.sets import InputSet

# What rounding added to a row's own numbers, to the bounds of the columns that it adds up, and as
# much again, so that the last steps here do not matter.
ROUNDED_NUMBERS = 4.0


def hidden_by_rounding(graphs: Iterable[Graph], inputs: InputSet) -> float:
    """How far rows of a model of some graph may be off, which went through the others.

    Every row is about values of one node, and gives way by what rounding may have added to them.
    """
    return ROUNDED_NUMBERS * max(largest_slack(graph, inputs) for graph in graphs)


def proven_empty(model: LinearModel, deadline: Deadline, hidden: float) -> bool:
    """Whether every point breaks some row by more than `hidden`: of the relaxation if that is
    enough.
    """
    elastic = _elastic(model)
    if solve(elastic.relaxed(), deadline).bound > hidden:
        return True
    return bool(model.binaries) and solve(elastic, deadline).bound > hidden


def _elastic(model: LinearModel) -> LinearModel:
    """Minimise v where `A x + v >= row_lower` and `A x - v <= row_upper`."""
    below = np.flatnonzero(np.isfinite(model.row_lower))
    above = np.flatnonzero(np.isfinite(model.row_upper))
    position = np.full(model.rows, -1, dtype=np.int64)
    parts: list[SparseTerms] = []
    for start, kept in ((0, below), (below.size, above)):
        position[:] = -1
        position[kept] = start + np.arange(kept.size)
        used = position[model.terms.rows] >= 0
        terms = model.terms
        parts.append(
            SparseTerms(position[terms.rows[used]], terms.columns[used], terms.coefficients[used])
        )
    count, violation = below.size + above.size, model.columns
    signs = np.concatenate([np.ones(below.size), -np.ones(above.size)])
    indices = np.arange(count, dtype=np.int64)
    terms = SparseTerms.of(
        np.concatenate([parts[0].rows, parts[1].rows, indices]),
        np.concatenate([parts[0].columns, parts[1].columns, np.full(count, violation)]),
        np.concatenate([parts[0].coefficients, parts[1].coefficients, signs]),
    )
    free = np.full(count, np.inf)
    lower, upper = -free, free.copy()
    lower[: below.size], upper[below.size :] = model.row_lower[below], model.row_upper[above]
    cost = np.zeros(violation + 1)
    cost[violation] = 1.0
    one = np.zeros(1, dtype=np.int64)
    return replace(
        model,
        terms=terms,
        row_lower=lower,
        row_upper=upper,
        lower=np.append(model.lower, 0.0),
        upper=np.append(model.upper, _largest_violation(model)),
        integer=np.append(model.integer, False),
        cost=cost,
        column_blocks=(*model.column_blocks, Block("violation_of_rows", violation, one)),
        row_blocks=(Block("elastic", 0, indices),),
    )


def _largest_violation(model: LinearModel) -> float:
    """No point within the column bounds breaks a row by more."""
    farthest = np.maximum(np.abs(model.lower), np.abs(model.upper))
    activity = model.terms.magnitude().times(farthest, model.rows)
    sides = [np.where(np.isfinite(s), np.abs(s), 0.0) for s in (model.row_lower, model.row_upper)]
    return 1.0 + float((activity + np.maximum(*sides)).max(initial=0.0))

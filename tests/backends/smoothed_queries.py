"""Questions about smoothed linear classifiers, whose answers are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, NetworkCall, Query, Smoothing, Variable
from specdsl.query.sets import Norm, exact, norm_ball


def linear_query(
    weight: Sequence[Sequence[float]],
    bias: Sequence[float],
    center: Sequence[float],
    radius: Fraction,
    *,
    sigma: Fraction | None = None,
    norm: Norm = "l2",
) -> Query:
    """Does `weight @ x + bias` have its strictly largest entry in the first place, all over a ball?

    Smoothed by `sigma` where one is given.
    """
    rows = np.array(weight)
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, len(center))), name="x")
    network = builder.build(builder.add(ops.Dense(rows, np.array(bias)), x))
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, len(center))), name="x")
    scores = builder.splice(network, {network.input: x})[network.output]
    others = len(rows) - 1
    margins = np.hstack([np.ones((others, 1)), -np.eye(others)])
    flat = builder.add(ops.Reshape((len(rows),)), scores)
    graph = builder.build(builder.add(ops.Dense(margins, np.zeros(others)), flat))
    inputs = norm_ball(exact(center), radius, norm)
    query = Query(
        name="first",
        graph=graph,
        cases=tuple(Case(inputs, (Atom(i),)) for i in range(others)),
        variables=(Variable.at("x", 0, (len(center),)),),
        calls=(NetworkCall("f", export(network), (x,), (scores,)),),
    )
    return query if sigma is None else replace(query, smoothing=Smoothing(sigma))

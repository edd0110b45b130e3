"""Queries about small networks, which a search over neurons splits."""

from __future__ import annotations

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact


def query_of(seed: int, activation: ops.Op, inputs: int = 6) -> Query:
    """Two cases about a network of two hidden layers on a box, some of which hold."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((inputs,)), name="x")
    for width in (12, 12):
        weight = random.normal(size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Dense(weight, random.normal(size=width)), node)
        node = builder.add(activation, node)
    weight = random.normal(size=(3, 12)) / 2
    shift = np.full(3, 6.0 + 2 * random.random())
    graph = builder.build(builder.add(ops.Dense(weight, shift), node))
    box = Box(exact(np.full(inputs, -0.5)), exact(np.full(inputs, 0.5)))
    cases = (Case(box, (Atom(0), Atom(2))), Case(box, (Atom(1),)))
    return Query("q", graph, cases, (Variable.at("x", 0, (inputs,)),), ())


def small_network() -> Query:
    """One that holds, of two inputs."""
    return query_of(7, ops.Relu(), 2)

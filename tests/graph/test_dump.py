"""Texts of graphs: stable, complete, and readable."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings

from specdsl.graph import ops
from specdsl.graph.dot import to_dot
from specdsl.graph.dump import describe, dump
from specdsl.graph.graph import Graph, GraphBuilder
from tests.conftest import Golden
from tests.graph.random_graphs import graphs


def example() -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2, 4, 4)), name="x")
    third = np.array(Fraction(1, 3), dtype=object)
    scaled = builder.add(ops.Scale(third, np.array(-0.5)), x, name="normalised")
    conv = ops.Conv(
        np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2) / 8,
        np.array([0.25, -1.0]),
        (2, 1),
        ((0, 1), (1, 1)),
        (1, 1),
    )
    hidden = builder.add(conv, scaled, name="conv")
    ones = np.ones(2, np.float32)
    normal = builder.add(ops.BatchNorm(ones, ones, ones, ones, 0.0), hidden, name='quoted "name"')
    active = builder.add(ops.Relu(), normal, name="relu")
    leaky = builder.add(ops.LeakyRelu(0.1), normal)
    total = builder.add(ops.Sum((1.0, -2.0)), active, leaky)
    turned = builder.add(ops.Transpose((0, 2, 3, 1)), total)
    flat = builder.add(ops.Reshape((1, 20)), turned)
    picked = builder.add(ops.Select(np.array([[0, 3, 5]])), flat)
    constant = builder.add(ops.Constant(np.array([[1.5]])))
    joined = builder.add(ops.Concat(1), picked, constant)
    clipped = builder.add(ops.Clip(-1.0, 6.0), joined)
    return builder.build(builder.add(ops.Dense(np.eye(4), np.zeros(4)), clipped, name="y"))


def test_the_dump_of_every_op(golden: Golden) -> None:
    golden.check("graph/every_op.txt", dump(example()))


def test_the_picture_of_every_op(golden: Golden) -> None:
    golden.check("graph/every_op.dot", to_dot(example(), "example"))


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_every_node_has_one_line_and_one_box(graph: Graph) -> None:
    lines = dump(graph).splitlines()
    assert len(lines) == len(graph) + 1
    assert all(line.startswith(f"{n}: [") for n, line in zip(graph.order, lines, strict=False))
    assert to_dot(graph).count("label=") >= len(graph)


def test_weights_that_differ_are_described_differently() -> None:
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    second[2, 2] = 2.0**-60
    described = [describe(ops.Dense(w, np.zeros(4))) for w in (first, second)]
    assert described[0] != described[1]

"""Random queries over everything an input set can be: balls of both norms, weighted, several at
once, on some of the entries; whole-number inputs; products.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from hypothesis import assume
from hypothesis import strategies as st

from specdsl.encoding.integers import round_inward
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Nonlinear, Query
from specdsl.query.sets import Ball, Box, EmptySet, IndexArray, InputSet, cut, exact
from tests.strategies import CLEARANCES, generators, margin_query, random_weights

FloatArray = npt.NDArray[np.float64]

SAMPLES = 300


@st.composite
def set_networks(draw: st.DrawFn, products: bool) -> Graph:
    """`(1, n) -> (1, m)`: a dense layer, relu or abs or a product, a dense layer."""
    rng = draw(generators())
    builder = GraphBuilder()
    inputs, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x = builder.add(ops.Input((1, inputs)), name="x")

    def dense(node: str, rows: int) -> str:
        weight = random_weights(rng, (rows, builder.shape(node)[-1]))
        return builder.add(ops.Dense(weight, random_weights(rng, (rows,), 0.5)), node)

    node = builder.add(draw(st.sampled_from((ops.Relu(), ops.Abs()))), dense(x, width))
    if products and draw(st.booleans()):
        node = builder.add(ops.Multiply(), node, dense(x, width))
    elif products:
        node = builder.add(ops.Sum((1.0, 0.5)), node, builder.add(ops.Square(), dense(x, width)))
    return builder.build(dense(node, draw(st.integers(1, 2))))


@st.composite
def some_balls(draw: st.DrawFn, size: int, around: FloatArray) -> tuple[Ball, ...]:
    """At most two balls with something in common most of the time."""
    rng = draw(generators())
    found: list[Ball] = []
    for _ in range(draw(st.integers(0, 2))):
        positions = np.sort(rng.choice(size, size=draw(st.integers(1, size)), replace=False))
        weighted = draw(st.booleans())
        scale = [Fraction(int(rng.integers(1, 8)), 3) if weighted else 1 for _ in positions]
        moved = around[positions] + np.round(rng.uniform(-0.25, 0.25, positions.size) * 16) / 16
        radius = Fraction(int(rng.integers(1, 9)), 5)
        norm = draw(st.sampled_from(("l1", "l2")))
        found.append(
            Ball(positions.astype(np.int64), exact(moved), exact(scale), radius, norm)  # type: ignore[arg-type]
        )
    return tuple(found)


@st.composite
def input_sets(draw: st.DrawFn, size: int) -> InputSet:
    """A box with ends in sixteenths, cut by at most two balls."""
    rng = draw(generators())
    center = np.round(rng.uniform(-1, 1, size) * 16) / 16
    radius = draw(st.sampled_from((0.5, 1.0, 1.5)))
    box = Box(exact(center - radius), exact(center + radius))
    balls = draw(some_balls(size, center))
    try:
        return cut(box, balls)
    except EmptySet:
        return box


@st.composite
def set_queries(draw: st.DrawFn, products: bool = False) -> Query:
    """One case of one or two atoms; the least value sampled is one of CLEARANCES."""
    network = draw(set_networks(products))
    size, count = network.size(network.input), network.size(network.output)
    inputs = draw(input_sets(size))
    chosen = draw(st.sets(st.integers(0, size - 1))) if draw(st.booleans()) else set[int]()
    integers = np.array(sorted(chosen), dtype=np.int64)
    weight = np.eye(count, dtype=np.float32)
    atoms = tuple(Atom(i, draw(st.booleans())) for i in range(count))
    points = sample_set(inputs, integers)
    assume(len(points) > 0)
    shaped = points.reshape(-1, *network.shapes[network.input])
    outputs = evaluate(network, {network.input: shaped}, [network.output])[network.output]
    least = float(outputs.reshape(len(points), -1).max(axis=1).min())
    # Samples miss more of the depth of a curved function: more clearance for as many proofs.
    clearances = (2.0, *reversed(CLEARANCES)) if products else CLEARANCES
    shift = np.round((draw(st.sampled_from(clearances)) - least) * 256) / 256
    bias = np.full(count, shift, dtype=np.float32)
    made = margin_query(network, inputs, weight, bias, (atoms,))
    places = (Nonlinear("a product", None),) if products else ()
    return replace(made, integers=integers, nonlinear=places)


def sample_set(inputs: InputSet, integers: IndexArray, count: int = SAMPLES) -> FloatArray:
    """Points exactly in the set, whole where they must be; none where none was found."""
    try:
        box = round_inward(inputs, integers).box
    except EmptySet:
        return np.zeros((0, inputs.size))
    rng = np.random.default_rng(0)
    lower, upper = box.float_bounds()
    anchor = (lower + upper) / 2
    for ball in inputs.balls:
        anchor[ball.positions] = ball.center.astype(np.float64)
    share = rng.uniform(size=(count, 1)) if inputs.balls else np.ones((count, 1))
    points = anchor + share * (
        lower + rng.uniform(size=(count, inputs.size)) * (upper - lower) - anchor
    )
    points[:, integers] = np.round(points[:, integers])
    return np.array([p for p in points if exact(p) in inputs and exact(p) in box]).reshape(
        -1, inputs.size
    )

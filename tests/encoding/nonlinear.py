"""What the tests of encoded nonlinear ops share: small graphs, their models and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from hypothesis import settings

from specdsl.backend import Deadline
from specdsl.encoding.encode import EncodedGraph, encode_case, encode_graph
from specdsl.encoding.model.entries import Range
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom
from specdsl.query.sets import Box, exact

FloatArray = npt.NDArray[np.float64]
FOREVER = Deadline.after(None)
# Solver tolerances of 1e-9 through coefficients of a few units.
TOLERANCE = 1e-6
# Both functions of an envelope keep this part of the range apart where touches are enough.
NARROW_PART = 0.021
quick = settings(max_examples=25, deadline=None)
SMOOTH: Mapping[str, tuple[ops.Smooth, tuple[float, float]]] = {
    "exp": (ops.Exp(), (-4, 3)),
    "log": (ops.Log(), (0.05, 6)),
    "sqrt": (ops.Sqrt(), (0, 6)),
    "power": (ops.Power(2.5), (0, 3)),
    "root": (ops.Power(0.4), (0, 3)),
    "inverse_root": (ops.Power(-0.5), (0.1, 3)),
    "reciprocal": (ops.Reciprocal(), (0.2, 4)),
    "negative_reciprocal": (ops.Reciprocal(), (-4, -0.2)),
    "sigmoid": (ops.Sigmoid(), (-8, 8)),
    "tanh": (ops.Tanh(), (-4, 4)),
    "erf": (ops.Erf(), (-3, 3)),
    "softsign": (ops.Softsign(), (-4, 4)),
    "softplus": (ops.Softplus(), (-5, 5)),
    "elu": (ops.Elu(1.0), (-3, 3)),
    "steep_elu": (ops.Elu(2.0), (-3, 3)),
    "flat_elu": (ops.Elu(0.25), (-3, 3)),
    "gelu": (ops.Gelu(), (-4, 4)),
    "gelu_tanh": (ops.GeluTanh(), (-4, 4)),
    "silu": (ops.Silu(), (-6, 6)),
    "mish": (ops.Mish(), (-6, 6)),
    "hard_swish": (ops.HardSwish(), (-5, 5)),
    "sin": (ops.Sin(), (-4, 4)),
    "cos": (ops.Cos(), (-4, 4)),
    "tan": (ops.Tan(), (-1.4, 1.4)),
}


def elementwise(op: ops.Op, count: int) -> Graph:
    """`op(x)` of `count` independent inputs."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((count,)), name="x")
    return builder.build(builder.add(op, x, name="act"))


def box(lower: FloatArray, upper: FloatArray) -> Box:
    return Box(exact(lower), exact(upper))


def encoded(graph: Graph, inputs: Box) -> EncodedGraph:
    """On exact bounds of the input and what the encoder implies of the rest."""
    lower, upper = inputs.float_bounds()
    return encode_graph(graph, inputs, {graph.input: Range(lower, upper)})


def model_of(graph: Graph, inputs: Box, *indices: int) -> LinearModel:
    atoms = [Atom(i) for i in indices or range(graph.size(graph.output))]
    return encode_case(encoded(graph, inputs), atoms, "case")


def fixed(model: LinearModel, columns: npt.NDArray[np.int64], values: FloatArray) -> LinearModel:
    lower, upper = model.lower.copy(), model.upper.copy()
    lower[columns], upper[columns] = values, values
    return replace(model, lower=lower, upper=upper)


def values_at(graph: Graph, points: FloatArray) -> FloatArray:
    """(points, inputs) to (points, outputs)."""
    shaped = points.reshape(len(points), *graph.shapes[graph.input])
    return evaluate(graph, {graph.input: shaped})[graph.output].reshape(len(points), -1)


def intervals(ends: tuple[float, float], count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Random ones, the whole, points, and very short ones."""
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.uniform(*ends, (count, 2)), axis=1)
    drawn[0] = ends
    drawn[1, 1] = drawn[1, 0]
    drawn[2, 1] = np.nextafter(drawn[2, 0], np.inf)
    drawn[3, 1] = drawn[3, 0] + 1e-9
    return drawn[:, 0], np.minimum(drawn[:, 1], ends[1])


def draw_groups(rng: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
    """Three groups of up to four, with members named twice and shared."""
    return rng.integers(0, size, (3, int(rng.integers(1, 5))))


def least_at(model: LinearModel, points: FloatArray) -> float:
    solution = solve(fixed(model, model.inputs, points), FOREVER)
    assert solution.status == OPTIMAL
    assert solution.objective is not None
    return solution.objective

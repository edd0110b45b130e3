"""The sparse matrices of affine ops are what evaluation computes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from specdsl.backend import Unsupported
from specdsl.encoding.rules.affine import SparseAffine, sparse_affine
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def fractions(*shape: int) -> np.ndarray:
    values = RNG.integers(-9, 9, size=shape)
    return np.vectorize(lambda v: Fraction(int(v), 7), otypes=[object])(values)


CONV = ops.Conv(normal(4, 2, 2, 3), normal(4), (2, 1), ((1, 0), (2, 1)), (1, 2), groups=2)

TABLE: list[tuple[str, ops.Op, list[tuple[int, ...]]]] = [
    ("dense", ops.Dense(normal(3, 4), normal(3)), [(1, 4)]),
    ("dense on several rows", ops.Dense(normal(3, 4), normal(3)), [(2, 5, 4)]),
    ("dense of fractions", ops.Dense(fractions(3, 4), fractions(3)), [(1, 4)]),
    ("grouped, strided, padded, dilated convolution", CONV, [(1, 4, 5, 6)]),
    ("convolution of two samples", CONV, [(2, 4, 5, 6)]),
    ("1d convolution", ops.Conv(normal(2, 1, 3), normal(2), (1,), ((1, 1),), (1,)), [(1, 1, 4)]),
    ("scale", ops.Scale(normal(3, 1), normal(4)), [(3, 4)]),
    ("scale by fractions", ops.Scale(fractions(4), fractions(4)), [(3, 4)]),
    ("sum", ops.Sum((1.0, -0.5, 2.0)), [(2, 3)] * 3),
    ("reshape", ops.Reshape((6,)), [(2, 3)]),
    ("transpose", ops.Transpose((2, 0, 1)), [(2, 3, 4)]),
    ("select", ops.Select(np.array([[5, 0], [0, 1]])), [(2, 3)]),
    ("concat", ops.Concat(1), [(2, 3), (2, 1), (2, 2)]),
    (
        "batch norm",
        ops.BatchNorm(normal(3), normal(3), normal(3), np.abs(normal(3)), 1e-5),
        [(1, 3, 2, 2)],
    ),
]


@pytest.mark.parametrize(("op", "shapes"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_the_matrix_of_an_op_computes_what_evaluation_computes(
    op: ops.Op, shapes: list[tuple[int, ...]]
) -> None:
    builder = GraphBuilder()
    nodes = [builder.add(ops.Input(shape), name=f"x{i}") for i, shape in enumerate(shapes)]
    graph = builder.build(builder.add(op, *nodes))
    points = {node: RNG.normal(size=(1, *graph.shapes[node])) for node in nodes}
    expected = evaluate(graph, points)[graph.output][0].reshape(-1)
    matrix = sparse_affine(op, shapes)
    found = apply(matrix, [points[node].reshape(-1) for node in nodes])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def apply(matrix: SparseAffine, operands: list[np.ndarray]) -> np.ndarray:
    result = np.array(matrix.offset, dtype=np.float64)
    for i, operand in enumerate(operands):
        mine = matrix.operands == i
        terms = ops.as_float(matrix.coefficients)[mine] * operand[matrix.positions[mine]]
        np.add.at(result, matrix.rows[mine], terms)
    return result


@pytest.mark.parametrize("seed", range(40))
def test_the_matrix_of_a_transposed_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    inputs, outputs = groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
    kernel = rng.integers(1, 4, rank).tolist()
    extent = rng.integers(1, 5, rank)
    # Where pads leave something of the result for certain.
    pads = rng.integers(0, 2, (rank, 2)) * (extent > 2)[:, None]
    strides = rng.integers(1, 4, rank).tolist()
    op = ops.ConvTranspose(
        weight=rng.normal(size=(inputs, outputs, *kernel)),
        bias=rng.normal(size=outputs * groups),
        strides=tuple(strides),
        pads=tuple((int(a), int(b)) for a, b in pads),
        dilations=tuple(rng.integers(1, 3, rank).tolist()),
        output_pads=tuple(int(rng.integers(0, stride)) for stride in strides),
        groups=groups,
    )
    shape = (2, inputs, *extent.tolist())
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, builder.add(ops.Input(shape), name="x")))
    points = rng.normal(size=(3, int(np.prod(shape))))
    matrix = sparse_affine(op, [shape])
    values = evaluate(graph, {"x": points.reshape(3, *shape)})[graph.output]
    for x, y in zip(points, values.reshape(3, -1), strict=True):
        np.testing.assert_allclose(apply(matrix, [x]), y, atol=1e-12)


def test_fractions_stay_exact() -> None:
    weight = np.array([[Fraction(1, 3)]], dtype=object)
    matrix = sparse_affine(ops.Dense(weight, np.array([Fraction(1, 7)], dtype=object)), [(1, 1)])
    assert matrix.coefficients.tolist() == [Fraction(1, 3)]
    assert matrix.offset.tolist() == [Fraction(1, 7)]


def test_a_padded_convolution_stores_no_entry_for_the_padding() -> None:
    op = ops.Conv(np.ones((1, 1, 3)), np.zeros(1), (1,), ((1, 1),), (1,))
    matrix = sparse_affine(op, [(1, 1, 4)])
    assert np.bincount(matrix.rows).tolist() == [2, 3, 3, 2]


def test_an_op_without_a_rule_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="Relu"):
        sparse_affine(ops.Relu(), [(1, 2)])

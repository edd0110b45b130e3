"""Every point of a graph satisfies its model, curves, jumps and maxima alike."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from specdsl.encoding.encode import encode_case
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom
from tests.encoding.nonlinear import (
    SMOOTH,
    TOLERANCE,
    FloatArray,
    box,
    draw_groups,
    elementwise,
    encoded,
    fixed,
    intervals,
    values_at,
)
from tests.steps import STEPS

ROUNDING = 1e-12


def is_feasible(model: LinearModel) -> bool:
    """By HiGHS without Pyomo, which is slow to build large models."""
    terms = model.terms
    matrix = sparse.csr_array(
        (terms.coefficients, (terms.rows, terms.columns)), shape=(model.rows, model.columns)
    )
    # Its presolve finds no point where bounds lie within its tolerances (see `highs.INFEASIBLE`).
    return any(
        milp(
            np.zeros(model.columns),
            integrality=model.integer.astype(int),
            bounds=Bounds(model.lower, model.upper),
            constraints=LinearConstraint(matrix, model.row_lower, model.row_upper),
            options={"presolve": presolve},
        ).status
        == 0
        for presolve in (True, False)
    )


def check_points(op: ops.Op, lower: FloatArray, upper: FloatArray, points: FloatArray) -> None:
    """One model of as many neurons as there are points, with all inputs and values given."""
    graph = elementwise(op, points.size)
    found = encoded(graph, box(lower, upper))
    model = encode_case(found, [Atom(0)], "case")
    values = values_at(graph, points[None])[0]
    linked = found.margins.columns >= 0
    np.testing.assert_allclose(found.margins.offsets[~linked], values[~linked], atol=TOLERANCE)
    columns = found.margins.columns[linked]
    full = np.zeros(model.columns)
    full[found.inputs] = points
    fill_sides(model, points, full)
    full[columns] = (values - found.margins.offsets)[linked] / found.margins.slopes[linked]
    np.testing.assert_allclose(full[found.inputs], points, atol=TOLERANCE)
    full[int(np.flatnonzero(model.cost)[0])] = values[0]
    fill_parts(model, points, full)
    assert model.violation(full) <= ROUNDING
    whole = full[model.integer]
    np.testing.assert_array_equal(whole, np.round(whole))


def columns_of(model: LinearModel, ending: str) -> list[tuple[npt.NDArray[np.int64], slice]]:
    """Neurons and columns of all blocks whose names, their numbers left out, end so."""
    return [
        (block.indices, slice(block.start, block.start + block.indices.size))
        for block in model.column_blocks
        if re.sub(r"_\d+$", "", block.name).endswith(ending)
    ]


def fill_sides(model: LinearModel, points: FloatArray, full: FloatArray) -> None:
    """Binaries of steps, as the points' signs say."""
    for neurons, columns in columns_of(model, "_positive"):
        full[columns] = points[neurons] > 0
    for neurons, columns in columns_of(model, "_zero"):
        full[columns] = points[neurons] == 0
    for neurons, columns in columns_of(model, "_negative"):
        full[columns] = points[neurons] < 0


def fill_parts(model: LinearModel, points: FloatArray, full: FloatArray) -> None:
    """Parts of a walk, one full after another, by the lengths in its rows."""
    for block in model.row_blocks:
        if not re.search("_walk", block.name):
            continue
        for i, neuron in enumerate(block.indices.tolist()):
            row = block.start + i
            terms = model.terms.rows == row
            columns = model.terms.columns[terms][1:]
            lengths = -model.terms.coefficients[terms][1:]
            rest = points[neuron] - model.row_lower[row]
            for column, length in zip(columns, lengths, strict=True):
                full[column] = min(1.0, rest / length)
                rest = max(0.0, rest - length)
    blocks = {block.name: block for block in model.column_blocks}
    for name, block in blocks.items():
        match = re.fullmatch(r"act_full_(\d+)(_\d+)?", name)
        if match:
            following = blocks[f"act_part_{int(match[1]) + 1}{match[2] or ''}"].start
            part = full[following : following + block.indices.size]
            full[block.start : block.start + block.indices.size] = part > 0


def drawn_points(
    ends: tuple[float, float], count: int, special: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Intervals with a point of each: ends, inner points, special ones where they are inside."""
    rng = np.random.default_rng(seed)
    lower, upper = intervals(ends, count, seed)
    points = lower + rng.uniform(size=count) * (upper - lower)
    points[: count // 8] = lower[: count // 8]
    points[count // 8 : count // 4] = upper[count // 8 : count // 4]
    if special.size:
        chosen = special[rng.integers(special.size, size=count)]
        inside = (lower <= chosen) & (chosen <= upper) & (rng.uniform(size=count) < 0.5)
        points = np.where(inside, chosen, points)
    return lower, upper, np.clip(points, lower, upper)


@pytest.mark.parametrize("name", SMOOTH)
def test_points_of_a_curve_satisfy_the_model(name: str) -> None:
    op, ends = SMOOTH[name]
    check_points(op, *drawn_points(ends, 400, np.array(op.knots), seed=2))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_ten_thousand_points_of_a_curve_satisfy_the_model(name: str) -> None:
    op, ends = SMOOTH[name]
    for seed in range(10):
        check_points(op, *drawn_points(ends, 1000, np.array(op.knots), seed + 3))


@pytest.mark.parametrize("name", STEPS)
def test_ten_thousand_points_of_a_step_satisfy_the_model(name: str) -> None:
    jumps = np.arange(-8, 9) / 2
    for seed in range(5):
        check_points(STEPS[name], *drawn_points((-4, 4), 2000, jumps, seed + 3))


def with_ties(rng: np.random.Generator, count: int, size: int) -> FloatArray:
    """Points of [-1, 1]^size with few different numbers."""
    return np.round(rng.uniform(-1, 1, (count, size)) * 4) / 4


def test_ten_thousand_points_of_maxima_satisfy_the_model() -> None:
    rng = np.random.default_rng(4)
    copies, size = 500, 6
    for _ in range(20):
        one = draw_groups(rng, size)
        groups = np.concatenate([one + size * copy for copy in range(copies)])
        points = with_ties(rng, copies, size).reshape(-1)
        widths = rng.choice([0.0, 0.25, 0.5, 1.0], (2, copies * size))
        check_maxima(groups, points - widths[0], points + widths[1], points)


def check_maxima(
    groups: npt.NDArray[np.int64], lower: FloatArray, upper: FloatArray, points: FloatArray
) -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((points.size,)), name="x")
    graph = builder.build(builder.add(ops.GroupMax(groups), x, name="largest"))
    found = encoded(graph, box(lower, upper))
    model = fixed(encode_case(found, [Atom(0)], "case"), found.inputs, points)
    columns, slopes = found.margins.columns, found.margins.slopes
    assert (slopes == 1).all()
    values = values_at(graph, points[None])[0]
    assert is_feasible(fixed(model, columns, values))

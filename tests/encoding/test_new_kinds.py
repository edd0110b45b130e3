"""Laws of the linear encoding of curves, jumps, maxima and transposed convolutions.

Every point of a graph satisfies its model; what is exact is nothing else, and the relaxation of a
curve is as near to it as its envelope says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from specdsl.backend import Deadline, Unsupported
from specdsl.encoding.affine import sparse_affine
from specdsl.encoding.enclosed import widest_gap
from specdsl.encoding.encode import EncodedGraph, encode_case, encode_graph
from specdsl.encoding.entries import Range
from specdsl.encoding.envelopes import MOST_TOUCHES, envelopes, has_values
from specdsl.encoding.highs import OPTIMAL, solve
from specdsl.encoding.linear_model import LinearModel
from specdsl.encoding.write import write_lp, write_mps
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.ops import as_float
from specdsl.query.query import Atom
from specdsl.query.sets import Box, exact
from tests.conftest import Golden

FloatArray = npt.NDArray[np.float64]

FOREVER = Deadline.after(None)
# Solver tolerances of 1e-9 through coefficients of a few units.
TOLERANCE = 1e-6
ROUNDING = 1e-12
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
STEPS: Mapping[str, ops.Step] = {
    "sign": ops.Sign(),
    "positive": ops.Positive(),
    "not_negative": ops.NotNegative(),
    "is_zero": ops.IsZero(),
    "floor": ops.Floor(),
    "ceil": ops.Ceil(),
    "round": ops.Round(),
    "truncate": ops.Truncate(),
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


# --- envelopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_an_envelope_holds_the_function_and_is_narrow(name: str) -> None:
    op, ends = SMOOTH[name]
    lower, upper = intervals(ends, 100, seed=1)
    knots = [k for k in op.knots if ends[0] < k < ends[1]]
    for knot in knots:  # from, to and around a knot
        lower = np.concatenate([lower, [knot, ends[0], knot - 1e-9]])
        upper = np.concatenate([upper, [ends[1], knot, knot + 1e-9]])
    kept = (lower < upper) & has_values(op, lower, upper)
    lower, upper = lower[kept], upper[kept]
    found = np.zeros(lower.size, dtype=bool)
    for group in envelopes(op, lower, upper):
        found[group.neurons] = True
        for i, neuron in enumerate(group.neurons.tolist()):
            places = group.places[i]
            assert (places[0], places[-1]) == (lower[neuron], upper[neuron])
            assert (np.diff(places) >= 0).all()
            x = np.clip(np.linspace(places[0], places[-1], 400), places[0], places[-1])
            x = np.unique(np.concatenate([x, places]))
            values = op.value(x)
            below = np.interp(x, places, group.below[i])
            above = np.interp(x, places, group.above[i])
            assert (below <= values).all()
            assert (values <= above).all()
            assert (values >= group.least[i]).all()
            assert (values <= group.most[i]).all()
            spread = group.most[i] - group.least[i]
            if len(places) < 2 * MOST_TOUCHES - 1 and spread > 1e-6:
                assert (above - below).max() <= NARROW_PART * spread
    assert found.all()


def test_a_wave_over_many_periods_is_bounded_by_its_range() -> None:
    (group,) = envelopes(ops.Sin(), np.array([-100.0]), np.array([100.0]))
    assert group.below.max() == pytest.approx(-1)
    assert group.above.min() == pytest.approx(1)
    (far,) = envelopes(ops.Cos(), np.array([1e9]), np.array([1e9 + 1]))
    values = np.cos(np.linspace(1e9, 1e9 + 1, 100))
    assert far.below.max() <= values.min()
    assert far.above.min() >= values.max()


# --- every point of the graph satisfies the model -------------------------------------------------


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


def draw_groups(rng: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
    """Three groups of up to four, with members named twice and shared."""
    return rng.integers(0, size, (3, int(rng.integers(1, 5))))


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


# --- what is exact is nothing else ----------------------------------------------------------------


def least_at(model: LinearModel, points: FloatArray) -> float:
    solution = solve(fixed(model, model.inputs, points), FOREVER)
    assert solution.status == OPTIMAL
    assert solution.objective is not None
    return solution.objective


def signed(op: ops.Op, sign: float) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(op, x, name="act")
    return builder.build(builder.add(ops.Scale(np.array(sign), np.array(0.0)), node))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("ends", [(-2.75, 3.25), (-0.25, 0.75), (0.0, 2.0), (-1.0, 0.0)], ids=str)
def test_whole_columns_give_a_step_itself_away_from_jumps(
    name: str, ends: tuple[float, float]
) -> None:
    op = STEPS[name]
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(*np.array(ends)[:, None]))
        for x in np.arange(np.ceil(ends[0] * 8), ends[1] * 8 + 1) / 8:
            if x * 2 == round(x * 2) or not ends[0] <= x <= ends[1]:
                continue
            expected = sign * op.value(np.array([x]))[0]
            assert least_at(model, np.array([x])) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("name", STEPS)
def test_at_a_jump_both_sides_are_allowed(name: str) -> None:
    op = STEPS[name]
    jump = op.jump if isinstance(op, ops.Rounding) else 0.0
    beside = op.value(np.array([jump - 0.25, jump, jump + 0.25]))
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(np.array([-3.0]), np.array([3.0])))
        least = least_at(model, np.array([jump]))
        assert least == pytest.approx((sign * beside).min(), abs=TOLERANCE)


@pytest.mark.parametrize("name", ["positive", "not_negative", "floor", "ceil", "round"])
@given(st.data())
@quick
def test_the_relaxed_step_is_the_convex_hull(name: str, data: st.DataObject) -> None:
    op = STEPS[name]
    low, high = sorted(
        data.draw(st.lists(st.integers(-40, 40), min_size=2, max_size=2, unique=True))
    )
    ends = (low / 16, high / 16)
    share = data.draw(st.floats(0, 1))
    x = ends[0] + share * (ends[1] - ends[0])
    corners = step_corners(op, ends)
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(*np.array(ends)[:, None])).relaxed()
        hull = min(
            (1 - part) * sign * f + part * sign * g
            for a, f in corners
            for b, g in corners
            if a <= x <= b
            for part in [(x - a) / (b - a) if b > a else 0.0]
        )
        assert least_at(model, np.array([x])) == pytest.approx(hull, abs=TOLERANCE)


def step_corners(op: ops.Step, ends: tuple[float, float]) -> list[tuple[float, float]]:
    """Ends with their values, and jumps with all that are reached at and beside them."""
    corners = [(x, float(op.value(np.array([x]))[0])) for x in ends]
    for jump in np.arange(-6, 7) / 2:
        sides = ((-0.25, ends[0] < jump), (0.0, True), (0.25, jump < ends[1]))
        if ends[0] <= jump <= ends[1]:
            corners += [(jump, float(op.value(np.array([jump + d]))[0])) for d, at in sides if at]
    return corners


@given(st.integers(0, 2**32 - 1))
@quick
def test_the_optimum_of_a_maximum_is_the_true_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    weight = np.round(rng.normal(size=(6, 4)) * 8) / 8
    node = builder.add(ops.Dense(weight, np.zeros(6)), x)
    node = builder.add(ops.GroupMax(draw_groups(rng, 6)), node)
    out = np.round(rng.normal(size=(1, 3)) * 8) / 8
    graph = builder.build(builder.add(ops.Dense(out, np.zeros(1)), node))
    inputs = box(-np.ones(4), np.ones(4))
    model = model_of(graph, inputs)
    whole, relaxed = solve(model, FOREVER), solve(model.relaxed(), FOREVER)
    assert whole.point is not None
    assert whole.objective is not None
    assert relaxed.objective is not None
    at_point = values_at(graph, whole.point[model.inputs][None])[0, 0]
    assert at_point == pytest.approx(whole.objective, abs=TOLERANCE)
    sampled = values_at(graph, rng.uniform(-1, 1, (2000, 4))).min()
    assert relaxed.objective - TOLERANCE <= whole.objective <= sampled + TOLERANCE


def test_two_relaxed_members_have_the_convex_hull() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    node = builder.add(ops.GroupMax(np.array([[0, 1]])), x)
    graph = builder.build(builder.add(ops.Scale(np.array(-1.0), np.array(0.0)), node))
    model = model_of(graph, box(np.array([-1.0, -0.5]), np.array([1.0, 2.0]))).relaxed()
    rng = np.random.default_rng(5)
    corners = [(a, b) for a in (-1.0, 1.0) for b in (-0.5, 2.0)]
    for point in rng.uniform([-1, -0.5], [1, 2], (20, 2)):
        # The concave hull over a rectangle: the best of four corners that add up to the point.
        matrix = np.array([[*c, 1.0] for c in corners]).T
        hull = milp(
            -np.array([max(c) for c in corners]),
            constraints=LinearConstraint(matrix, np.array([*point, 1.0]), np.array([*point, 1.0])),
            bounds=Bounds(0, 1),
        )
        assert least_at(model, point) == pytest.approx(hull.fun, abs=TOLERANCE)


def test_dominated_members_need_no_columns() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    groups = np.array([[0, 1, 1], [2, 2, 2], [0, 2, 3]])
    graph = builder.build(builder.add(ops.GroupMax(groups), x, name="pool"))
    lower, upper = np.array([0.0, 2.0, -1.0, -5.0]), np.array([1.0, 3.0, 0.5, -4.0])
    found = encoded(graph, box(lower, upper))
    np.testing.assert_array_equal(found.margins.columns[:2], found.inputs[[1, 2]])
    names = encode_case(found, [Atom(0)], "case").column_names()
    assert [n for n in names if "pool" in n] == ["pool[2]", "pool_largest[6]", "pool_largest[7]"]


# --- transposed convolutions ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_matrix_of_a_transposed_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    inputs, outputs = groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
    kernel, extent = rng.integers(1, 4, (2, rank)).tolist()
    strides = rng.integers(1, 4, rank).tolist()
    op = ops.ConvTranspose(
        weight=rng.normal(size=(inputs, outputs, *kernel)),
        bias=rng.normal(size=outputs * groups),
        strides=tuple(strides),
        pads=tuple((int(a), int(b)) for a, b in rng.integers(0, 2, (rank, 2))),
        dilations=tuple(rng.integers(1, 3, rank).tolist()),
        output_pads=tuple(int(rng.integers(0, stride)) for stride in strides),
        groups=groups,
    )
    shape = (2, inputs, *extent)
    try:
        op.shape(shape)
    except ops.ShapeMismatch:
        pytest.skip("nothing is left of the result")
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, builder.add(ops.Input(shape), name="x")))
    points = rng.normal(size=(3, int(np.prod(shape))))
    matrix = sparse_affine(op, [shape])
    for x, y in zip(points, values_at(graph, points), strict=True):
        terms = as_float(matrix.coefficients) * x[matrix.positions]
        total = np.bincount(matrix.rows, terms, minlength=matrix.offset.size)
        total = total + as_float(matrix.offset)
        np.testing.assert_allclose(total, y, atol=1e-12)


# --- curves in a model ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_lp_milp_and_the_true_minimum_come_in_this_order(name: str) -> None:
    op, ends = SMOOTH[name]
    for sign in (1.0, -1.0):
        builder = GraphBuilder()
        x = builder.add(ops.Input((1,)), name="x")
        node = builder.add(op, x, name="act")
        # A line beside the curve, so that the least value lies somewhere inside.
        slope = 0.8 * float(np.diff(op.value(np.array(ends)))[0])
        line = slope / (ends[1] - ends[0])
        graph = builder.build(builder.add(ops.Sum((sign, -sign * line)), node, x))
        model = model_of(graph, box(*np.array(ends, dtype=float)[:, None]))
        whole, relaxed = solve(model, FOREVER), solve(model.relaxed(), FOREVER)
        assert whole.objective is not None
        values = values_at(graph, np.linspace(*ends, 4001)[:, None])
        assert relaxed.bound <= whole.bound + TOLERANCE
        assert whole.bound <= values.min() + TOLERANCE
        spread = float(np.ptp(op.value(np.linspace(*ends, 4001))))
        assert whole.objective >= values.min() - 2 * NARROW_PART * spread


def test_straight_pieces_are_exact_and_need_no_columns() -> None:
    graph = elementwise(ops.Elu(1.0), 3)
    found = encoded(graph, box(np.array([0.0, 0.5, 2.0]), np.array([1.0, 0.5, 3.0])))
    np.testing.assert_array_equal(found.margins.columns, found.inputs)
    graph = elementwise(ops.HardSwish(), 3)
    found = encoded(graph, box(np.array([3.0, -9.0, -3.0]), np.array([4.0, -3.0, -3.0])))
    assert found.margins.columns.tolist() == [found.inputs[0], -1, -1]
    assert found.margins.offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("op", "ends"),
    [
        (ops.Log(), (0.0, 1.0)),
        (ops.Sqrt(), (-0.5, 1.0)),
        (ops.Reciprocal(), (-1.0, 1.0)),
        (ops.Tan(), (1.0, 2.0)),
        (ops.Exp(), (0.0, 1000.0)),
    ],
    ids=["log", "sqrt", "reciprocal", "tan", "exp"],
)
def test_a_curve_without_values_is_refused(op: ops.Smooth, ends: tuple[float, float]) -> None:
    with pytest.raises(Unsupported, match=f"the `{type(op).__name__}` of a value that may lie"):
        encoded(elementwise(op, 1), box(*np.array(ends)[:, None]))


def test_known_bounds_are_used_and_a_gap_is_named() -> None:
    graph = elementwise(ops.Sigmoid(), 1)
    inputs = box(np.array([-9.0]), np.array([9.0]))
    bounds = {"x": Range(np.array([-1.0]), np.array([1.0]))}
    found = encode_graph(graph, inputs, bounds)
    model = encode_case(found, [Atom(0)], "case")
    solution = solve(model, FOREVER)
    assert solution.point is not None
    assert solution.objective == pytest.approx(1 / (1 + np.e), abs=1e-6)
    moved = solution.point.copy()
    moved[found.margins.columns] += 0.25
    text = widest_gap(found.enclosed, moved)
    assert text == "`Sigmoid` at `act` is only enclosed, and off by 0.25"
    assert widest_gap(found.enclosed, solution.point) is None


def test_a_sum_before_a_jump_makes_room_for_its_rounding() -> None:
    """0.1 + 0.2 - 0.3 is not 0 in float64."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((3,)), name="x")
    node = builder.add(ops.Dense(np.array([[1.0, 1.0, -1.0]]), np.zeros(1)), x)
    graph = builder.build(builder.add(ops.NotNegative(), node, name="act"))
    inputs = box(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]))
    assert solve(model_of(graph, inputs), FOREVER).objective == pytest.approx(0)
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(ops.Scale(np.array(3.0), np.array(-0.3)), x)
    graph = builder.build(builder.add(ops.Positive(), node, name="act"))
    model = model_of(graph, box(np.array([0.1]), np.array([0.1])))
    assert solve(model, FOREVER).objective == pytest.approx(0)


# --- files ----------------------------------------------------------------------------------------


def mixed_graph() -> Graph:
    """A maximum, a curve without irrational numbers, a threshold and a rounding."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    node = builder.add(ops.GroupMax(np.array([[0, 1], [2, 3]])), x, name="pool")
    node = builder.add(ops.HardSwish(), node, name="gate")
    node = builder.add(ops.Scale(np.array(3.0), np.array(-0.75)), node, name="scaled")
    whole = builder.add(ops.Round(), node, name="quantised")
    sign = builder.add(ops.Sign(), node, name="side")
    return builder.build(builder.add(ops.Sum((1.0, 0.5)), whole, sign, name="total"))


def test_files_have_readable_names(golden: Golden) -> None:
    model = model_of(mixed_graph(), box(-np.ones(4), np.ones(4)))
    golden.check("encoding_new_kinds.lp", write_lp(model))
    text = write_mps(model)
    for name in ("pool_largest(1)", "gate_part_0(1)", "quantised(1)", "side_zero(0)"):
        assert name in text


def test_blocks_are_named_after_the_node() -> None:
    model = model_of(mixed_graph(), box(-np.ones(4), np.ones(4)))
    blocks = [*model.column_blocks, *model.row_blocks]
    known = ("x", "pool", "gate", "scaled", "quantised", "side", "total", "worst", "margin")
    assert all(block.name.startswith(known) for block in blocks)
    starts = [block.start for block in model.row_blocks]
    assert all(a < b for a, b in pairwise(starts))

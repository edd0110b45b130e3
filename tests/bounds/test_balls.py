"""Least values of linear functions over boxes cut by balls: sound, exact, and never the worst."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.query.sets import Ball, Box, EmptySet, InputSet, cut, exact

FloatArray = npt.NDArray[np.float64]

# Values of some units, computed from some tens of numbers.
ROUNDING = 1e-9
LIKE = torch.empty(0, dtype=torch.float64)

seeds = st.integers(0, 10**6)
norms = st.sampled_from(["l1", "l2"])


def random_box(rng: np.random.Generator, size: int) -> Box:
    """Around the origin or beside it; some entries have no width."""
    center = rng.normal(size=size)
    width = rng.choice([0.0, 0.05, 0.5, 2.0], size=size)
    return Box(exact(center - width), exact(center + width))


def random_ball(rng: np.random.Generator, size: int, norm: str, part: bool = False) -> Ball:
    count = int(rng.integers(1, size + 1)) if part else size
    positions = np.sort(rng.choice(size, size=count, replace=False)).astype(np.int64)
    scale = exact(rng.choice([0.25, 1.0, 3.0], size=count))
    radius = Fraction(float(rng.choice([0.25, 1.0, 3.0])))
    return Ball(positions, exact(rng.normal(size=count)), scale, radius, norm)


def cut_without_hull(box: Box, balls: tuple[Ball, ...]) -> InputSet:
    try:
        return cut(box, balls)
    except EmptySet:
        return box


def offsets(ball: Ball, points: FloatArray) -> FloatArray:
    center, scale = (np.array([float(v) for v in a]) for a in (ball.center, ball.scale))
    return (points[:, ball.positions] - center) * scale


def inside(inputs: InputSet, points: FloatArray) -> FloatArray:
    """Those of the points that lie in the set."""
    lower, upper = inputs.box.float_bounds()
    kept = ((points >= lower) & (points <= upper)).all(1)
    for ball in inputs.balls:
        order = 1 if ball.norm == "l1" else 2
        kept &= np.linalg.norm(offsets(ball, points), ord=order, axis=1) <= float(ball.radius)
    return points[kept]


def sampled(inputs: InputSet, rng: np.random.Generator, count: int = 400) -> FloatArray:
    """Points of the set: random ones of the box, drawn towards a point in all balls."""
    region = input_region(inputs, LIKE)
    lower, upper = inputs.box.float_bounds()
    anchor = region.anchor[0].numpy()
    share = rng.uniform(size=(count, 1)) ** 2
    unit = rng.uniform(size=(count, inputs.size))
    unit[::2] = np.round(unit[::2])
    points = anchor + share * (lower + unit * (upper - lower) - anchor)
    return inside(inputs, np.clip(points, lower, upper))


def bound(inputs: InputSet, coefficients: FloatArray) -> FloatArray:
    found = input_region(inputs, LIKE).minimum(torch.as_tensor(coefficients)[None])
    return found[0].numpy()


@given(seeds, st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_never_above_the_value_at_a_point_of_the_set(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    balls = tuple(
        random_ball(rng, size, str(rng.choice(["l1", "l2"])), part=True) for _ in range(count)
    )
    inputs = cut_without_hull(random_box(rng, size), balls)
    coefficients = rng.normal(size=(5, size)) * rng.integers(0, 2, size=(5, size))
    least = bound(inputs, coefficients)
    values = sampled(inputs, rng) @ coefficients.T
    assert (least <= values + ROUNDING).all()


def l1_optimum(coefficients: FloatArray, inputs: InputSet) -> float | None:
    """By linear programming, with a column for the distance of each entry."""
    (ball,) = inputs.balls
    size = inputs.size
    lower, upper = inputs.box.float_bounds()
    center, scale = (np.array([float(v) for v in a]) for a in (ball.center, ball.scale))
    eye = np.diag(scale)
    above = np.hstack([eye, -np.eye(size)])
    below = np.hstack([-eye, -np.eye(size)])
    total = np.hstack([np.zeros(size), np.ones(size)])[None]
    limits = np.concatenate([scale * center, -scale * center, [float(ball.radius)]])
    ends = [*zip(lower, upper, strict=True), *((0, None) for _ in range(size))]
    cost = np.concatenate([coefficients, np.zeros(size)])
    found = linprog(cost, np.vstack([above, below, total]), limits, bounds=ends)
    return float(found.fun) if found.status == 0 else None


def l2_optimum(coefficients: FloatArray, inputs: InputSet) -> float:
    """The dual, maximised by ternary search on the logarithm of the multiplier."""
    (ball,) = inputs.balls
    lower, upper = inputs.box.float_bounds()
    center, scale = (np.array([float(v) for v in a]) for a in (ball.center, ball.scale))
    low, high, slopes = (lower - center) * scale, (upper - center) * scale, coefficients / scale
    radius = float(ball.radius)

    def dual(exponent: float) -> float:
        price = np.exp(exponent)
        y = np.clip(-slopes / price, low, high)
        return float(slopes @ y + price / 2 * (y @ y - radius**2))

    left, right = -40.0, 40.0
    for _ in range(300):
        third = (right - left) / 3
        if dual(left + third) < dual(right - third):
            left += third
        else:
            right -= third
    return float(coefficients @ center) + dual((left + right) / 2)


@given(seeds, norms)
@settings(max_examples=150, deadline=None)
def test_one_ball_and_a_box_are_exact(seed: int, norm: str) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    inputs = cut_without_hull(random_box(rng, size), (random_ball(rng, size, norm),))
    region = input_region(inputs, LIKE)
    if not inputs.balls or bool(region.is_empty):
        return
    coefficients = rng.normal(size=size)
    found = float(bound(inputs, coefficients[None])[0])
    if norm == "l1":
        optimum = l1_optimum(coefficients, inputs)
        if optimum is None:
            return
        assert found == pytest.approx(optimum, abs=1e-7)
    else:
        optimum = l2_optimum(coefficients, inputs)
        assert found == pytest.approx(optimum, rel=1e-6, abs=1e-6)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_balls_on_disjoint_entries_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = random_box(rng, 6)
    balls = []
    for positions, norm in (([0, 2], "l2"), ([1, 4], "l1")):
        around = exact([(box.lower[i] + box.upper[i]) / 2 for i in positions])
        ones = exact([1, 1])
        balls.append(Ball(np.array(positions), around, ones, Fraction(1, 2), norm))
    coefficients = rng.normal(size=(4, 6))
    whole = bound(cut(box, balls), coefficients)
    alone = [bound(cut(box, [ball]), coefficients) for ball in balls]
    plain = bound(box, coefficients)
    assert whole == pytest.approx(alone[0] + alone[1] - plain, abs=1e-9)


@given(seeds, st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_never_worse_than_the_box_or_one_ball_with_it(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    center = rng.normal(size=size)
    box = Box(exact(center - 1), exact(center + 1))
    balls: list[Ball] = []
    for _ in range(count):
        drawn = random_ball(rng, size, str(rng.choice(["l1", "l2"])), part=True)
        nearby = exact(center[drawn.positions] + rng.uniform(-0.1, 0.1, drawn.positions.size))
        balls.append(Ball(drawn.positions, nearby, drawn.scale, drawn.radius, drawn.norm))
    try:
        inputs = cut(box, balls)
    except EmptySet:
        reject()
    if not len(inside(inputs, input_region(inputs, LIKE).anchor.numpy())):
        return
    coefficients = rng.normal(size=(5, size))
    whole = bound(inputs, coefficients)
    assert (whole >= bound(inputs.box, coefficients) - ROUNDING).all()
    for ball in balls:
        assert (whole >= bound(cut(inputs.box, [ball]), coefficients) - 1e-6).all()


@given(seeds, norms)
@settings(max_examples=60, deadline=None)
def test_a_batch_of_boxes_gives_what_each_gives_alone(seed: int, norm: str) -> None:
    rng = np.random.default_rng(seed)
    ball = random_ball(rng, 5, norm)
    center = np.array([float(c) for c in ball.center])
    root = input_region(cut(Box(exact(center - 4), exact(center + 4)), [ball]), LIKE)
    lower = torch.as_tensor(center + rng.uniform(-1.5, 1, size=(6, 5)))
    upper = lower + torch.as_tensor(rng.uniform(0, 2, size=(6, 1)))
    region = InputRegion(Interval(lower, upper), root.balls)
    coefficients = torch.as_tensor(rng.normal(size=(6, 3, 5)))
    together = region.minimum(coefficients)
    for i in range(6):
        alone = region.take(torch.tensor([i])).minimum(coefficients[i : i + 1])
        assert torch.allclose(together[i], alone[0], rtol=1e-7, atol=1e-9)


@given(seeds, norms)
@settings(max_examples=100, deadline=None)
def test_a_minimiser_attains_the_minimum(seed: int, norm: str) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    inputs = cut_without_hull(random_box(rng, size), (random_ball(rng, size, norm, part=True),))
    region = input_region(inputs, LIKE)
    if bool(region.is_empty):
        return
    coefficients = torch.as_tensor(rng.normal(size=(1, 4, size)))
    points = region.minimiser(coefficients)
    values = (points * coefficients).sum(-1)
    assert torch.allclose(values, region.minimum(coefficients), rtol=1e-5, atol=1e-5)


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_what_is_called_empty_has_no_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 4))
    balls = tuple(random_ball(rng, size, str(rng.choice(["l1", "l2"])), True) for _ in range(2))
    inputs = cut_without_hull(random_box(rng, size), balls)
    if bool(input_region(inputs, LIKE).is_empty):
        lower, upper = inputs.box.float_bounds()
        points = lower + rng.uniform(size=(2000, size)) * (upper - lower)
        assert not len(inside(inputs, points))


def test_disjoint_balls_are_empty_and_bounds_on_them_do_not_cross() -> None:
    where, ones = np.arange(2), exact([1, 1])
    balls = [Ball(where, exact([c, c]), ones, Fraction(1), "l2") for c in (0, Fraction(3, 2))]
    inputs = cut(Box(exact([-3, -3]), exact([3, 3])), balls)
    region = input_region(inputs, LIKE)
    assert bool(region.is_empty)
    rows = torch.eye(2, dtype=torch.float64)[None]
    assert bool((region.minimum(rows) <= -region.minimum(-rows) + ROUNDING).all())

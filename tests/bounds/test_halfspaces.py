"""Least values under linear constraints: those of other solvers, sound on everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.halfspaces import HalfSpaces
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import Balls, InputRegion

# Values of some tens, computed from some hundred numbers.
ROUNDING = 1e-9
# What the issue asks for; found: 1e-10.
EXACT = 1e-6

seeds = st.integers(0, 10**6)


@dataclass(frozen=True)
class Case:
    """Random regions with a point each, and rows."""

    region: InputRegion
    rows: torch.Tensor


def random_case(seed: int, batch: int = 2, dtype: torch.dtype = torch.float64) -> Case:
    """Some entries have no width, some constraints hold with equality at the point inside."""
    rng = np.random.default_rng(seed)
    inputs, constraints = int(rng.integers(1, 16)), int(rng.integers(1, 6))
    center = rng.normal(size=(batch, inputs))
    width = rng.choice([0.0, 0.05, 0.5, 2.0], size=(batch, inputs))
    inside = center + rng.uniform(-1, 1, size=(batch, inputs)) * width
    matrix = rng.normal(size=(batch, constraints, inputs))
    matrix *= rng.integers(0, 2, size=matrix.shape)
    slack = rng.choice([0.0, 0.1, 1.0], size=(batch, constraints))
    limits = (matrix @ inside[..., None])[..., 0] + slack
    rows = rng.normal(size=(batch, 3, inputs)) * rng.choice([0, 1, 100], size=(batch, 3, 1))
    lower, upper, a, b, c = (
        torch.as_tensor(v, dtype=dtype)
        for v in (center - width, center + width, matrix, limits, rows)
    )
    return Case(InputRegion(Interval(lower, upper), halfspaces=HalfSpaces(a, b)), c)


def linear_program(case: Case, i: int, row: int) -> float | None:
    box, cuts = case.region.box, case.region.halfspaces
    assert cuts is not None
    ends = list(zip(box.lower[i].tolist(), box.upper[i].tolist(), strict=True))
    row_, matrix, limits = (v.numpy() for v in (case.rows[i, row], cuts.matrix[i], cuts.limits[i]))
    found = linprog(row_, matrix, limits, bounds=ends)
    return float(found.fun) if found.status == 0 else None


def with_ball(region: InputRegion, norm: str, radius: float = 1.0) -> InputRegion:
    """Cut by a ball around the anchor of each region as well, so that a point is left."""
    center = region.anchor
    where = torch.arange(center.shape[1])
    ball = Ball(where, center, torch.ones_like(center), radius, "l1" if norm == "l1" else "l2")
    return InputRegion(region.box, Balls.of((ball,), len(where)), region.halfspaces)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_boxes_are_exact(seed: int) -> None:
    case = random_case(seed)
    least = case.region.minimum(case.rows)
    for i in range(2):
        for row in range(3):
            optimum = linear_program(case, i, row)
            if optimum is not None:
                # HiGHS itself keeps constraints to 1e-7 only.
                assert float(least[i, row]) == pytest.approx(optimum, rel=EXACT, abs=EXACT)


@given(seeds, st.sampled_from(["l1", "l2"]), st.sampled_from([0.3, 1.0, 3.0]))
@settings(max_examples=40, deadline=None)
def test_balls_and_boxes_together_are_exact(seed: int, norm: str, radius: float) -> None:
    """A point of the set attains the bound, so nothing larger is one."""
    case = random_case(seed)
    region = with_ball(case.region, norm, radius)
    cuts, balls = region.halfspaces, region.balls
    assert cuts is not None
    assert balls is not None
    points = region.minimiser(case.rows)
    (ball,) = balls.all
    outside = ball.size(points - ball.center[:, None]) - radius
    assert (outside <= ROUNDING).all()
    assert (cuts.excess(points) <= EXACT).all()
    gap = (case.rows * points).sum(-1) - region.minimum(case.rows)
    assert (gap.abs() <= EXACT * (1 + case.rows.abs().sum(-1))).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_other_solvers_find_nothing_below_and_the_same(seed: int, norm: str) -> None:
    case = random_case(seed)
    region = with_ball(case.region, norm)
    least = region.minimum(case.rows)
    solve = by_linear_program if norm == "l1" else by_quadratic_program
    for i in range(2):
        for row in range(3):
            optimum = solve(region, case.rows[i, row].numpy(), i)
            assert float(least[i, row]) == pytest.approx(optimum, rel=EXACT, abs=EXACT)


def parts_of(region: InputRegion, i: int) -> tuple[npt.NDArray[np.float64], ...]:
    """Lower and upper ends, matrix and limits, the center of the only ball."""
    assert region.halfspaces is not None
    assert region.balls is not None
    (ball,) = region.balls.all
    box, cuts = region.box, region.halfspaces
    return tuple(
        v[i].numpy() for v in (box.lower, box.upper, cuts.matrix, cuts.limits, ball.center)
    )


def by_linear_program(region: InputRegion, row: npt.NDArray[np.float64], i: int) -> float:
    """Over the l1 ball of radius 1, with a variable for the size of each entry's offset."""
    lower, upper, matrix, limits, center = parts_of(region, i)
    n, one = len(row), np.eye(len(row))
    whole = np.block(
        [
            [matrix, np.zeros_like(matrix)],
            [one, -one],
            [-one, -one],
            [np.zeros((1, n)), np.ones((1, n))],
        ]
    )
    ends = [*zip(lower, upper, strict=True), *[(0, None)] * n]
    right = np.concatenate([limits, center, -center, [1.0]])
    return float(linprog(np.concatenate([row, np.zeros(n)]), whole, right, bounds=ends).fun)


def by_quadratic_program(region: InputRegion, row: npt.NDArray[np.float64], i: int) -> float:
    """Over the l2 ball of radius 1, by SLSQP."""
    lower, upper, matrix, limits, center = parts_of(region, i)
    size = np.abs(row).max() or 1.0
    found: Any = minimize(
        lambda x: row @ x / size,
        center,
        jac=lambda x: row / size,
        bounds=list(zip(lower, upper, strict=True)),
        constraints=[
            {"type": "ineq", "fun": lambda x: limits - matrix @ x, "jac": lambda x: -matrix},
            {
                "type": "ineq",
                "fun": lambda x: 1 - ((x - center) ** 2).sum(),
                "jac": lambda x: -2 * (x - center),
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(found.fun) * size


@given(seeds, st.sampled_from(["none", "l1", "l2"]))
@settings(max_examples=40, deadline=None)
def test_any_multipliers_give_a_bound(seed: int, norm: str) -> None:
    case = random_case(seed)
    region = case.region if norm == "none" else with_ball(case.region, norm)
    cuts = region.halfspaces
    assert cuts is not None
    generator = torch.manual_seed(seed)
    drawn = torch.rand(2, 3, cuts.limits.shape[1], generator=generator, dtype=torch.float64)
    mixed, paid = cuts.lagrangian(case.rows, 10 * drawn)
    weaker = InputRegion(region.box, region.balls).minimum(mixed) - paid
    size = 1 + mixed.abs().sum(-1)
    assert (weaker <= region.minimum(case.rows) + EXACT * size).all()


@given(seeds, st.sampled_from(["none", "l1", "l2"]))
@settings(max_examples=60, deadline=None)
def test_bounds_hold_at_points_of_the_set(seed: int, norm: str) -> None:
    case = random_case(seed, batch=1)
    region = case.region if norm == "none" else with_ball(case.region, norm)
    points = Projector(region).approach(
        region.anchor + torch.randn(64, region.box.lower.shape[1], dtype=torch.float64)
    )
    cuts = region.halfspaces
    assert cuts is not None
    kept = (cuts.excess(points[None])[0] <= ROUNDING).all(1)
    for ball in region.balls.all if region.balls else ():
        kept &= ball.size(points - ball.center) <= ball.radius + ROUNDING
    values = points[kept] @ case.rows[0].T
    size = 1 + case.rows[0].abs().sum(1)
    assert (region.minimum(case.rows)[0] <= values + 1e-6 * size).all()


@given(seeds, st.sampled_from(["l1", "l2"]))
@settings(max_examples=40, deadline=None)
def test_never_worse_than_without_either(seed: int, norm: str) -> None:
    case = random_case(seed)
    both = with_ball(case.region, norm)
    least = both.minimum(case.rows)
    size = 1e-6 * (1 + case.rows.abs().sum(-1))
    assert (least >= InputRegion(both.box, both.balls).minimum(case.rows) - size).all()
    assert (least >= InputRegion(both.box).minimum(case.rows) - size).all()


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_batch_gives_what_each_gives_alone(seed: int) -> None:
    case = random_case(seed, batch=3)
    together = case.region.minimum(case.rows)
    for i in range(3):
        alone = case.region.take(torch.tensor([i])).minimum(case.rows[i : i + 1])
        assert torch.allclose(together[i], alone[0], rtol=1e-7, atol=1e-7)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_what_is_called_empty_has_no_point_and_bounds_do_not_cross(seed: int) -> None:
    case = random_case(seed)
    cuts = case.region.halfspaces
    assert cuts is not None
    assert not bool(case.region.is_empty.any())
    rng = np.random.default_rng(seed)
    limits = cuts.limits - torch.as_tensor(rng.uniform(0, 3, size=cuts.limits.shape))
    region = InputRegion(case.region.box, halfspaces=HalfSpaces(cuts.matrix, limits))
    for i in range(2):
        ends = list(zip(region.box.lower[i].tolist(), region.box.upper[i].tolist(), strict=True))
        zero = np.zeros(len(ends))
        found = linprog(zero, cuts.matrix[i].numpy(), limits[i].numpy(), bounds=ends)
        # HiGHS keeps constraints to 1e-7; no random set comes that near.
        assert bool(region.is_empty[i]) == (found.status == 2)
    crossing = region.minimum(case.rows) + region.minimum(-case.rows)
    assert (crossing <= ROUNDING * (1 + case.rows.abs().sum(-1))).all()


@pytest.mark.parametrize("norm", ["none", "l1", "l2"])
@pytest.mark.parametrize("cut", [False, True])
def test_gradients_are_those_of_finite_differences(norm: str, cut: bool) -> None:
    case = random_case(7)
    region = case.region if cut else InputRegion(case.region.box)
    if norm != "none":
        whole = with_ball(case.region, norm, radius=0.7)
        region = InputRegion(region.box, whole.balls, region.halfspaces if norm == "none" else None)
    generator = torch.manual_seed(0)
    rows = torch.randn(case.rows.shape, dtype=torch.float64, generator=generator)
    rows.requires_grad_(True)
    (gradient,) = torch.autograd.grad(region.minimum(rows).sum(), rows)
    moved = torch.randn(rows.shape, dtype=torch.float64, generator=generator) * 1e-6
    with torch.no_grad():
        change = region.minimum(rows + moved) - region.minimum(rows - moved)
    assert torch.allclose(change, 2 * (gradient * moved).sum(-1), rtol=1e-3, atol=1e-10)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gradients_in_boxes_and_balls_are_those_of_finite_differences(norm: str) -> None:
    generator = torch.manual_seed(3)
    lower, upper, center, rows = (
        torch.randn(size, dtype=torch.float64, generator=generator)
        for size in ((2, 5), (2, 5), (2, 5), (2, 3, 5))
    )
    lower, upper, center = center - lower.abs(), center + upper.abs(), center + 0.1 * lower

    def least(lower: torch.Tensor, upper: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
        positions, ones = torch.arange(5), torch.ones_like(center)
        ball = Ball(positions, center, ones, 1.0, "l1" if norm == "l1" else "l2")
        region = InputRegion(Interval(lower, upper), Balls.of((ball,), 5))
        return region.minimum(rows)

    given = tuple(v.clone().requires_grad_(True) for v in (lower, upper, center))
    assert torch.autograd.gradcheck(least, given, eps=1e-6, atol=1e-5)


@given(seeds, st.sampled_from(["none", "l1", "l2"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_float32_is_float64_on_the_same_numbers(seed: int, norm: str, cut: bool) -> None:
    case = random_case(seed, dtype=torch.float32)
    region = case.region if norm == "none" else with_ball(case.region, norm)
    halfspaces = region.halfspaces if cut else None
    region = InputRegion(region.box, region.balls, halfspaces)
    box = Interval(region.box.lower.double(), region.box.upper.double())
    precise = InputRegion(
        box,
        region.balls.double() if region.balls else None,
        halfspaces.double() if halfspaces else None,
    )
    found, expected = region.minimum(case.rows).double(), precise.minimum(case.rows.double())
    # Found: 3e-7. How far numbers that are rounded move the least value is another question, and
    # without limit: constraints may leave a single point.
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(1 + case.rows.abs().sum()))

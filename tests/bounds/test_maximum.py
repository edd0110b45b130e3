"""Largest entries of groups: ranges are exact, planes lie above, and no plane lies lower midway."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import maximum
from specdsl.bounds.rows.rows import DenseRows
from specdsl.graph import ops

# Planes are sums of a few products of numbers of size 10.
ROUNDING = 1e-12
# What the reference solver allows itself.
LP_TOLERANCE = 1e-6
# Ends 1e-9 apart at 3 leave 7 digits of a quotient of differences.
CANCELLED = 1e-6
ENTRIES = 6


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """`slopes . x + constant` for every group: (groups, entries) and (groups,)."""

    slopes: Tensor
    constant: Tensor

    def at(self, points: Tensor) -> Tensor:
        return points @ self.slopes.T + self.constant


def plane(found: maximum.GroupRelaxation, groups: int, upper: bool) -> Plane:
    """The plane above or below every group, read off from its passage."""
    one = torch.eye(groups, dtype=torch.float64)[None]
    sign = -1 if upper else 1
    passed = found.through(DenseRows(sign * one))
    (slopes,) = passed.rows
    return Plane(sign * slopes.dense().coefficients[0], sign * passed.constant[0])


def box_of(seed: int, entries: int = ENTRIES) -> Interval:
    """Overlapping, disjoint, equal and degenerate intervals, some with ends in common."""
    random = np.random.default_rng(seed)
    center = random.integers(-2, 3, entries) + random.choice([0, 0.25, random.random()], entries)
    radius = random.choice([0.0, 1e-9, 0.5, 1.0, 3.0], entries)
    lower, upper = torch.tensor(center - radius)[None], torch.tensor(center + radius)[None]
    return Interval(lower, upper)


def groups_of(seed: int) -> ops.GroupMax:
    """Groups that overlap and name members twice."""
    random = np.random.default_rng(seed)
    return ops.GroupMax(random.integers(0, ENTRIES, (4, seed % 5 + 1)))


def points_of(box: Interval, seed: int) -> Tensor:
    """Corners and inner points."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(300, box.lower.shape[1], generator=generator, dtype=torch.float64)
    unit = torch.cat([unit, unit.round()])
    return (box.lower + unit * (box.upper - box.lower)).minimum(box.upper)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_planes_and_range_bracket_the_maximum(seed: int) -> None:
    op, box = groups_of(seed), box_of(seed)
    points = points_of(box, seed)
    value = maximum.evaluate(op, points)
    found, span = maximum.relax(op, box), maximum.image(op, box)
    assert bool((plane(found, 4, upper=False).at(points) <= value + ROUNDING).all())
    assert bool((plane(found, 4, upper=True).at(points) >= value - ROUNDING).all())
    assert bool((span.lower <= value).all() and (value <= span.upper).all())
    assert torch.equal(span.lower, maximum.evaluate(op, box.lower))
    assert torch.equal(span.upper, maximum.evaluate(op, box.upper))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_the_plane_above_is_least_at_the_midpoint_and_within_the_range(seed: int) -> None:
    op, box = groups_of(seed), box_of(seed)
    above = plane(maximum.relax(op, box), 4, upper=True)
    height = above.at(box.center)[0]
    for group, found in zip(op.groups, height.tolist(), strict=True):
        assert found == pytest.approx(envelope(box, sorted(set(group.tolist()))), abs=LP_TOLERANCE)
    slopes = above.slopes.sum(1)
    assert bool((above.slopes >= 0).all() and (slopes <= 1 + CANCELLED).all())


def envelope(box: Interval, members: list[int]) -> float:
    """The least height at the midpoint of a plane above all corners, by linear programming."""
    from scipy.optimize import linprog

    lower, upper = (end[0, members].numpy() for end in (box.lower, box.upper))
    picks = np.array(list(np.ndindex(*(2,) * len(members))))
    corners = np.where(picks == 1, upper, lower)
    columns = np.hstack([corners, np.ones((len(corners), 1))])
    middle = np.append((lower + upper) / 2, 1.0)
    solved = linprog(middle, A_ub=-columns, b_ub=-corners.max(1), bounds=(None, None))
    return float(solved.fun)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_of_two_members_it_is_the_relaxation_of_a_relu(seed: int) -> None:
    """max(a, b) = b + relu(a - b), with a - b between the differences of their ends."""
    box = box_of(seed, 2)
    (a_low, b_low), (a_high, b_high) = box.lower[0].tolist(), box.upper[0].tolist()
    low, high = a_low - b_high, a_high - b_low
    above = plane(maximum.relax(ops.GroupMax(np.array([[0, 1]])), box), 1, upper=True)
    slope = 1.0 if low >= 0 else 0.0 if high <= 0 else high / (high - low)
    wanted = [slope, 1 - slope, -slope * low if low < 0 < high else 0.0]
    found = [*above.slopes[0].tolist(), float(above.constant)]
    points = points_of(box, seed)
    chord = points @ torch.tensor(wanted[:2], dtype=torch.float64) + wanted[2]
    assert torch.allclose(above.at(points)[:, 0], chord, atol=1e-7), (found, wanted)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3)])
def test_a_passage_is_a_matrix_of_every_batch_entry_and_row(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(len(shape))
    op = ops.GroupMax(random.integers(0, 8, (*shape, 4)))
    lower = torch.tensor(random.normal(size=(5, 2, 4)))
    box = Interval(lower, lower + torch.tensor(random.random((5, 2, 4))))
    found = maximum.relax(op, box)
    coefficients = torch.tensor(random.normal(size=(5, 7, *shape)))
    through = found.through(DenseRows(coefficients))
    (rows,), constant = through.rows, through.constant
    passed = rows.coefficients
    assert (passed.shape, constant.shape) == ((5, 7, 2, 4), (5, 7))
    unit = torch.tensor(random.random((200, 1, 2, 4)))
    points = box.lower + unit * (box.upper - box.lower)
    values = torch.stack([maximum.evaluate(op, p) for p in points])
    below = (passed * points[:, :, None]).flatten(3).sum(3) + constant
    row_values = (coefficients * values[:, :, None]).flatten(3).sum(3)
    assert bool((below <= row_values + 1e-9).all())
    (again,) = found.through(DenseRows(coefficients[:1])).rows
    assert torch.allclose(again.coefficients[0], passed[0])


def test_a_member_that_none_exceeds_is_the_maximum() -> None:
    box = Interval(torch.tensor([[0.0, 2.0, -1.0]]).double(), torch.tensor([[2.0, 3, 9]]).double())
    found = maximum.relax(ops.GroupMax(np.array([[0, 1], [0, 0], [1, 2]])), box)
    assert found.is_exact[0].tolist() == [True, True, False]
    assert plane(found, 3, upper=True).slopes[:2].tolist() == [[0, 1, 0], [1, 0, 0]]
    contested = maximum.contested(ops.GroupMax(np.array([[0, 1], [0, 0], [1, 2]])), box)
    assert contested[0].tolist() == [False, True, True]


@pytest.mark.parametrize("upper", [(inf, 1.0, 1.0), (inf, inf, 1.0), (inf, inf, inf)])
def test_without_an_upper_end_a_plane_still_lies_above(upper: tuple[float, ...]) -> None:
    box = Interval(torch.full((1, 3), -1.0).double(), torch.tensor([upper]).double())
    op = ops.GroupMax(np.array([[0, 1, 2]]))
    found = maximum.relax(op, box)
    points = points_of(Interval(box.lower, box.upper.clamp(max=50.0)), 0)
    above = found.first_slope * points[:, found.first[0]] + found.intercept
    above = above + found.second_slope * points[:, found.second[0]]
    assert bool((above >= maximum.evaluate(op, points) - ROUNDING).all())
    assert bool(found.intercept.isfinite()) == (upper[2] < inf)


def test_a_large_pooling_layer_is_relaxed_in_little_memory() -> None:
    """3 x 3 windows over 64 x 112 x 112, stride 2: 1.8 million members."""
    place = np.arange(64 * 112 * 112).reshape(64, 112, 112)
    windows = np.lib.stride_tricks.sliding_window_view(place, (3, 3), axis=(1, 2))[:, ::2, ::2]
    op = ops.GroupMax(windows.reshape(*windows.shape[:3], 9))
    lower = torch.rand(1, 64, 112, 112, generator=torch.Generator().manual_seed(0)).double()
    start = time.monotonic()
    found = maximum.relax(op, Interval(lower, lower + 0.1))
    coefficients = torch.ones(1, 2, *op.groups.shape[:-1], dtype=torch.float64)
    coefficients[:, 1] = -1.0
    (passed,) = found.through(DenseRows(coefficients)).rows
    assert passed.coefficients.shape == (1, 2, 64, 112, 112)
    # Generous for two slow cores: some 2 s; a dense matrix would need terabytes.
    assert time.monotonic() - start < 20

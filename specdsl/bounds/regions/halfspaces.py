"""Linear constraints on inputs, `A x <= b`, on boxes and balls: multipliers for least values.

For multipliers `p >= 0` the least value of `c . x + p . (A x - b)` over the set alone lies below
that of `c . x` over its points that keep the constraints. Any multipliers give a sound bound; the
best are found by the proximal point method, whose steps are smooth problems in the multipliers
alone and solved by Newton's method. For linear programs it ends after finitely many steps, and on
balls the longer the steps the faster it converges.

Source: Rockafellar 1976, Augmented Lagrangians and applications of the proximal point algorithm in
convex programming; Newton's method for it: Li, Sun and Toh 2020, arXiv:1903.09546.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.regions.cells import Cell
from specdsl.bounds.regions.nearest import Nearest

# Steps of the proximal method, each GROWTH times as far as the one before. The last gaps of random
# problems with up to 6 constraints and 30 inputs closed by the 6th.
OUTER_STEPS = 10
GROWTH = 8.0
# Newton's steps in one of them, and how often one of these is made shorter, by which factor: where
# the slope jumps, the step that Newton asks for may be a million times too long. On random problems
# a quarter needed fewer points than a half or an eighth.
NEWTON_STEPS = 20
SHORTENINGS = 12
SHORTER = 4
# A step is taken that gains this part of what the slope promises (Armijo).
GAINED_PART = 1e-4
# Of the constraints' own curvature: keeps Newton's equations regular where few entries are free.
DAMPING = 1e-3
LEAST_DAMPING = 1e-9
# In units of slopes over constraints. Without any point in the set multipliers grow forever.
MOST_MULTIPLIER = 1e8
# Units of what the numbers are computed from, within which a constraint holds or a gap is closed.
CLOSED_UNITS = 2.0**10
# Units by which a point errs for each unit of a step's length, up to one (4e-9 in all: steps beyond
# are rare, and go on where that is not met), and those of values in a search.
FAR_UNITS = 2.0**4
FARTHEST = 2.0**20
VALUE_UNITS = 2.0**4
# Coefficients that are worked on at once.
MAX_COEFFICIENTS = 2**20
# Steps of ascent where balls share entries.
ASCENT_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class HalfSpaces:
    """`matrix @ x <= limits` for the flat inputs of each region.

    Shapes: matrix (batch or 1, constraints, inputs), limits (batch or 1, constraints).
    """

    matrix: Tensor
    limits: Tensor

    def take(self, index: Tensor) -> HalfSpaces:
        """Those of the regions at `index`; itself where all regions have the same."""
        if len(self.matrix) == 1 and len(self.limits) == 1:
            return self
        batch = max(len(self.matrix), len(self.limits))
        matrix, limits = (v.expand(batch, *v.shape[1:]) for v in (self.matrix, self.limits))
        return HalfSpaces(matrix[index], limits[index])

    def double(self) -> HalfSpaces:
        """The same in float64."""
        return HalfSpaces(self.matrix.double(), self.limits.double())

    def lagrangian(self, coefficients: Tensor, multipliers: Tensor) -> tuple[Tensor, Tensor]:
        """`c + p A` and `p . b`: (batch, rows, inputs) and (batch, rows)."""
        paid = (multipliers * self.limits[:, None]).sum(-1)
        return coefficients + multipliers @ self.matrix, paid

    def excess(self, points: Tensor) -> Tensor:
        """`A x - b` of points (batch, rows, inputs): (batch, rows, constraints)."""
        return points @ self.matrix.transpose(1, 2) - self.limits[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Multipliers (batch, rows, constraints), none negative, and points (batch, rows, inputs) of
    the set where the coefficients are about least and the constraints about kept.
    """

    multipliers: Tensor
    points: Tensor


def least_over_cells(halfspaces: HalfSpaces, cell: Cell, coefficients: Tensor) -> Solution:
    """The best multipliers over each box, or box cut by balls that share no entries.

    In float64: Newton's equations are hardly regular. Shapes: coefficients (batch or 1, rows,
    inputs).
    """
    batch, inputs = cell.center.shape
    size = batch * inputs * halfspaces.matrix.shape[1]
    parts = coefficients.expand(batch, -1, -1).split(
        max(1, MAX_COEFFICIENTS // max(1, size)), dim=1
    )
    found = [_Program.of(halfspaces, cell, part).solve() for part in parts]
    multipliers = torch.cat([f.multipliers for f in found], dim=1)
    return Solution(multipliers, torch.cat([f.points for f in found], dim=1))


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Multipliers of a proximal step, the point they give and what the step's dual is there."""

    multipliers: Tensor
    nearest: Nearest
    excess: Tensor
    value: Tensor

    @property
    def point(self) -> Tensor:
        return self.nearest.point


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """`min slopes . y` over a cell and `matrix y <= limits`, rows of `matrix` of size 1.

    Shapes: slopes (batch, rows, inputs), matrix (batch, constraints, inputs), limits (batch,
    constraints). `row_scale`, `scale`: by what constraints and slopes were divided.
    """

    slopes: Tensor
    matrix: Tensor
    limits: Tensor
    cell: Cell
    row_scale: Tensor
    scale: Tensor

    @classmethod
    def of(cls, halfspaces: HalfSpaces, cell: Cell, coefficients: Tensor) -> _Program:
        center, half = cell.center, cell.half
        tiny = torch.finfo(half.dtype).tiny
        matrix = halfspaces.matrix * half[:, None]
        limits = halfspaces.limits - (halfspaces.matrix @ center[:, :, None])[..., 0]
        row_scale = matrix.norm(dim=-1)
        # A constraint that reads no entry is kept as it is.
        row_scale = row_scale.where(row_scale > tiny**0.5, torch.ones_like(row_scale))
        slopes = coefficients * half[:, None]
        scale = slopes.abs().amax(-1, keepdim=True).clamp(min=tiny**0.5)
        return cls(
            slopes / scale,
            matrix / row_scale[..., None],
            limits / row_scale,
            cell,
            row_scale,
            scale,
        )

    def solve(self) -> Solution:
        """By proximal steps from the middle of the cell, ever longer ones."""
        point = self.cell.nearest(torch.zeros_like(self.slopes)).point
        multipliers = self.slopes.new_zeros(*self.slopes.shape[:2], self.limits.shape[1])
        best, best_multipliers = self._dual(multipliers), multipliers
        closed, points = torch.zeros_like(best, dtype=torch.bool), point
        length = 1.0
        for _ in range(OUTER_STEPS):
            state = self._step(multipliers, point, length)
            multipliers, point = state.multipliers, state.point
            value = self._dual(multipliers)
            better = value > best
            best = value.where(better, best)
            best_multipliers = multipliers.where(better[..., None], best_multipliers)
            # Longer steps know the point of a row that is closed less well.
            points = points.where(closed[..., None], point)
            closed = closed | self._closed(best, state, length)
            if bool(closed.all()):
                break
            length *= GROWTH
        back = self.scale / self.row_scale[:, None]
        points = self.cell.center[:, None] + points * self.cell.half[:, None]
        return Solution(best_multipliers * back, points)

    def _dual(self, multipliers: Tensor) -> Tensor:
        mixed = self.slopes + multipliers @ self.matrix
        return self.cell.least(mixed) - (multipliers * self.limits[:, None]).sum(-1)

    def _closed(self, best: Tensor, state: _State, length: float) -> Tensor:
        near = _near(best, length)
        attained = (self.slopes * state.point).sum(-1)
        size = self.slopes.abs().sum(-1)
        kept = (state.excess <= near * (1 + self.limits.abs())[:, None]).all(-1)
        return kept & (attained - best <= near * size)

    def _step(self, multipliers: Tensor, start: Tensor, length: float) -> _State:
        """Least `slopes . y + |y - start|^2 / (2 length)` by Newton's method on its dual."""

        def state_at(multipliers: Tensor) -> _State:
            return self._state(multipliers, start, length)

        state = state_at(multipliers)
        near = _near(start, length)
        # Rows of size 1: the dual curves no more than this.
        sharpest = length * self.matrix.shape[1]
        for _ in range(NEWTON_STEPS):
            moved = (state.multipliers + state.excess).clamp(min=0) - state.multipliers
            done = (moved.abs() <= near).all(-1)
            if bool(done.all()):
                break
            state = _search(state, self._direction(state, length), done, 1 / sharpest, state_at)
        return state

    def _state(self, multipliers: Tensor, start: Tensor, length: float) -> _State:
        nearest = self.cell.nearest(start - length * (self.slopes + multipliers @ self.matrix))
        point = nearest.point
        excess = point @ self.matrix.transpose(1, 2) - self.limits[:, None]
        far = ((point - start) ** 2).sum(-1) / (2 * length)
        value = (self.slopes * point).sum(-1) + (multipliers * excess).sum(-1) + far
        return _State(multipliers, nearest, excess, value)

    def _direction(self, state: _State, length: float) -> Tensor:
        """Newton's step among the multipliers that are not held at 0."""
        active = ((state.multipliers > 0) | (state.excess > 0)).to(state.excess.dtype)
        curvature = length * self.cell.curvature(state.nearest, self.matrix)
        curvature = curvature * active[..., None] * active[..., None, :]
        residual = (state.excess * active).norm(dim=-1, keepdim=True)
        damping = length * (DAMPING * residual.clamp(max=1) + LEAST_DAMPING)
        diagonal = (1 - active) + damping
        return torch.linalg.solve(curvature + torch.diag_embed(diagonal), state.excess * active)


def _near(like: Tensor, length: float) -> float:
    """What rounding hides: points are the nearest to ones that lie as far as the step is long."""
    return (CLOSED_UNITS + FAR_UNITS * min(length, FARTHEST)) * torch.finfo(like.dtype).eps


def _search(
    state: _State,
    direction: Tensor,
    done: Tensor,
    slope_step: float,
    state_at: Callable[[Tensor], _State],
) -> _State:
    """The first of ever shorter steps that gains enough, for each row; where none does, a step
    along the slope, which always gains: parallel constraints make Newton's direction useless.
    """
    size = torch.ones_like(state.value)
    taken = done
    multipliers = (state.multipliers + slope_step * state.excess).clamp(0, MOST_MULTIPLIER)
    multipliers = state.multipliers.where(done[..., None], multipliers)
    rounding = VALUE_UNITS * torch.finfo(size.dtype).eps * (1 + state.value.abs())
    for _ in range(SHORTENINGS):
        tried = state_at(
            (state.multipliers + size[..., None] * direction).clamp(0, MOST_MULTIPLIER)
        )
        promised = (state.excess * (tried.multipliers - state.multipliers)).sum(-1)
        gains = ~taken & (tried.value >= state.value + GAINED_PART * promised - rounding)
        multipliers = tried.multipliers.where(gains[..., None], multipliers)
        taken = taken | gains
        if bool(taken.all()):
            break
        size = size / SHORTER
    return state_at(multipliers)


@dataclass(frozen=True, slots=True, eq=False)
class Oracle:
    """A set that is no cell: a lower bound of `c . x` over it and a point where it is least.

    Shapes: (batch or 1, rows, inputs) to (batch, rows), and to (batch, rows, inputs).
    """

    minimum: Callable[[Tensor], Tensor]
    minimiser: Callable[[Tensor], Tensor]


def least_over(
    halfspaces: HalfSpaces, first: Solution, coefficients: Tensor, oracle: Oracle
) -> Solution:
    """Good multipliers over another set in the box, by ascent from those of the box.

    Steps are measured by the slopes of the rows and those of the constraints, and shrink like
    1 / sqrt(k). The points are averages along the way, so they lie in the set where it is convex.
    """
    tiny = torch.finfo(coefficients.dtype).tiny ** 0.5
    row_size = halfspaces.matrix.norm(dim=-1).clamp(min=tiny)[:, None]
    reach = coefficients.norm(dim=-1, keepdim=True) / row_size
    multipliers = first.multipliers
    best = torch.full_like(multipliers[..., 0], -torch.inf)
    best_multipliers, mean = multipliers, torch.zeros_like(first.points)
    for step in range(ASCENT_STEPS):
        mixed, paid = halfspaces.lagrangian(coefficients, multipliers)
        value = oracle.minimum(mixed) - paid
        better = value > best
        best = value.where(better, best)
        best_multipliers = multipliers.where(better[..., None], best_multipliers)
        point = oracle.minimiser(mixed)
        mean = mean + (point - mean) / (step + 1)
        excess = halfspaces.excess(point) / row_size
        size = excess.norm(dim=-1, keepdim=True).clamp(min=tiny)
        move = reach * excess / size / (step + 1) ** 0.5
        multipliers = (multipliers + move).clamp(min=0)
    return Solution(best_multipliers, mean)

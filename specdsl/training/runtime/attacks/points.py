"""Points of a batch of regions, one a region: where attacks begin, how they move and stay inside.

Everything is batched and has shape (batch, inputs). The boxes are kept exactly; balls and linear
constraints up to rounding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.halfspaces import HalfSpaces
from specdsl.bounds.regions.region import InputRegion

Norm = Literal["linf", "l2", "l1"]
Start = Literal["random", "center", "near"]

# Projections on box, balls and half-spaces in turn. One is enough for a ball whose center lies in
# the box, which is every ball around a sample.
ROUNDS = 20
# Halvings of the way to the anchor, for points that the projections left outside.
HALVINGS = 12
# A point of a ball is its center plus an offset: both are rounded, and so is the norm.
HELD_UNITS = 8.0
# An l1 step moves the 5 % of entries with the largest gradients: one entry a step is too slow.
L1_ENTRIES_PART = 20
# Of the radius: TRADES begins next to the sample, where the divergence itself has no gradient
# (Zhang et al. 2019, arXiv:1901.08573, start at 0.001 times normal noise).
NEAR_PART = 1e-3


# --- where attacks begin --------------------------------------------------------------------------


@torch.no_grad()
def start(region: InputRegion, kind: Start, generator: torch.Generator) -> Tensor:
    """A point of each region: its center, beside it, or uniformly drawn.

    Uniform in the boxes and in the balls; a box that cuts a ball moves what lies outside of it to
    its faces.
    """
    center = region.anchor.clone()
    if kind == "center":
        return center
    if kind == "near":
        noise = normal(center.shape, generator, center)
        return project(region, center + NEAR_PART * noise * extents(region))
    low, high = region.box.lower, region.box.upper
    points = low + _uniform(low.shape, generator, low) * (high - low)
    for ball in _balls(region):
        points = _replaced(points, ball, _in_ball(ball, _part(points, ball), generator))
    return project(region, points)


def extents(region: InputRegion) -> Tensor:
    """How far each region reaches from its center along each entry: (batch, inputs)."""
    reach = region.box.radius
    for ball in _balls(region):
        reach = _replaced(reach, ball, ball.unit.expand(len(reach), -1))
    return reach


@torch.no_grad()
def parts_of_radius(region: InputRegion, length: float) -> Tensor:
    """A length in units of the inputs as parts of the radius, entry by entry: (batch, inputs).

    The radius of a ball is its own, in its norm; that of a box is its largest extent, so that no
    entry moves further than the length. 0 where a box is a point.
    """
    half = region.box.radius
    rest = half if region.balls is None else half[:, region.balls.rest]
    parts = torch.zeros_like(half)
    if rest.shape[1]:
        largest = rest.amax(1, keepdim=True)
        parts = torch.where(largest > 0, length / largest, torch.zeros_like(largest))
        parts = parts.expand_as(half)
    for ball in _balls(region):
        # A ball is `norm(scale * offset) <= radius`: a length along an entry is one of `unit`.
        unit = ball.unit.expand(len(half), -1).amax(1, keepdim=True)
        parts = _replaced(parts, ball, (length / unit).expand(-1, len(ball.positions)))
    return parts


def _in_ball(ball: Ball, like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform points of a ball, as many as `like` has rows.

    Source for l1: Barthe et al. 2005, A probabilistic approach to the geometry of the l_p ball.
    """
    batch, entries = like.shape
    if ball.norm == "l2":
        offset = normal(like.shape, generator, like)
        size = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
        share = _uniform((batch, 1), generator, like) ** (1 / entries)
    else:
        # 1 - u lies in (0, 1], where logarithms are finite.
        lengths = -(1 - _uniform((batch, entries + 1), generator, like)).log()
        signs = _uniform(like.shape, generator, like).sub(0.5).sign()
        offset, size = lengths[:, :-1] * signs, lengths.sum(1, keepdim=True)
        share = torch.ones_like(size)
    tiny = torch.finfo(like.dtype).tiny
    return ball.center + offset / size.clamp(min=tiny) * share * ball.unit


def _uniform(
    shape: torch.Size | tuple[int, ...], generator: torch.Generator, like: Tensor
) -> Tensor:
    # Drawn where the generator is: the same numbers on every device.
    drawn = torch.rand(shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)


def normal(shape: torch.Size, generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers, of the dtype and on the device of `like`."""
    drawn = torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)


# --- staying inside -------------------------------------------------------------------------------


@torch.no_grad()
def project(region: InputRegion, points: Tensor) -> Tensor:
    """Points of the regions near the given ones; the nearest, where the region is a box.

    Where balls or linear constraints overlap in a way that projecting on each in turn does not
    settle, points move towards the anchor until they are inside.
    """
    low, high = region.box.lower, region.box.upper
    points = points.clamp(low, high)
    if region.is_box:
        return points
    once = _is_settled_at_once(region)
    for _ in range(ROUNDS):
        if bool(held(region, points).all()):
            return points
        for ball in _balls(region):
            points = _replaced(points, ball, ball.pull(_part(points, ball))).clamp(low, high)
        if once:
            return points
        if region.halfspaces is not None:
            points = _within(region.halfspaces, points).clamp(low, high)
    return _inward(region, points)


def _is_settled_at_once(region: InputRegion) -> bool:
    """Whether a ball alone cuts the boxes, and its centers lie in them.

    Clamping a point of the ball to such a box brings it nearer to the center, so that it stays.
    """
    if region.halfspaces is not None or len(_balls(region)) != 1:
        return False
    (ball,) = _balls(region)
    low, high = _part(region.box.lower, ball), _part(region.box.upper, ball)
    return bool(((low <= ball.center) & (ball.center <= high)).all())


def held(region: InputRegion, points: Tensor) -> Tensor:
    """Whether points keep to all balls and linear constraints, up to rounding: (batch,)."""
    inside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    units = HELD_UNITS * torch.finfo(points.dtype).eps
    for ball in _balls(region):
        offset = (_part(points, ball) - ball.center) * ball.scale
        rounding = units * (ball.size(ball.center * ball.scale) + ball.radius)
        inside = inside & (ball.size(offset) <= ball.radius + rounding)
    if region.halfspaces is not None:
        excess = region.halfspaces.excess(points[:, None])[:, 0]
        sizes = points[:, None].abs() @ region.halfspaces.matrix.abs().transpose(1, 2)
        sizes = sizes[:, 0] + region.halfspaces.limits.abs()
        inside = inside & (excess <= units * sizes).all(1)
    return inside


def _within(halfspaces: HalfSpaces, points: Tensor) -> Tensor:
    """Projected on one half-space after the other."""
    for index in range(halfspaces.matrix.shape[1]):
        row = halfspaces.matrix[:, index]
        excess = ((points * row).sum(1) - halfspaces.limits[:, index]).clamp(min=0)
        square = (row * row).sum(1).clamp(min=torch.finfo(row.dtype).tiny)
        points = points - (excess / square)[:, None] * row
    return points


def _inward(region: InputRegion, points: Tensor) -> Tensor:
    """The farthest points found inside on the way from the anchor to the given ones."""
    anchor = region.anchor
    inside = torch.zeros_like(points[:, :1])
    outside = torch.ones_like(inside)
    whole = held(region, points)[:, None]
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        fits = held(region, anchor + middle * (points - anchor))[:, None]
        inside, outside = middle.where(fits, inside), outside.where(fits, middle)
    return points.where(whole, anchor + inside * (points - anchor))


def _balls(region: InputRegion) -> tuple[Ball, ...]:
    return region.balls.all if region.balls else ()


def _is_whole(ball: Ball, inputs: int) -> bool:
    """Whether the entries of a ball are all entries, in order: then none need be picked out, which
    takes longer than all that is done with them.
    """
    at = ball.positions
    return len(at) == inputs and torch.equal(at, torch.arange(inputs, device=at.device))


def _part(points: Tensor, ball: Ball) -> Tensor:
    """The entries (batch, entries) that a ball speaks about."""
    return points if _is_whole(ball, points.shape[1]) else points[:, ball.positions]


def _replaced(points: Tensor, ball: Ball, part: Tensor) -> Tensor:
    """The points with these entries in the place of those that a ball speaks about."""
    if _is_whole(ball, points.shape[1]):
        return part
    return points.index_copy(1, ball.positions, part)


# --- moving ---------------------------------------------------------------------------------------


def direction(region: InputRegion, gradient: Tensor, norm: Norm | None = None) -> Tensor:
    """Steepest ascent for a gradient, as long as the region's radius.

    The norm says which moves are taken to be equally long: signs of the gradient for linf, the
    gradient itself for l2, the signs of its largest entries for l1. None takes the region's own:
    linf for boxes, else that of the ball. Entries are measured in the region's extents, and the
    length of a move is always that in the region's norm, so that a step of 1 leads from the center
    to the surface.
    """
    half = region.box.radius
    if region.balls is None:
        return _steepest(gradient * half, norm or "linf", "linf") * half
    move = torch.zeros_like(gradient)
    for ball in region.balls.all:
        slopes = _part(gradient, ball) * ball.unit
        move = _replaced(move, ball, _steepest(slopes, norm or ball.norm, ball.norm) * ball.unit)
    rest = region.balls.rest
    if len(rest):
        half = half[:, rest]
        along = _steepest(gradient[:, rest] * half, norm or "linf", "linf") * half
        move = move.index_copy(1, rest, along)
    return move


ORDERS: dict[Norm, float] = {"linf": torch.inf, "l2": 2, "l1": 1}


def _steepest(slopes: Tensor, norm: Norm, length: Norm) -> Tensor:
    """The direction for one norm, scaled to length 1 in another; 0 where all slopes are."""
    if norm == "linf":
        move = slopes.sign()
        if length == "linf":
            return move
    elif norm == "l2":
        # Gradients of sure examples are so small that their squares vanish.
        tiny = torch.finfo(slopes.dtype).tiny
        move = slopes / slopes.abs().amax(1, keepdim=True).clamp(min=tiny)
    else:
        count = max(1, slopes.shape[1] // L1_ENTRIES_PART)
        largest = slopes.abs().topk(count, dim=1).indices
        move = torch.zeros_like(slopes).scatter(1, largest, slopes.gather(1, largest).sign())
    size = torch.linalg.vector_norm(move, ord=ORDERS[length], dim=1, keepdim=True)
    return move / size.clamp(min=torch.finfo(size.dtype).tiny)

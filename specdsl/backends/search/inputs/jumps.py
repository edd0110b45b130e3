"""Jumps that no box is small enough for: where a claim changes across one, and rounding decides.

On either side of a jump bounds converge as boxes shrink. A box that meets it stays open for as long
as the claim fails with the value of either side: down to boxes that rounding cannot place. The
search would fill the whole jump with such boxes. So it walks from one side to the other, up to
neighbouring numbers, looks for witnesses on the way, and asks whether bounds can ever tell there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backends.search.inputs.domains import Domains
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.projection import Projector
from specdsl.graph import ops
from specdsl.graph.graph import Graph

# Open boxes looked at, and points drawn in each to find both sides of a jump.
BOXES, POINTS = 8, 32
# Halving the way between two float64 numbers of one size ends at neighbours after this many.
HALVINGS = 60
# How far from the jump witnesses are looked for, in parts of the way to the points drawn.
NEARBY = (0.0, 1e-9, 1e-6, 1e-3, 0.1)


def has_steps(graph: Graph) -> bool:
    """Whether some op jumps."""
    return any(isinstance(op, ops.Step) for _, op, _ in graph)


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """Ways across jumps: `left` and `right` are neighbours with a jump between them, `far_left` and
    `far_right` where the way began. Shapes: (ways, inputs).
    """

    left: Tensor
    right: Tensor
    far_left: Tensor
    far_right: Tensor

    def nearby(self) -> Tensor:
        """Points on both sides, at the jump and further away: (points, inputs)."""
        ways = ((self.left, self.far_left), (self.right, self.far_right))
        return torch.cat([near + part * (far - near) for near, far in ways for part in NEARBY])


def crossings(compiled: CompiledGraph, domains: Domains, projector: Projector) -> Crossings:
    """One way across a jump from each of the first domains in which points on both sides are met;
    the ways stay in the projector's set, which is convex.
    """
    some = domains.take(torch.arange(min(BOXES, len(domains)), device=domains.lower.device))
    generator = torch.Generator().manual_seed(0)
    inputs = some.lower.shape[1]
    unit = torch.rand(POINTS, inputs, generator=generator, dtype=some.lower.dtype)
    unit[: POINTS // 2] = unit[: POINTS // 2].round()
    unit = unit.to(some.lower.device)
    points = some.lower[:, None] + unit * (some.upper - some.lower)[:, None]
    flat = projector.approach(points.flatten(0, 1))
    all_sides = sides(compiled, flat).unflatten(0, points.shape[:2])
    points = flat.unflatten(0, points.shape[:2])
    pairs = [_both_sides(side, at) for side, at in zip(all_sides, points, strict=True)]
    found = [pair for pair in pairs if pair is not None]
    if not found:
        none = some.lower[:0]
        return Crossings(none, none, none, none)
    far = torch.stack([pair.points for pair in found])
    return _walk(compiled, far, torch.tensor([pair.entry for pair in found], device=far.device))


def sides(compiled: CompiledGraph, points: Tensor) -> Tensor:
    """On which side of its jumps the argument of every step lies: (points, entries).

    The sign where it jumps at 0 alone, else the value, which tells the sides apart.
    """
    with torch.no_grad():
        values = node_values(compiled, points)
    found = [
        values[operands[0]].sign() if isinstance(op, ops.Threshold) else values[node]
        for node, op, operands in compiled.graph
        if isinstance(op, ops.Step)
    ]
    return torch.cat([side.flatten(1) for side in found], 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two points (2, inputs) on different sides of a jump of entry `entry` of the steps."""

    points: Tensor
    entry: int


def _both_sides(side: Tensor, points: Tensor) -> _Pair | None:
    """The entry whose sides are divided most evenly; side (points, entries)."""
    below = (side < side.mean(0)).sum(0)
    balance = torch.minimum(below, len(side) - below)
    entry = int(balance.argmax())
    if not balance[entry]:
        return None
    column = side[:, entry]
    ends = torch.stack([points[column.argmin()], points[column.argmax()]])
    return _Pair(ends, entry)


def _walk(compiled: CompiledGraph, far: Tensor, entries: Tensor) -> Crossings:
    """Halve the ways between far[:, 0] and far[:, 1], keeping a jump of each way's own entry."""
    left, right = far[:, 0], far[:, 1]
    own = entries[:, None]
    start = sides(compiled, left).gather(1, own)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        same = sides(compiled, middle).gather(1, own) == start
        left, right = middle.where(same, left), right.where(same, middle)
    return Crossings(left, right, far[:, 0], far[:, 1])

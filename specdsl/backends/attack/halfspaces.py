"""Atoms that are linear in the inputs alone: points are moved into them, not searched for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import affine_rows
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import InputRegion

# Projections on the condition that is broken most, one after the other.
ROUNDS = 10
# Points are moved past a condition's boundary by this part of how far it varies over the box: on
# the boundary itself, rounding would decide.
INSIDE_PART = 1e-6
# A condition broken by less than this part counts as kept: exact arithmetic has the last word.
NEAR_PART = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class HalfSpaces:
    """`normals . x + constants <= 0`, each for the cases that say so.

    Distances are measured in parts of the edges of the box that a point is in. Shapes: normals
    (conditions, inputs); constants (conditions,); `holds_in` (cases, conditions), which case has
    which condition.
    """

    normals: Tensor
    constants: Tensor
    holds_in: Tensor

    @classmethod
    def of(
        cls, compiled: CompiledGraph, rows: Tensor, atoms: Tensor, region: InputRegion
    ) -> HalfSpaces:
        """The linear ones of some margins of a graph, for cases over a batch of boxes.

        Shapes: rows (margins,), entries of the output; atoms (cases, atoms), which of the margins
        each case has; numbers past the last one are none.
        """
        graph = compiled.graph
        chosen = compiled.like.new_zeros(1, len(rows), graph.size(graph.output))
        chosen[0, torch.arange(len(rows), device=rows.device), rows] = 1.0
        shaped = chosen.reshape(1, len(rows), *graph.shapes[graph.output])
        found = affine_rows(compiled, graph.output, shaped)
        width = (region.box.upper - region.box.lower).amax(0)
        used = found.is_affine & ((found.coefficients.abs() * width).sum(1) > 0)
        marked = torch.zeros(len(atoms), len(rows) + 2, dtype=torch.bool, device=rows.device)
        holds_in = marked.scatter(1, atoms, True)[:, : len(rows)]
        return cls(found.coefficients[used], found.constant[used], holds_in[:, used])

    def project(self, points: Tensor, cases: Tensor, ground: Projector) -> Tensor:
        """Points of their boxes nearer to where all conditions of their case hold.

        Shapes: points (points, inputs), cases (points,).
        """
        if not len(self.constants):
            return points
        width = ground.width
        reach, square = self._sizes(width)
        wanted = self.holds_in[cases] & (square > 0)
        square = square.clamp(min=torch.finfo(square.dtype).tiny)
        for _ in range(ROUNDS):
            values = points @ self.normals.T + self.constants + INSIDE_PART * reach
            broken = values.clamp(min=0) * wanted
            # By how much of the box each is broken.
            worst = (broken / square.sqrt()).max(1)
            if not bool((worst.values > 0).any()):
                break
            at = worst.indices[:, None]
            amount = broken.gather(1, at) / square.expand_as(broken).gather(1, at)
            move = self.normals[worst.indices] * width * width
            points = ground.approach(points - amount * move)
        return points

    def round(self, points: Tensor, cases: Tensor, ground: Projector) -> Tensor:
        """Points of their sets with whole numbers where they must be, which keep the conditions
        better than the nearest ones do: the sum of entries that say which class it is stays 1.

        Where a condition is broken, one whole number moves by 1 to mend it, the one that goes least
        out of its way. Shapes as in `project`.
        """
        rounded = ground.project(points)
        integers = ground.integers
        if not len(self.constants) or not integers.numel():
            return rounded
        normals = self.normals[:, integers]
        box = ground.region.box
        low, high = box.lower[:, integers], box.upper[:, integers]
        reach, _ = self._sizes(ground.width)
        wanted = self.holds_in[cases] & (reach > 0)
        for _ in range(ROUNDS):
            values = rounded @ self.normals.T + self.constants
            broken = (values > NEAR_PART * reach) & wanted
            if not bool(broken.any()):
                break
            worst = (values / reach).where(broken, torch.zeros_like(values)).argmax(1)
            down = -normals[worst].sign()
            moved = rounded[:, integers] + down
            away = (moved - points[:, integers]).abs()
            useless = (down == 0) | (moved < low) | (moved > high) | ~broken.any(1, keepdim=True)
            away = away.where(~useless, torch.full_like(away, torch.inf))
            best = away.min(1)
            step = torch.zeros_like(moved).scatter(
                1, best.indices[:, None], down.gather(1, best.indices[:, None])
            )
            rounded[:, integers] += step * best.values.isfinite()[:, None]
        return rounded

    def _sizes(self, width: Tensor) -> tuple[Tensor, Tensor]:
        """How far the conditions' left sides vary over boxes of these edges (boxes, inputs), and
        how far they fall for a unit of their steepest descent: (boxes, conditions) each.
        """
        reach = width @ self.normals.abs().T
        return reach, (width * width) @ (self.normals * self.normals).T

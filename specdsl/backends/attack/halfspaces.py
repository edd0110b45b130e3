"""Atoms that are linear in the inputs alone: points are moved into them, not searched for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.margins import margin_rows
from specdsl.bounds.passes.crown import affine_rows
from specdsl.bounds.regions.projection import Projector
from specdsl.query.groups import CaseGroup

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

    Distances are measured in parts of the box's edges. Shapes: normals, moves (conditions, inputs);
    constants, reach (conditions,); `moves` is what brings a point one unit of the condition's left
    side down, `reach` how far that side varies over the box; `holds_in` (cases, conditions), which
    case has which condition.
    """

    projector: Projector
    normals: Tensor
    constants: Tensor
    moves: Tensor
    reach: Tensor
    holds_in: Tensor

    @classmethod
    def of(cls, compiled: CompiledGraph, group: CaseGroup, projector: Projector) -> HalfSpaces:
        """The linear atoms of a group."""
        graph = compiled.graph
        rows = margin_rows(compiled, group)
        shaped = rows.reshape(1, rows.shape[1], *graph.shapes[graph.output])
        found = affine_rows(compiled, graph.output, shaped)
        width = projector.width
        reach = (found.coefficients.abs() * width).sum(1)
        used = found.is_affine & (reach > 0)
        normals = found.coefficients[used]
        moves = normals * width * width
        moves = moves / (normals * moves).sum(1, keepdim=True)
        holds_in = torch.zeros(len(group.atoms), rows.shape[1], dtype=torch.bool)
        for case, atoms in enumerate(group.atoms):
            holds_in[case, [a.index for a in atoms]] = True
        constants = found.constant[used]
        return cls(projector, normals, constants, moves, reach[used], holds_in[:, used])

    def project(self, points: Tensor, cases: Tensor) -> Tensor:
        """Points of the box nearer to where all conditions of their case hold.

        Shapes: points (points, inputs), cases (points,).
        """
        if not len(self.constants):
            return points
        wanted = self.holds_in[cases]
        for _ in range(ROUNDS):
            values = points @ self.normals.T + self.constants + INSIDE_PART * self.reach
            broken = values.clamp(min=0) * wanted
            # By how much of the box each is broken.
            depth = broken * (self.moves / self.projector.width.clamp(min=1e-300)).norm(dim=1)
            worst = depth.max(1)
            if not bool((worst.values > 0).any()):
                break
            amount = broken.gather(1, worst.indices[:, None])
            points = self.projector.approach(points - amount * self.moves[worst.indices])
        return points

    def round(self, points: Tensor, cases: Tensor) -> Tensor:
        """Points of the set with whole numbers where they must be, which keep the conditions better
        than the nearest ones do: the sum of entries that say which class it is stays 1.

        Where a condition is broken, one whole number moves by 1 to mend it, the one that goes least
        out of its way. Shapes as in `project`.
        """
        projector = self.projector
        rounded = projector.project(points)
        integers = projector.integers
        if not len(self.constants) or not integers.numel():
            return rounded
        normals = self.normals[:, integers]
        box = projector.region.box
        low, high = box.lower[:, integers], box.upper[:, integers]
        for _ in range(ROUNDS):
            values = rounded @ self.normals.T + self.constants
            broken = (values > NEAR_PART * self.reach) & self.holds_in[cases]
            if not bool(broken.any()):
                break
            worst = (values / self.reach).where(broken, torch.zeros_like(values)).argmax(1)
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

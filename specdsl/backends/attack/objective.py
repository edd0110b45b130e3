"""The one function that every attack lowers: how far a point is from each case of its set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.halfspaces import HalfSpaces
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import InputRegion, input_region, outward_box
from specdsl.graph.graph import Graph
from specdsl.graph.work import work
from specdsl.query.groups import CaseGroup
from specdsl.query.sets import InputSet

# Points are measured in parts, and the clock is read between them. 2^30 multiplications and
# additions are about a tenth of a second on one core, three tenths with the way back.
PART_WORK = 2**30
# 512 MiB in float64 on the way forward, which the way back needs.
PART_VALUES = 2**26


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """Distances of points to the cases of their sets, (points, width), those to their own cases,
    (points,), and the gradients of what they are to lower, (points, inputs); 0 where that has no
    value.
    """

    distance: Tensor
    own: Tensor
    gradient: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """Distances of points to cases over one set or over several boxes.

    The distance to a case is the largest of its margins, each divided by `scale` (margins,), which
    says how much it varies: else the margin with the largest numbers leads. Not positive means that
    the point is in the case.

    A case is a number below `count`; its set is `home[case]`, a row of `region`; `slot[case]` its
    place among the cases of that set, of which there are `width` at most. `members` (sets, width):
    positions in the query. `table` (sets, width, atoms): the margins that a case has, with -inf
    after the last one and +inf where there is no case. Points are measured `at_once` at most.
    """

    compiled: CompiledGraph
    region: InputRegion
    integers: Tensor
    conditions: HalfSpaces
    rows: Tensor
    home: Tensor
    slot: Tensor
    members: Tensor
    table: Tensor
    scale: Tensor
    at_once: int

    @classmethod
    def of(
        cls,
        compiled: CompiledGraph,
        groups: Sequence[CaseGroup],
        region: InputRegion,
        integers: Tensor,
    ) -> Objective:
        """Of groups of cases, each over its row of the region; unscaled, see `scaled`."""
        device = compiled.like.device
        rows = sorted({int(row) for group in groups for row in group.rows})
        column = {row: i for i, row in enumerate(rows)}
        width = max(len(group.members) for group in groups)
        longest = max(1, *(len(atoms) for group in groups for atoms in group.atoms))
        members = torch.full((len(groups), width), -1)
        table = torch.full((len(groups), width, longest), len(rows) + 1)
        home: list[int] = []
        slot: list[int] = []
        for i, group in enumerate(groups):
            members[i, : len(group.members)] = torch.tensor(group.members)
            for k, atoms in enumerate(group.atoms):
                home.append(i)
                slot.append(k)
                own = [column[int(group.rows[atom.index])] for atom in atoms]
                table[i, k] = len(rows)
                table[i, k, : len(own)] = torch.tensor(own, dtype=torch.int64)
        numbers = torch.tensor(rows, dtype=torch.int64, device=device)
        own_rows = table[home, slot].to(device)
        conditions = HalfSpaces.of(compiled, numbers, own_rows, region)
        return cls(
            compiled,
            region,
            integers,
            conditions,
            numbers,
            torch.tensor(home, device=device),
            torch.tensor(slot, device=device),
            members.to(device),
            table.to(device),
            scale=compiled.like.new_ones(len(rows)),
            at_once=points_at_once(compiled.graph),
        )

    @property
    def count(self) -> int:
        """Number of cases."""
        return len(self.home)

    def ground(self, cases: Tensor) -> Projector:
        """Keeps each point in the set of its case: (points,)."""
        if self.region.batch == 1:
            return Projector(self.region, self.integers)
        return Projector(self.region.take(self.home[cases]), self.integers)

    def scaled(self, points: Tensor) -> Objective:
        """With the standard deviation of each margin over these points as its scale."""
        with torch.no_grad():
            margins = evaluate(self.compiled, points)[:, self.rows]
        spread = (margins - margins.mean(0)).square().mean(0).sqrt()
        size = torch.finfo(spread.dtype).eps * (1 + margins.abs().amax(0))
        usable = (spread > size) & spread.isfinite()
        return replace(self, scale=spread.where(usable, torch.ones_like(spread)))

    def distance(self, points: Tensor, cases: Tensor, deadline: Deadline) -> Tensor:
        """Distances to all cases of their sets: (points, width). Raises OutOfTime.

        Shapes: points (points, inputs), cases (points,).
        """
        parts: list[Tensor] = []
        for part, case in zip(points.split(self.at_once), cases.split(self.at_once), strict=True):
            deadline.check()
            with torch.no_grad():
                parts.append(self._atoms(part, case).amax(2))
        return torch.cat(parts)

    def own(self, distance: Tensor, cases: Tensor) -> Tensor:
        """The distances to the points' own cases: (points, width) to (points,)."""
        return distance.gather(1, self.slot[cases, None])[:, 0]

    def slope(self, points: Tensor, cases: Tensor, every: Tensor, deadline: Deadline) -> Slope:
        """With the gradient of the distance to the case of each point, or where `every` says so, of
        the sum of the case's positive margins: the largest one alone hides what the others want.

        Shapes: points (points, inputs); cases, every (points,). Raises OutOfTime.
        """
        found: list[tuple[Tensor, Tensor]] = []
        parts = zip(*(t.split(self.at_once) for t in (points, cases, every)), strict=True)
        for point, case, sums in parts:
            deadline.check()
            asked = point.detach().requires_grad_(True)
            atoms = self._atoms(asked, case)
            own = atoms[torch.arange(len(case), device=case.device), self.slot[case]]
            lowered = own.clamp(min=0).sum(1).where(sums, own.amax(1))
            lowered = lowered.where(lowered.isfinite(), 0.0)
            gradient = torch.zeros_like(point)
            if lowered.requires_grad:
                (gradient,) = torch.autograd.grad(lowered.sum(), asked)
            found.append((atoms.detach().amax(2), gradient.where(gradient.isfinite(), 0.0)))
        distances, gradients = zip(*found, strict=True)
        distance = torch.cat(distances)
        return Slope(distance, self.own(distance, cases), torch.cat(gradients))

    def _atoms(self, points: Tensor, cases: Tensor) -> Tensor:
        """Scaled margins of all cases of the points' sets: (points, width, atoms)."""
        margins = evaluate(self.compiled, points)[:, self.rows] / self.scale
        # Where a function has no value there is no witness.
        margins = margins.where(margins.isfinite(), torch.inf)
        ends = margins.new_tensor([-torch.inf, torch.inf]).expand(len(margins), 2)
        filled = torch.cat([margins, ends], dim=1)
        table = self.table[self.home[cases]].flatten(1)
        return filled.gather(1, table).reshape(len(points), *self.table.shape[1:])


def points_at_once(graph: Graph) -> int:
    """How many points are measured together: fewer where the graph is large."""
    values = sum(graph.size(node) for node in graph.order)
    return max(1, min(PART_WORK // work(graph), PART_VALUES // max(1, values)))


def stacked(sets: Sequence[InputSet], like: Tensor) -> InputRegion:
    """A batch of the float64 hulls of sets that have the same balls, or none."""
    ends = [inputs.box.float_bounds() for inputs in sets]
    lower, upper = (np.stack(side) for side in zip(*ends, strict=True))
    return InputRegion(outward_box(lower, upper, like), input_region(sets[0], like).balls)

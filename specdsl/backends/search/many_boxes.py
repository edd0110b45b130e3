"""Branch and bound over thousands of small boxes at a time, each with cases of its own.

Every batch takes parts of as many boxes as there are: one box alone is split into few parts, which
fill no batch. Boxes that do not close in a while are left to the search of a single group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.prepared import Prepared
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.problem import Progress
from specdsl.bounds.interval import Interval
from specdsl.bounds.many_boxes import ManyBoxes, batches
from specdsl.bounds.passes.forward import evaluate
from specdsl.query.groups import CaseGroup

# Parts of one box that are bounded before it is left to a search of its own, which has CROWN's
# bounds and clips.
MAX_PARTS = 2000
# What an edge counts that margins do not seem to react to, in parts of the best edge.
IDLE_PART = 0.05


def search_many(
    prepared: Prepared,
    confirmer: Confirmer,
    deadline: Deadline,
    progress: Progress,
) -> tuple[CaseGroup, ...] | None:
    """The groups that are left open; None where a witness was met, which the confirmer has.

    Inputs are any real numbers. Raises OutOfTime.
    """
    margins, groups = prepared.margins, prepared.groups
    closed: set[CaseGroup] = set()
    for batch in batches(margins, groups, prepared.like):
        boxes = ManyBoxes.of(margins, batch.groups, batch.box, deadline)
        found = _Parts.whole(boxes, confirmer, progress).split(deadline)
        if found is None:
            return None
        closed.update(group for i, group in enumerate(batch.groups) if i not in found)
    return tuple(group for group in groups if group not in closed)


@dataclass(slots=True, eq=False)
class _Parts:
    """What is open of the boxes of a batch: parts (parts, inputs) of the boxes at `home` (parts,),
    the next ones last. `count`: parts bounded of each box; `left`: boxes that were given up.
    """

    boxes: ManyBoxes
    confirmer: Confirmer
    progress: Progress
    lower: Tensor
    upper: Tensor
    home: Tensor
    count: Tensor
    left: set[int] = field(default_factory=set[int])

    @classmethod
    def whole(cls, boxes: ManyBoxes, confirmer: Confirmer, progress: Progress) -> _Parts:
        """Every box as one part."""
        box = boxes.region.box
        home = torch.arange(len(box.lower), device=box.lower.device)
        return cls(boxes, confirmer, progress, box.lower, box.upper, home, torch.zeros_like(home))

    def split(self, deadline: Deadline) -> set[int] | None:
        """The boxes that are left open, or None where a witness was met. Raises OutOfTime."""
        at_once = self.boxes.at_once
        while len(self.home):
            deadline.check()
            box, home = self._pop(at_once)
            least = self.boxes.least(box, home)
            self._count(home, least)
            is_open = (least <= 0).any(1)
            box, home = Interval(box.lower[is_open], box.upper[is_open]), home[is_open]
            if not len(home):
                continue
            slope = self._slope(box, home, least[is_open])
            if slope is None:
                return None
            self._push_halves(box, home, slope)
        return self.left

    def _pop(self, count: int) -> tuple[Interval, Tensor]:
        box, home = Interval(self.lower[-count:], self.upper[-count:]), self.home[-count:]
        self.lower, self.upper = self.lower[:-count], self.upper[:-count]
        self.home = self.home[:-count]
        return box, home

    def _count(self, home: Tensor, least: Tensor) -> None:
        self.count += torch.bincount(home, minlength=len(self.count))
        closed = (least > 0).all(1)
        self.progress.domains += len(home)
        self.progress.refute(int(closed.sum()), bounded=False)
        if bool(closed.any()):
            self.progress.bound = min(self.progress.bound, float(least[closed].min()))

    def _slope(self, box: Interval, home: Tensor, least: Tensor) -> Tensor | None:
        """How steep the open cases are at the middle of each part: (parts, inputs); None where a
        witness was met there, or in the corner where the steepest descent leads.
        """
        middle = box.center.requires_grad_(True)
        margins = self._margins(middle, home)
        deciding = self.boxes.deciding(margins, home)
        wanted = deciding.masked_fill(least > 0, 0.0)
        wanted = wanted.where(wanted.isfinite(), 0.0).sum()
        slope = torch.zeros_like(box.lower)
        if wanted.requires_grad:
            (slope,) = torch.autograd.grad(wanted, middle)
        slope = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        corner = box.lower.where(slope > 0, box.upper)
        with torch.no_grad():
            at_corner = self.boxes.deciding(self._margins(corner, home), home)
        met = self._confirmed(middle.detach(), home, deciding.detach())
        return None if met or self._confirmed(corner, home, at_corner) else slope.abs()

    def _margins(self, points: Tensor, home: Tensor) -> Tensor:
        """The margins that each point's group reads: (points, width)."""
        values = evaluate(self.boxes.compiled, points)
        picked = values.gather(1, self.boxes.rows.argmax(2)[home])
        # Where a function has no value there is no witness.
        return picked.where(picked.isfinite(), torch.inf)

    def _confirmed(self, points: Tensor, home: Tensor, deciding: Tensor) -> bool:
        for at, slot in (deciding <= 0).nonzero().tolist():
            member = self.boxes.groups[int(home[at])].members[slot]
            if self.confirmer.confirm(points[at], member):
                return True
        return False

    def _push_halves(self, box: Interval, home: Tensor, slope: Tensor) -> None:
        """Cut the parts in halves; boxes that cannot be cut, or too often were, are left."""
        edge = box.upper - box.lower
        whole = self.boxes.region.box
        score = slope * edge
        score = score / score.amax(1, keepdim=True).clamp(min=torch.finfo(edge.dtype).tiny)
        share = edge / (whole.upper - whole.lower)[home]
        score = score + IDLE_PART * share.nan_to_num(nan=0.0)
        middle = box.center
        score = score.masked_fill((middle <= box.lower) | (middle >= box.upper), -1.0)
        best = score.max(1)
        stuck = (best.values < 0) | (self.count[home] >= MAX_PARTS)
        self.left.update(home[stuck].tolist())
        given_up = torch.zeros_like(self.count, dtype=torch.bool)
        given_up[list(self.left)] = True
        waiting, kept = ~given_up[self.home], ~given_up[home]
        at = best.indices[kept, None]
        lower, upper, middle = box.lower[kept], box.upper[kept], middle[kept].gather(1, at)
        below, above = upper.scatter(1, at, middle), lower.scatter(1, at, middle)
        self.lower = torch.cat([self.lower[waiting], lower, above])
        self.upper = torch.cat([self.upper[waiting], below, upper])
        self.home = torch.cat([self.home[waiting], home[kept], home[kept]])

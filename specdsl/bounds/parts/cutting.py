"""Where to cut the interval of an entry: by what reads it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.parts.known import Known, Reading
from specdsl.graph import ops


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Where entries change what ops that read them do.

    `corners`: numbers, and which entries have a corner there, (entries,). `least`, `most`:
    (entries,), between which an entry may be the largest of its groups and need not be; infinite
    where other ops than maxima read it.
    """

    corners: tuple[tuple[float, Tensor], ...]
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, known: Known) -> Cuts:
        """Those of all entries, on the whole region."""
        graph, count = known.compiled.graph, known.entries.count
        like = known.compiled.like
        corners: dict[float, Tensor] = {}
        least, most = like.new_full((count,), torch.inf), like.new_full((count,), -torch.inf)
        others = like.new_zeros(count, dtype=torch.bool)
        for node, readings in known.readings.items():
            op = graph.op(node)
            for reading in readings:
                read = reading.numbers[reading.numbers >= 0]
                if isinstance(op, ops.GroupMax):
                    operand = known.bounds[graph.operands(node)[reading.operand]]
                    _contest(op, operand, reading, least, most)
                else:
                    others[read] = True
                for corner in op.breakpoints if isinstance(op, ops.PiecewiseLinear) else ():
                    has_corner = corners.setdefault(corner, torch.zeros_like(others))
                    has_corner[read] = True
        least, most = least.masked_fill(others, -torch.inf), most.masked_fill(others, torch.inf)
        return cls(tuple(corners.items()), least, most)

    def points(self, numbers: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Where to cut entries `numbers` that lie between `low` and `high`: (batch,) each.

        At a corner of what reads an entry; where maxima alone read it, in the middle of where it
        decides; else halfway.
        """
        least, most = low.maximum(self.least[numbers]), high.minimum(self.most[numbers])
        decides = least < most
        points = (least.where(decides, low) + most.where(decides, high)) / 2
        for corner, entries in self.corners:
            points = points.masked_fill(entries[numbers] & (low < corner) & (corner < high), corner)
        return points


def _contest(op: ops.GroupMax, x: Interval, reading: Reading, least: Tensor, most: Tensor) -> None:
    """Widen what entries are noted to decide between by the groups of one op.

    Below all lower bounds an entry is never the largest; above the second largest upper bound one
    that may reach that far always is.
    """
    members = torch.as_tensor(op.groups, device=x.lower.device).flatten(0, -2)
    lower, upper = x.lower.flatten(1)[0, members], x.upper.flatten(1)[0, members]
    floor = lower.amax(1, keepdim=True).expand(members.shape)
    second = upper.topk(min(2, upper.shape[1]), dim=1).values[:, -1:].expand(members.shape)
    numbers = reading.numbers[members]
    read = numbers >= 0
    least.scatter_reduce_(0, numbers[read], floor[read], "amin")
    most.scatter_reduce_(0, numbers[read], second[read], "amax")

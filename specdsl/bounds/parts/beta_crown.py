"""beta-CROWN: bounds on the part of a region where inner values lie in given intervals.

A constraint `z >= l` on an inner value takes `multiplier * (z - l)` off a row, which is not
negative where it holds; one of the other kind likewise. What is left is bounded as ever. Any
multipliers of the right sign give a sound bound; they are raised together with the places of
alpha-CROWN, by the gradient of the bound itself. On a part where no choice of pieces is left, the
best multipliers give the optimum of the linear program.

Source: Wang et al. 2021, arXiv:2103.06624, for ReLUs; here for intervals of any value that a
nonlinear op reads. Graphs that are rounded outward at every node are so on parts as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch
from torch import Tensor

from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.parts.ascent import Assumption, PartAscent, PartRows, Target, Weighed
from specdsl.bounds.parts.known import Constraints
from specdsl.bounds.parts.lines import PartLines
from specdsl.bounds.passes.crown import linear_lower
from specdsl.bounds.rows.backward import unit_rows, walk
from specdsl.bounds.rows.rows import Rows
from specdsl.graph.graph import NodeId


class PartBounds(PartLines):
    """Bounds rows on one batch of parts; the relaxations there are worked out once."""

    def rows(
        self,
        rows: Tensor,
        start: Mapping[NodeId, Places],
        multipliers: Tensor,
        steps: int = 0,
        enough: float = inf,
        *,
        with_gaps: bool = False,
    ) -> PartRows:
        """Bounds of `rows . output`, (batch, rows, *output), after so many steps of ascent from
        `start` and `multipliers` (batch, rows, split). Ascent ends early where a row of every part
        is above `enough`. What is given may have another dtype.
        """
        like = self.known.compiled.like
        places = {n: p.to(like) for n, p in start.items()}
        narrowed = self.parts.narrow(multipliers.to(like))
        target = Target(self.known.compiled.graph.output, rows.to(like), None)
        ascent = PartAscent(self, target, places, narrowed, like.new_zeros(1, 1, 0))
        if steps > 0:
            ascent.raise_all(steps, enough)
        return ascent.final(with_gaps)

    def inner_rows(
        self,
        node: NodeId,
        rows: Tensor,
        assumption: Assumption,
        start: Weighed | None = None,
        steps: int = 0,
    ) -> Weighed:
        """Lower bounds of `rows . value(node)`, (1, rows, *node), at the points of every part that
        meet an assumption, after so many steps of ascent. Source: Kotha et al. 2023,
        arXiv:2302.01404.
        """
        like, batch = self.known.compiled.like, self.region.batch
        count, atoms = rows.shape[1], len(assumption.rows)
        if start is None:
            multipliers = like.new_zeros(batch, count, len(self.parts.numbers))
            weights, places = like.new_zeros(batch, count, atoms), {}
        else:
            multipliers = self.parts.narrow(start.multipliers.to(like))
            weights = start.weights.to(like).nan_to_num(nan=0.0).clamp(min=0.0)
            places = {n: p.to(like) for n, p in start.places.items()}
        target = Target(node, rows.to(like), assumption.to(like))
        ascent = PartAscent(self, target, places, multipliers, weights)
        if steps > 0:
            ascent.raise_all(steps, inf)
        return ascent.weighed(with_slopes=steps == 0)

    def constraints(self) -> Constraints:
        """What the splits of the only part say about the input, by the usual relaxations."""
        compiled, entries, parts = self.known.compiled, self.known.entries, self.parts
        inputs = self.region.box.lower.shape[1]
        like = compiled.like
        found = [Constraints(like.new_zeros(0, inputs), like.new_zeros(0), like.new_zeros(0))]

        def through(current: NodeId, passing: Rows) -> Passed:
            return self.relaxations.lines[current].through(passing)

        for sign, cut, ends in ((-1.0, parts.below, parts.lower), (1.0, parts.above, parts.upper)):
            for i, node in enumerate(entries.nodes):
                here = (entries.here(parts.numbers, i) & cut[0]).nonzero()[:, 0]
                if not len(here):
                    continue
                columns = entries.positions(parts.numbers[here], i)
                start, rows = unit_rows(compiled, node, columns, like.new_full((len(here),), sign))
                line = linear_lower(walk(compiled, start, rows, through), self.region)
                most = sign * ends[0, here].to(like)
                found.append(Constraints(line.coefficients[0], line.constant[0], most))
        return Constraints(
            torch.cat([part.coefficients for part in found]),
            torch.cat([part.constant for part in found]),
            torch.cat([part.most for part in found]),
        )

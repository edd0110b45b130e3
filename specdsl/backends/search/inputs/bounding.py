"""How a batch of boxes is bounded: by the graph cut down to what is unstable there, or as it is.

Where many neurons are open, forward linear bounds tell first which are stable: they cost as much as
a few rows for each input that varies. Boxes that leave too many open together are taken apart;
those that do alone get forward bounds inside, and CROWN of their margins. What CROWN says of the
whole set holds on every box, and is much tighter than forward bounds where layers are many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.problem import Problem
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import (
    MarginBounds,
    bound_margins,
    interval_margins,
    less_rounding,
    margin_rows,
)
from specdsl.bounds.passes.crown import LinearLower, Propagated, propagate
from specdsl.bounds.passes.forward_linear import forward_bounds, varying_inputs
from specdsl.bounds.passes.reduced import (
    Neurons,
    bound_reduced,
    count_open,
    reduce_graph,
    with_bounds,
)
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.graph import NodeId

# Up to so many neurons are variables without a question, and up to so many at all.
FEW_OPEN, MOST_OPEN = 512, 1024
# Of graphs with fewer neurons than this, up to so many times more boxes are bounded at a time: a
# batch waits for calls of torch there, not for memory.
FEW_NEURONS, MOST_BATCHES = 256, 4
# Coefficients of a graph that is being reduced, on its widest value: 128 MiB of float64.
MAX_REDUCED = 2**24
# Coefficients of forward bounds of a batch, on the widest value (32 MiB): boxes of large networks
# are taken fewer at a time, but so many at least.
MAX_FORWARD, LEAST_BATCH = 2**22, 8


@dataclass(frozen=True, slots=True, eq=False)
class BoxBounds:
    """Bounds of the margins of a group on a batch of boxes.

    `by_intervals`: (batch, rows), or None where they were not computed. `codes`: (batch, neurons),
    what parts of the boxes inherit. `propagated`: bounds of every node, where the graph was taken
    as it is and steps may need them.
    """

    margins: MarginBounds
    by_intervals: Tensor | None
    codes: Tensor
    propagated: Propagated | None

    @classmethod
    def joined(cls, parts: list[BoxBounds], order: Tensor) -> BoxBounds:
        """The parts one after the other, then put in this order."""
        linear = [part.margins.linear for part in parts]
        margins = MarginBounds(
            LinearLower(
                torch.cat([each.coefficients for each in linear])[order],
                torch.cat([each.constant for each in linear])[order],
                torch.cat([each.lower for each in linear])[order],
            ),
            torch.cat([part.margins.proven for part in parts])[order],
        )
        return cls(margins, None, torch.cat([part.codes for part in parts])[order], None)


@dataclass(slots=True)
class Bounder:
    """`neurons`: None where the graph cannot be reduced; `checked`: whether functions are known to
    have values on the whole set, which the first batch is. `batch`: how many boxes are bounded at a
    time, fewer than asked for on large graphs and more on small ones. `known`: bounds on the whole
    set, once they were asked for: they hold on every box.
    """

    problem: Problem
    root: InputRegion
    batch: int = field(init=False)
    rows: Tensor = field(init=False)
    neurons: Neurons | None = field(init=False)
    widest: int = field(init=False)
    known: Mapping[NodeId, Interval] | None = None
    checked: bool = False

    def __post_init__(self) -> None:
        compiled, options = self.problem.compiled, self.problem.options
        self.batch = options.batch
        self.rows = margin_rows(compiled, self.problem.group)
        reduces = options.reduce and self.root.is_box
        self.neurons = Neurons.of(compiled) if reduces else None
        self.widest = max(compiled.graph.size(node) for node in compiled.graph.order)
        neurons = sum(compiled.graph.size(node) for node in compiled.rules)
        self.batch *= max(1, min(MOST_BATCHES, FEW_NEURONS // max(1, neurons)))
        if self.neurons is not None:
            fitting = MAX_FORWARD // (varying_inputs(self.root).numel() * self.widest)
            self.batch = min(self.batch, max(fitting, LEAST_BATCH))

    @property
    def ahead(self) -> int:
        """How many boxes may be made at a time by halving more than once, without bounds between:
        where a box is dear, no more than pay.
        """
        if self.neurons is not None and len(self.neurons.blank) > FEW_OPEN:
            return min(self.batch, LEAST_BATCH)
        return self.batch

    def no_codes(self, count: int) -> Tensor:
        """Codes of so many boxes of which nothing is known."""
        if self.neurons is None:
            return torch.zeros(count, 0, dtype=torch.int8, device=self.problem.compiled.like.device)
        return self.neurons.blank.expand(count, -1)

    def bound(self, region: InputRegion, codes: Tensor, deadline: Deadline) -> BoxBounds:
        """Bounds on a batch with inherited codes. Raises as `propagate`."""
        neurons = self.neurons
        if neurons is None:
            return self._as_it_is(region, codes, deadline)
        with torch.no_grad():
            if count_open(codes) <= FEW_OPEN:
                return self._reduced(neurons, region, codes, deadline)
            if self.known is None:
                self.known = self._on_the_whole_set(deadline)
                codes = with_bounds(self.problem.compiled, neurons, codes, self.known)
            if not self._passes_forward(region):
                if self._fits(count_open(codes)):
                    return self._reduced(neurons, region, codes, deadline)
                return self._as_it_is(region, codes, deadline)
            found = forward_bounds(self.problem.compiled, region, checked=True, known=self.known)
            known = found.bounds
            codes = with_bounds(self.problem.compiled, neurons, codes, known)
            return self._by_size(neurons, region, codes, known, deadline)

    def _on_the_whole_set(self, deadline: Deadline) -> Mapping[NodeId, Interval]:
        """CROWN's bounds of what nonlinear ops read; nothing where there are many sets, of which
        none would be kept for the next stage.
        """
        prepared, group = self.problem.prepared, self.problem.group
        if len(prepared.groups) > 1:
            return {}
        bounds = prepared.crown(group, deadline).bounds
        return {node: bounds[node] for node in self.problem.compiled.pre_activations}

    def _passes_forward(self, region: InputRegion) -> bool:
        coefficients = varying_inputs(region).numel() * self.widest * region.batch
        return coefficients <= MAX_FORWARD or region.batch <= LEAST_BATCH

    def _fits(self, count: int) -> bool:
        return count <= MOST_OPEN and count * self.widest <= MAX_REDUCED

    def _by_size(
        self,
        neurons: Neurons,
        region: InputRegion,
        codes: Tensor,
        known: Mapping[NodeId, Interval],
        deadline: Deadline,
    ) -> BoxBounds:
        """Boxes with too many open neurons by forward bounds, the others reduced."""
        fits = codes.new_tensor(
            [self._fits(count_open(code[None])) for code in codes], dtype=torch.bool
        )
        parts = [fits.nonzero()[:, 0], (~fits).nonzero()[:, 0]]
        bounds: list[BoxBounds] = []
        if len(parts[0]):
            some = parts[0]
            bounds.append(self._reduced(neurons, region.take(some), codes[some], deadline))
        if len(parts[1]):
            some = parts[1]
            bounds.append(self._by_forward(region.take(some), codes[some], _taken(known, some)))
        return BoxBounds.joined(bounds, torch.cat(parts).argsort())

    def _reduced(
        self, neurons: Neurons, region: InputRegion, codes: Tensor, deadline: Deadline
    ) -> BoxBounds:
        deadline.check()
        count = count_open(codes)
        if region.batch > 1 and count > FEW_OPEN and not self._fits(count):
            parts = _halves(region)
            bounds = [self._reduced(neurons, region.take(p), codes[p], deadline) for p in parts]
            return BoxBounds.joined(bounds, torch.cat(parts).argsort())
        reduced = reduce_graph(self.problem.compiled, neurons, region.box, codes)
        found = bound_reduced(reduced, self.rows[0], region.box, codes, deadline)
        return BoxBounds(less_rounding(found.linear, region), None, found.codes, None)

    def _by_forward(
        self, region: InputRegion, codes: Tensor, known: Mapping[NodeId, Interval]
    ) -> BoxBounds:
        compiled = self.problem.compiled
        propagated = propagate(compiled, region, tighten=False, known=known, checked=True)
        return BoxBounds(bound_margins(compiled, self.rows, region, propagated), None, codes, None)

    def _as_it_is(self, region: InputRegion, codes: Tensor, deadline: Deadline) -> BoxBounds:
        problem = self.problem
        with torch.no_grad():
            propagated = propagate(
                problem.compiled,
                region,
                known=self.known,
                checked=self.checked,
                deadline=deadline,
            )
            margins = bound_margins(problem.compiled, self.rows, region, propagated)
            by_intervals = interval_margins(problem.group, problem.compiled, propagated)
        self.checked = True
        return BoxBounds(margins, by_intervals, codes, propagated)


def _taken(bounds: Mapping[NodeId, Interval], index: Tensor) -> dict[NodeId, Interval]:
    """Those of the regions at `index`; what holds for all regions is kept as it is."""
    return {
        node: x if len(x.lower) == 1 else Interval(x.lower[index], x.upper[index])
        for node, x in bounds.items()
    }


def _halves(region: InputRegion) -> list[Tensor]:
    """The boxes in two halves, each with those that lie near one another: along the input in which
    centres are spread out most, in widths of the boxes.
    """
    box: Interval = region.box
    spread = box.center.amax(0) - box.center.amin(0)
    relative = (spread / box.radius.mean(0)).nan_to_num(nan=0.0, posinf=0.0)
    order = box.center[:, int(relative.argmax())].argsort()
    return [order[: len(order) // 2], order[len(order) // 2 :]]

"""Bounds inside at the points where the output meets a condition: those that may be witnesses.

What is asked is whether a margin can be 0 or less. Where bounds leave that open, they still say
where in the set it could be, and over what is left the values inside have narrower bounds; with
these, the margin's own bound is higher. Repeated, this often refutes a case without any splitting.

Source: Kotha et al. 2023, arXiv:2302.01404.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.interval import DisjointBounds, Interval
from specdsl.bounds.parts.ascent import Assumption, Weighed
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.passes.crown import MAX_COEFFICIENTS, Relaxations, propagate, unstable_in
from specdsl.bounds.rounding import region_slack
from specdsl.graph.graph import NodeId

# Of ascent for every entry inside.
STEPS = 20


class Contradiction(Exception):
    """No point meets the condition: two bounds of one value are disjoint, rounding included."""


def sharpened(
    known: Known,
    near: Known,
    parts: Parts,
    assumption: Assumption,
    chosen: Tensor,
    deadline: Deadline = FOREVER,
) -> Mapping[NodeId, Interval]:
    """Bounds of every node on the only part, at the points that meet the assumption.

    Entries with the numbers `chosen` are sharpened. Rows are raised on `near` and bounded on
    `known`, which is the same in float64. Raises Contradiction; OutOfTime.
    """
    clamped = {**known.bounds, **PartBounds(known, parts).bounds}
    known = replace(known, bounds=clamped)
    inner = _Inner(known, near, parts, assumption, chosen, deadline)
    # So far apart, bounds that exclude each other do so beyond rounding.
    wide = {node: _widened(x, 2 * inner.slack[node]) for node, x in known.bounds.items()}
    try:
        found = propagate(
            known.compiled,
            known.region,
            known=wide,
            checked=True,
            deadline=deadline,
            ends=inner.ends,
        )
    except DisjointBounds as error:
        raise Contradiction from error
    return inner.merged(found.bounds)


class _Inner:
    """`ends` is an `EntryEnds`."""

    def __init__(
        self,
        known: Known,
        near: Known,
        parts: Parts,
        assumption: Assumption,
        chosen: Tensor,
        deadline: Deadline,
    ) -> None:
        self.known = known
        self.near = near
        self.parts = parts
        self.assumption = assumption
        self.chosen = chosen
        self.deadline = deadline
        self.slack = region_slack(known.compiled, known.region)
        graph = known.compiled.graph
        self.widest = max(graph.size(node) for node in graph.order)

    def merged(self, bounds: Mapping[NodeId, Interval]) -> dict[NodeId, Interval]:
        """All that is known, with bounds of some nodes found since."""
        found = dict(self.known.bounds)
        for node, own in bounds.items():
            lower = torch.maximum(found[node].lower, own.lower)
            upper = torch.minimum(found[node].upper, own.upper)
            # Ends that cross by rounding alone are swapped.
            found[node] = Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))
        return found

    def ends(
        self,
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        _: Relaxations,
        /,
    ) -> Interval:
        """Ends of the entries that are unstable by all that is known of them."""
        compiled = self.known.compiled
        merged = self.merged(bounds)
        low, high = (e.flatten(1)[:, wanted] for e in (merged[node].lower, merged[node].upper))
        is_open = unstable_in(compiled, node, merged[node]).flatten(1)[0, wanted]
        low, high = low.clone(), high.clone()
        places = (is_open & self._is_chosen(node)[wanted]).nonzero()[:, 0]
        if not len(places):
            return Interval(low, high)
        known = replace(self.known, bounds=merged)
        near = known.nearly(self.near.compiled, self.near.region)
        exact, rough = PartBounds(known, self.parts), PartBounds(near, self.parts)
        slack = self.slack[node].expand_as(merged[node].lower).flatten(1)[:, wanted]
        for chunk in places.split(max(1, MAX_COEFFICIENTS // (2 * self.widest))):
            self.deadline.check()
            found = self._raised(exact, rough, node, wanted[chunk])
            lower, upper = found[:, : len(chunk)], -found[:, len(chunk) :]
            own = slack[:, chunk]
            lower = torch.maximum(low[:, chunk], lower - own)
            upper = torch.minimum(high[:, chunk], upper + own)
            if bool((lower > upper + own).any()):
                raise Contradiction
            low[:, chunk], high[:, chunk] = torch.minimum(lower, upper), torch.maximum(lower, upper)
        return Interval(low, high)

    def _is_chosen(self, node: NodeId) -> Tensor:
        """Which entries of a node are to be sharpened: (node,)."""
        entries = self.known.entries
        size = self.known.compiled.graph.size(node)
        mask = torch.zeros(size, dtype=torch.bool, device=self.chosen.device)
        if node in entries.nodes:
            index = entries.nodes.index(node)
            own = self.chosen[entries.here(self.chosen, index)]
            mask[entries.positions(own, index)] = True
        return mask

    def _raised(
        self, exact: PartBounds, rough: PartBounds, node: NodeId, entries: Tensor
    ) -> Tensor:
        """Lower bounds of entries and of their negatives, side by side: (1, 2 entries)."""
        graph, count = self.known.compiled.graph, len(entries)
        like = self.near.compiled.like
        rows = like.new_zeros(1, 2 * count, graph.size(node))
        at = torch.arange(2 * count, device=like.device)
        rows[0, at, entries.repeat(2)] = like.new_ones(2 * count).where(at < count, -1.0)
        rows = rows.reshape(1, 2 * count, *graph.shapes[node])
        climbed: Weighed = rough.inner_rows(node, rows, self.assumption, steps=STEPS)
        return exact.inner_rows(node, rows, self.assumption, climbed).proven


def _widened(x: Interval, by: Tensor) -> Interval:
    return Interval(x.lower - by, x.upper + by)

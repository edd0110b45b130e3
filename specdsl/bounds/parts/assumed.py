"""Bounds inside at the points where the output meets a condition: those that may be witnesses.

What is asked is whether a margin can be 0 or less. Where bounds leave that open, they still say
where in the set it could be, and over what is left the values inside have narrower bounds; with
these, the margin's own bound is higher. Repeated, this often refutes a case without any splitting.

Source: Kotha et al. 2023, arXiv:2302.01404.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.interval import DisjointBounds, Interval
from specdsl.bounds.parts.ascent import Assumption, Weighed
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.parts.narrowed import narrowed, split_entries
from specdsl.bounds.passes.crown import MAX_COEFFICIENTS, Relaxations, propagate, unstable_in
from specdsl.bounds.rounding import region_slack
from specdsl.graph.graph import NodeId

# Of ascent for every entry inside, and for one that begins where it ended before.
STEPS, AGAIN = 20, 8


class Contradiction(Exception):
    """No point meets the condition: two bounds of one value are disjoint, rounding included.
    `steps`: by what bounds inside.
    """

    def __init__(self, steps: Steps = ()) -> None:
        super().__init__()
        self.steps = steps


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """How far rows of the `entries` of a node (row-major, rising) were raised on a part that splits
    `numbers`: first the rows of all entries, then of their negatives.
    """

    entries: Tensor
    numbers: Tensor
    raised: Weighed

    def of(self, entries: Tensor, numbers: Tensor) -> Weighed:
        """To begin with for some of the entries, on a part that splits these."""
        at = torch.searchsorted(self.entries, entries)
        found = self.raised.rows(torch.cat([at, at + len(self.entries)]))
        if torch.equal(numbers, self.numbers):
            return found
        shape = (*found.multipliers.shape[:2], len(numbers))
        return replace(found, multipliers=found.multipliers.new_zeros(shape))


Steps = tuple[tuple[NodeId, Stand], ...]
"""Nodes in the order in which their entries were raised."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Which entries to sharpen, by their numbers, and how far those of some nodes were raised."""

    chosen: Tensor
    stands: Mapping[NodeId, Stand] = field(default_factory=dict[NodeId, Stand])


@dataclass(frozen=True, slots=True, eq=False)
class Sharpened:
    """Bounds of every node, where ascent ended for those whose entries were raised at any time,
    and the steps of this time.
    """

    bounds: Mapping[NodeId, Interval]
    stands: Mapping[NodeId, Stand]
    steps: Steps


def sharpened(
    known: Known,
    near: Known,
    parts: Parts,
    assumption: Assumption,
    wanted: Wanted,
    deadline: Deadline = FOREVER,
) -> Sharpened:
    """Bounds of every node on the only part, at the points that meet the assumption.

    Rows are raised on `near` and bounded on `known`, which is the same in float64. Raises
    Contradiction; OutOfTime.
    """
    clamped = {**known.bounds, **narrowed(known, parts, split_entries(known, parts))}
    known = replace(known, bounds=clamped)
    inner = _Inner(known, near, parts, assumption, wanted, deadline)
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
        raise Contradiction(inner.steps) from error
    return Sharpened(inner.merged(found.bounds), inner.stands, inner.steps)


class _Inner:
    """`ends` is an `EntryEnds`."""

    def __init__(
        self,
        known: Known,
        near: Known,
        parts: Parts,
        assumption: Assumption,
        wanted: Wanted,
        deadline: Deadline,
    ) -> None:
        self.known = known
        self.near = near
        self.parts = parts
        self.assumption = assumption
        self.chosen = wanted.chosen
        self.stands = dict(wanted.stands)
        self.deadline = deadline
        self.slack = region_slack(known.compiled, known.region)
        graph = known.compiled.graph
        self.widest = max(graph.size(node) for node in graph.order)
        self.last: PartBounds | None = None
        self.raised: list[NodeId] = []

    @property
    def steps(self) -> Steps:
        """Of all nodes until now."""
        return tuple((node, self.stands[node]) for node in self.raised)

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
        climb = self._climb(node, merged)
        slack = self.slack[node].expand_as(merged[node].lower).flatten(1)[:, wanted]
        found: list[tuple[Tensor, Weighed]] = []
        for chunk, steps in self._chunks(node, wanted, places):
            self.deadline.check()
            climbed, proven = climb(wanted[chunk], steps)
            found.append((wanted[chunk], climbed))
            lower, upper = proven[:, : len(chunk)], -proven[:, len(chunk) :]
            own = slack[:, chunk]
            lower = torch.maximum(low[:, chunk], lower - own)
            upper = torch.minimum(high[:, chunk], upper + own)
            if bool((lower > upper + own).any()):
                self._note(node, found)
                raise Contradiction(self.steps)
            low[:, chunk], high[:, chunk] = torch.minimum(lower, upper), torch.maximum(lower, upper)
        self._note(node, found)
        return Interval(low, high)

    def _climb(
        self, node: NodeId, bounds: Mapping[NodeId, Interval]
    ) -> Callable[[Tensor, int], tuple[Weighed, Tensor]]:
        """How entries of a node are raised on the given bounds by so many steps: where that ends,
        and proven lower bounds of the entries and of their negatives, (1, 2 entries).
        """
        known = replace(self.known, bounds=bounds)
        near = known.nearly(self.near.compiled, self.near.region)
        exact = PartBounds(known, self.parts, self.last)
        rough = PartBounds(near, self.parts, exact=exact)
        self.last = exact

        def climb(entries: Tensor, steps: int) -> tuple[Weighed, Tensor]:
            start = None
            if steps == AGAIN:
                start = self.stands[node].of(entries, self.parts.numbers)
            rows = self._rows(node, entries)
            climbed = rough.inner_rows(node, rows, self.assumption, start, steps).rounded
            found = exact.inner_rows(node, rows, self.assumption, climbed)
            return climbed.with_slopes_of(found), found.proven

        return climb

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

    def _chunks(self, node: NodeId, wanted: Tensor, places: Tensor) -> Iterator[tuple[Tensor, int]]:
        """The places in `wanted` to raise together, and by how many steps."""
        at_once = max(1, MAX_COEFFICIENTS // (2 * self.widest))
        stood = torch.zeros_like(places, dtype=torch.bool)
        if node in self.stands:
            stood = torch.isin(wanted[places], self.stands[node].entries)
        for group, steps in ((places[stood], AGAIN), (places[~stood], STEPS)):
            if len(group):
                yield from ((chunk, steps) for chunk in group.split(at_once))

    def _note(self, node: NodeId, found: list[tuple[Tensor, Weighed]]) -> None:
        """Where ascent has ended."""
        entries = torch.cat([own for own, _ in found])
        halves = [
            Weighed.joined([w.rows(half) for own, w in found for half in [_half(own, second)]])
            for second in (False, True)
        ]
        order = entries.argsort()
        raised = Weighed.joined([half.rows(order) for half in halves])
        self.stands[node] = Stand(entries[order], self.parts.numbers, raised)
        self.raised.append(node)

    def _rows(self, node: NodeId, entries: Tensor) -> Tensor:
        """Rows of entries and of their negatives, side by side: (1, 2 entries, *node)."""
        graph, count, like = self.known.compiled.graph, len(entries), self.near.compiled.like
        rows = like.new_zeros(1, 2 * count, graph.size(node))
        at = torch.arange(2 * count, device=like.device)
        rows[0, at, entries.repeat(2)] = like.new_ones(2 * count).where(at < count, -1.0)
        return rows.reshape(1, 2 * count, *graph.shapes[node])


def _half(entries: Tensor, second: bool) -> Tensor:
    """Positions of the rows of entries, or of their negatives."""
    at = torch.arange(len(entries), device=entries.device)
    return at + len(entries) if second else at


def _widened(x: Interval, by: Tensor) -> Interval:
    return Interval(x.lower - by, x.upper + by)

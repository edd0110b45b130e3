"""alpha-CROWN: of all sound lines through nonlinear ops, those that are best for each row.

Where CROWN takes one line below and one above, any mixture of several is sound as well
(`kinds.choice`). Every row, of the output and of intermediate layers alike, has mixtures of its own
and raises its bound by moving them. Nothing but a row's own bound steers it: layers are bounded one
after the other, each on the bounds of those before it.

Source: Xu et al. 2021, arXiv:2011.13824. There all layers are optimised together for the bounds of
the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds import outward
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice, Mixture, Places
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.passes.ascent import (
    USUAL_LIMITS,
    Limits,
    Open,
    Raised,
    ascend,
    differentiable_least,
)
from specdsl.bounds.passes.crown import (
    MAX_COEFFICIENTS,
    LinearLower,
    Propagated,
    RaisedEntries,
    Relaxations,
    linear_lower,
    propagate,
    unstable_in,
    walk_below,
)
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.backward import AtInput, entry_bounds, least, unit_rows
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True)
class Effort:
    """How far rows are raised: those of intermediate layers, and those of the output."""

    intermediate: Limits = USUAL_LIMITS
    output: Limits = USUAL_LIMITS


USUAL_EFFORT = Effort()


@dataclass(frozen=True, slots=True, eq=False)
class AlphaRows:
    """Linear lower bounds of rows, and the places that give them at nodes that leave a choice."""

    linear: LinearLower
    places: Mapping[NodeId, Places]

    def take(self, index: Tensor) -> AlphaRows:
        """Of the regions at `index` (positions, which may repeat, or a mask)."""
        linear = self.linear
        return AlphaRows(
            LinearLower(linear.coefficients[index], linear.constant[index], linear.lower[index]),
            {node: places.take(index) for node, places in self.places.items()},
        )


def alpha_crown(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, effort: Effort = USUAL_EFFORT
) -> Tensor:
    """Lower bounds of `rows . output` over each region.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows). Raises as `propagate` does.
    """
    propagated = alpha_propagate(compiled, region, effort)
    return alpha_rows(compiled, rows, region, propagated, effort.output).linear.lower


def alpha_propagate(
    compiled: CompiledGraph,
    region: InputRegion,
    effort: Effort = USUAL_EFFORT,
    *,
    known: Mapping[NodeId, Interval] | None = None,
    checked: bool = False,
) -> Propagated:
    """Bounds on every node as `crown.propagate` gives them, unstable pre-activations raised.

    With the bounds of the nodes before a node alike, never looser than CROWN at it. `known` and
    `checked` as there. Raises as `propagate` does.
    """
    inner = InnerAscent(compiled, region, effort.intermediate)
    return propagate(compiled, region, known=known, checked=checked, ends=inner.ends)


def alpha_rows(
    compiled: CompiledGraph,
    rows: Tensor,
    region: InputRegion,
    propagated: Propagated,
    limits: Limits = USUAL_LIMITS,
    start: Mapping[NodeId, Places] | None = None,
) -> AlphaRows:
    """Linear lower bounds of `rows . output`, raised on the given bounds.

    Shapes: rows (batch or 1, rows, *output). `start`: places to start from, those of CROWN where
    there are none. With gradients enabled, differentiable with the places held fixed.
    """
    node = compiled.graph.output
    lines = _Lines(compiled, region)
    lines.know(propagated.bounds, propagated.relaxations)
    places = start or {}
    if limits.steps > 0 and lines.choices:
        places = lines.raised(node, DenseRows(rows), limits, places, None, True).places
    mixtures: dict[NodeId, Mixture] = {}
    found = lines.walk(node, DenseRows(rows), mixtures, places, moves=False)
    used = {node: Places.of(m) for node, m in mixtures.items()}
    return AlphaRows(linear_lower(found, region), used)


class _Lines:
    """Choices at the nodes bounded so far, and rows that walk back through mixtures of them."""

    def __init__(self, compiled: CompiledGraph, region: InputRegion) -> None:
        self.compiled = compiled
        self.region = region
        self.choices: dict[NodeId, Choice] = {}
        self.relaxations = Relaxations()

    def know(self, bounds: Mapping[NodeId, Interval], relaxations: Relaxations) -> None:
        """Take note of what was bounded since."""
        own = self.relaxations
        own.sizes.update((n, s) for n, s in relaxations.sizes.items() if n not in own.sizes)
        own.unbounded.update(relaxations.unbounded)
        for node in relaxations.lines:
            if node not in own.lines:
                own.lines[node] = relaxations.lines[node]
                self._choose(node, bounds)

    def _choose(self, node: NodeId, bounds: Mapping[NodeId, Interval]) -> None:
        rule, rounding = self.compiled.rules[node], self.compiled.outward
        operands = [bounds[o] for o in self.compiled.graph.operands(node)]
        if not any(bool(rule.unstable(x).any()) for x in operands):
            return
        choice = rule.choice(operands, self.relaxations.lines[node])
        if choice is None:
            return
        if rounding is not None:
            sizes = [outward.magnitude(x) for x in operands]
            drift = tuple(rounding.part * size for size in sizes)
            choice = choice.flattened(bounds[node], drift)
            if rule.is_delicate:
                self._grow(node, choice.size(*sizes))
        self.choices[node] = choice

    def _grow(self, node: NodeId, size: Tensor) -> None:
        """Of a step through the node, by any of its relaxations."""
        known = self.relaxations.sizes
        known[node] = known[node].maximum(size.masked_fill(size.isnan(), torch.inf))
        if not bool(known[node].isfinite().all()):
            self.relaxations.unbounded.add(node)

    def walk(
        self,
        node: NodeId,
        rows: Rows,
        mixtures: dict[NodeId, Mixture],
        start: Mapping[NodeId, Places],
        moves: bool,
    ) -> AtInput:
        """Rows below, through mixtures; those that are missing are added, to start at `start`.

        `moves`: whether gradients in their places are asked for.
        """

        def through(current: NodeId, passing: Rows) -> Passed:
            if current not in self.choices:
                return self.relaxations.lines[current].through(passing)
            if current not in mixtures:
                mixture = self.choices[current].mixture(passing, self.region.batch)
                if current in start:
                    mixture.start_at(start[current])
                mixture.places = mixture.places.detach().requires_grad_(moves)
                mixtures[current] = mixture
            return mixtures[current].through(passing)

        return walk_below(self.compiled, node, rows, self.region, self.relaxations, through)

    def raised(
        self,
        node: NodeId,
        rows: Rows,
        limits: Limits,
        start: Mapping[NodeId, Places],
        is_open: Open | None,
        keep_places: bool,
    ) -> Raised:
        """Lower bounds of rows after an ascent."""
        mixtures: dict[NodeId, Mixture] = {}

        def lower(current: Rows) -> Tensor:
            found = self.walk(node, current, mixtures, start, moves=True)
            return differentiable_least(found, self.region)

        return ascend(lower, rows, mixtures, limits, is_open, keep_places)


class InnerAscent:
    """Raises the bounds of pre-activations: `ends` is an `EntryEnds`.

    Once `until` has passed, CROWN's bounds stand as they are: `unraised` has the nodes of which
    some entries were left so, and how many; `raised` says how the others were. `deadline` ends
    everything.
    """

    def __init__(
        self,
        compiled: CompiledGraph,
        region: InputRegion,
        limits: Limits = USUAL_LIMITS,
        until: Deadline = FOREVER,
        deadline: Deadline = FOREVER,
    ) -> None:
        self.compiled = compiled
        self.region = region
        self.limits = limits
        self.until = until
        self.deadline = deadline
        self.unraised: dict[NodeId, int] = {}
        self.raised: list[RaisedEntries] = []
        self.lines = _Lines(compiled, region)

    def ends(
        self,
        node: NodeId,
        entries: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        """CROWN's bounds first; those of entries that are unstable still are raised."""
        self.lines.know(bounds, relaxations)
        size = 1

        def plain(start: NodeId, rows: Rows) -> tuple[Tensor, int]:
            nonlocal size
            self.deadline.check()
            found = walk_below(self.compiled, start, rows, self.region, relaxations)
            size = max(size, found.size)
            return least(found, self.region), found.size

        batch = self.region.batch
        lower, upper = entry_bounds(self.compiled, node, entries, plain, batch, MAX_COEFFICIENTS)
        known = _Known(self.compiled, node, bounds[node])
        is_open = known.unstable(entries, lower, upper)
        unstable = is_open.nonzero()[:, 0]
        if self.lines.choices and not bool(is_open.all()):
            self.raised.append(RaisedEntries(node, entries[~is_open], {}))
        if self.limits.steps > 0 and self.lines.choices and unstable.numel() > 0:
            for part in unstable.split(max(1, MAX_COEFFICIENTS // (2 * batch * size))):
                if self.until.passed:
                    self.unraised[node] = self.unraised.get(node, 0) + part.numel()
                    continue
                low, high = lower[:, part], upper[:, part]
                found = self._raised(known, entries[part], low, high)
                lower = lower.index_copy(1, part, torch.maximum(low, found.lower))
                upper = upper.index_copy(1, part, torch.minimum(high, found.upper))
        # Ends that cross by rounding alone are swapped.
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))

    def _raised(self, known: _Known, entries: Tensor, lower: Tensor, upper: Tensor) -> _Ends:
        """Bounds of some entries after an ascent, given those of CROWN."""
        count = entries.numel()
        signs = self.compiled.like.new_ones(2 * count)
        signs[count:] = -1.0
        start, rows = unit_rows(self.compiled, known.node, entries.repeat(2), signs)

        def is_open(best: Tensor) -> Tensor:
            low, high = torch.maximum(lower, best[:, :count]), -best[:, count:]
            return known.unstable(entries, low, torch.minimum(upper, high)).repeat(2)

        raised = self.lines.raised(start, rows, self.limits, {}, is_open, True)
        places = {node: own.rounded for node, own in raised.places.items()}
        mixtures: dict[NodeId, Mixture] = {}
        found = self.lines.walk(start, rows, mixtures, places, moves=False)
        used = {node: Places.of(m, with_slopes=True) for node, m in mixtures.items()}
        self.raised.append(RaisedEntries(known.node, entries, used))
        best = differentiable_least(found, self.region)
        return _Ends(best[:, :count], -best[:, count:])


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    lower: Tensor
    upper: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known of a node, to judge what better bounds of some entries are worth."""

    compiled: CompiledGraph
    node: NodeId
    bounds: Interval

    def unstable(self, entries: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Which entries are unstable somewhere in the batch with these bounds: (entries,)."""
        low, high = (e.detach().flatten(1).clone() for e in (self.bounds.lower, self.bounds.upper))
        low[:, entries] = torch.maximum(low[:, entries], lower.detach())
        high[:, entries] = torch.minimum(high[:, entries], upper.detach())
        shape = self.bounds.lower.shape
        ends = [e.reshape(shape) for e in (torch.minimum(low, high), torch.maximum(low, high))]
        found = unstable_in(self.compiled, self.node, Interval(*ends))
        return found.flatten(1).any(0)[entries]

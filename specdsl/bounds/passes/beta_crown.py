"""beta-CROWN: bounds on the part of a region where inner values lie in given intervals.

A constraint `z >= l` on an inner value takes `multiplier * (z - l)` off a row, which is not
negative where it holds; one of the other kind likewise. What is left is bounded as ever. Any
multipliers of the right sign give a sound bound; they are raised together with the places of
alpha-CROWN, by the gradient of the bound itself. On a part where no choice of pieces is left, the
best multipliers give the optimum of the linear program.

Source: Wang et al. 2021, arXiv:2103.06624, for ReLUs; here for intervals of any value that an op of
one operand reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import cast

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice, Mixture, Places
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.passes.adam import Adam
from specdsl.bounds.passes.ascent import differentiable_least
from specdsl.bounds.passes.crown import LinearLower, Relaxations, linear_lower
from specdsl.bounds.passes.gaps import gaps
from specdsl.bounds.passes.parts import Constraints, Known, Parts
from specdsl.bounds.regions.region import ROUNDING_PART
from specdsl.bounds.rows.backward import AtInput, dense_on, unit_rows, walk
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.graph.graph import NodeId

# Of the first step, for places and for multipliers, and by which steps become smaller: as they were
# tried first, not tuned.
PLACE_RATE, MULTIPLIER_RATE, DECAY = 0.2, 0.05, 0.98


@dataclass(frozen=True, slots=True, eq=False)
class PartRows:
    """Lower bounds of rows on parts, and what gave them.

    `proven`: `linear.lower` less what rounding may have added, (batch, rows). `multipliers`:
    (batch, rows, split). `gaps`: how much each entry's relaxation takes off the bound at most,
    (batch, rows, entries).
    """

    linear: LinearLower
    proven: Tensor
    places: Mapping[NodeId, Places]
    multipliers: Tensor
    gaps: Tensor


class PartBounds:
    """Bounds rows on one batch of parts; the relaxations there are worked out once."""

    def __init__(self, known: Known, parts: Parts) -> None:
        self.known = known
        self.parts = parts
        batch = len(parts.lower)
        self.region = known.region.take(torch.zeros(batch, dtype=torch.long))
        self.choices: dict[NodeId, Choice] = {}
        self.relaxations = Relaxations()
        self.bounds = self._bounds()
        self._relax()

    def _bounds(self) -> dict[NodeId, Interval]:
        """Bounds of the nodes whose entries are split, on every part."""
        known, parts = self.known, self.parts
        found: dict[NodeId, Interval] = {}
        batch = len(parts.lower)
        for i, node in enumerate(known.entries.nodes):
            here = known.entries.here(parts.numbers, i)
            if not bool(here.any()):
                continue
            columns = known.entries.positions(parts.numbers[here], i)
            whole = known.bounds[node]
            lower = whole.lower.flatten(1).repeat(batch, 1)
            upper = whole.upper.flatten(1).repeat(batch, 1)
            # A part that is empty may have ends that cross; one point stands for it then.
            low, high = parts.lower[:, here].to(lower), parts.upper[:, here].to(upper)
            lower[:, columns], upper[:, columns] = torch.minimum(low, high), high
            shape = (batch, *whole.lower.shape[1:])
            found[node] = Interval(lower.reshape(shape), upper.reshape(shape))
        return found

    def _relax(self) -> None:
        known = self.known
        graph = known.compiled.graph
        for node, rule in known.compiled.rules.items():
            operands = [self.bounds.get(o, known.bounds[o]) for o in graph.operands(node)]
            if any(o in self.bounds for o in graph.operands(node)):
                batch = len(self.parts.lower)
                operands = [
                    Interval(
                        o.lower.expand(batch, *o.lower.shape[1:]),
                        o.upper.expand(batch, *o.upper.shape[1:]),
                    )
                    for o in operands
                ]
            line = rule.relax(operands)
            self.relaxations.lines[node] = line
            if any(bool(rule.unstable(x).any()) for x in operands):
                choice = rule.choice(operands, line)
                if choice is not None:
                    self.choices[node] = choice

    def rows(
        self,
        rows: Tensor,
        start: Mapping[NodeId, Places],
        multipliers: Tensor,
        steps: int = 0,
        enough: float = inf,
    ) -> PartRows:
        """Bounds of `rows . output`, (batch, rows, *output), after so many steps of ascent from
        `start` and `multipliers` (batch, rows, split). Ascent ends early where a row of every part
        is above `enough`. What is given may have another dtype.
        """
        like = self.known.compiled.like
        places = {n: Places(p.values.to(like), p.columns) for n, p in start.items()}
        narrowed = self.parts.narrow(multipliers.to(like))
        ascent = _Ascent(self, rows.to(like), places, narrowed)
        if steps > 0:
            ascent.raise_all(steps, enough)
        return ascent.final()

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


@dataclass(slots=True, eq=False)
class _Ascent:
    """`mixtures` are made at the first walk."""

    bounds: PartBounds
    output: Tensor
    start: dict[NodeId, Places]
    multipliers: Tensor
    mixtures: dict[NodeId, Mixture] = field(default_factory=dict[NodeId, Mixture])
    adam: Adam = field(default_factory=Adam)
    best: Tensor | None = None
    best_places: dict[NodeId, Tensor] = field(default_factory=dict[NodeId, Tensor])
    best_multipliers: Tensor | None = None

    def raise_all(self, steps: int, enough: float) -> None:
        """Adam on places and multipliers; the best of all steps is kept for each row."""
        for step in range(steps):
            self.multipliers.requires_grad_()
            with torch.enable_grad():
                found = self.walk(moves=True)
                lower = differentiable_least(found, self.bounds.region)
                total = lower.sum()
            self._note(lower.detach())
            assert self.best is not None
            if not lower.requires_grad or bool((self.best > enough).any(1).all()):
                break
            self._move(total, step)
        self.multipliers = self.multipliers.detach()

    def final(self) -> PartRows:
        """Bounds by the best places and multipliers, or those at hand if that is where it ends."""
        noted: dict[NodeId, Tensor] = {}
        with torch.no_grad():
            found = self.walk(moves=False, noted=noted)
            last = linear_lower(found, self.bounds.region)
            if self.best is not None and bool((self.best > last.lower).any()):
                self._back_to_best(last.lower)
                noted.clear()
                found = self.walk(moves=False, noted=noted)
                last = linear_lower(found, self.bounds.region)
            proven = last.lower - self._rounding(last)
            own = self.bounds
            off = gaps(own.known, own.bounds, own.relaxations, noted, proven)
        places = {n: Places(m.places, m.columns) for n, m in self.mixtures.items()}
        return PartRows(last, proven, places, self.multipliers, off)

    def walk(self, moves: bool, noted: dict[NodeId, Tensor] | None = None) -> AtInput:
        """Rows at the input; coefficients at nonlinear ops are noted where asked for."""
        own = self.bounds
        compiled = own.known.compiled

        def through(current: NodeId, passing: Rows) -> Passed:
            if noted is not None:
                noted[current] = dense_on(passing, compiled.graph.shapes[current])
            if current not in own.choices:
                return own.relaxations.lines[current].through(passing)
            if current not in self.mixtures:
                mixture = own.choices[current].mixture(passing, own.region.batch)
                if current in self.start:
                    mixture.start_at(self.start[current])
                self.mixtures[current] = mixture
            mixture = self.mixtures[current]
            mixture.places = mixture.places.detach().requires_grad_(moves)
            return mixture.through(passing)

        return walk(
            compiled, compiled.graph.output, DenseRows(self.output), through, meet=self._meet
        )

    def _meet(self, node: NodeId, rows: Rows) -> tuple[Rows, Tensor] | None:
        """Take multiples of what is known of a node's entries off rows."""
        parts, entries = self.bounds.parts, self.bounds.known.entries
        if node not in self.bounds.bounds:
            return None
        index = entries.nodes.index(node)
        here = entries.here(parts.numbers, index)
        columns = entries.positions(parts.numbers[here], index)
        own = self.multipliers[..., here]
        whole = dense_on(rows, self.bounds.known.compiled.graph.shapes[node])
        whole = whole.expand(own.shape[0], own.shape[1], *whole.shape[2:])
        flat = whole.flatten(2).index_add(2, columns, -own)
        lower, upper = (e[:, None, here].to(own) for e in (parts.lower, parts.upper))
        gained = (own * lower.where(own > 0, upper)).sum(2)
        return DenseRows(flat.reshape(whole.shape)), gained

    def _rounding(self, linear: LinearLower) -> Tensor:
        """What rounding may have added to the bounds, the multiples of constraints included."""
        parts = self.bounds.parts
        size = (linear.coefficients.abs() @ self.bounds.region.farthest[:, :, None])[..., 0]
        ends = torch.maximum(parts.lower.abs(), parts.upper.abs()).to(size)
        paid = (self.multipliers.abs().to(size) @ ends[:, :, None])[..., 0]
        return ROUNDING_PART * (size + linear.constant.abs() + paid)

    def _note(self, found: Tensor) -> None:
        found = found.masked_fill(found.isnan(), -torch.inf)
        own = self.multipliers.detach()
        if self.best is None or self.best_multipliers is None:
            self.best, self.best_multipliers = found, own.clone()
            self.best_places = {n: m.places.detach().clone() for n, m in self.mixtures.items()}
            return
        better = found > self.best
        self.best = self.best.maximum(found)
        self.best_multipliers = own.where(better[..., None], self.best_multipliers)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            known = self.best_places[node]
            self.best_places[node] = mixture.places.detach().where(mask, known)

    def _back_to_best(self, last: Tensor) -> None:
        assert self.best is not None
        assert self.best_multipliers is not None
        better = self.best > last
        self.multipliers = self.best_multipliers.where(better[..., None], self.multipliers)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            mixture.places = self.best_places[node].where(mask, mixture.places.detach())

    def _move(self, total: Tensor, step: int) -> None:
        nodes = list(self.mixtures)
        wanted = [self.mixtures[node].places for node in nodes]
        has_splits = self.multipliers.numel() > 0
        if has_splits:
            wanted.append(self.multipliers)
        # Said to be tensors, they are None where a bound does not depend on what is moved.
        gradients = cast(
            "tuple[Tensor | None, ...]", torch.autograd.grad(total, wanted, allow_unused=True)
        )
        rate = DECAY**step
        with torch.no_grad():
            for node, gradient in zip(nodes, gradients, strict=False):
                if gradient is not None:
                    mixture = self.mixtures[node]
                    self.adam.climb(node, mixture.places, gradient, PLACE_RATE * rate, step)
                    mixture.places.clamp_(0.0, mixture.last)
            if has_splits and gradients[-1] is not None:
                own = self.multipliers
                self.adam.climb("multipliers", own, gradients[-1], MULTIPLIER_RATE * rate, step)
                self.multipliers = self.bounds.parts.narrow(own)

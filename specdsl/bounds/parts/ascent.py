"""Ascent of rows on parts: places of mixtures and multipliers of constraints, by Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from specdsl.bounds.kinds.choice import Mixture, Places
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.parts.gaps import Gaps, gaps
from specdsl.bounds.parts.lines import PartLines
from specdsl.bounds.passes.adam import Adam
from specdsl.bounds.passes.ascent import differentiable_least
from specdsl.bounds.passes.crown import LinearLower, linear_lower, walk_below
from specdsl.bounds.regions.region import ROUNDING_PART
from specdsl.bounds.rows.backward import AtInput, dense_on
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.graph.graph import NodeId

# Of the first step, for places and for multipliers, and by which steps become smaller: as they were
# tried first, not tuned.
PLACE_RATE, MULTIPLIER_RATE, DECAY = 0.2, 0.05, 0.98
# The same for multiples of an assumption.
WEIGHT_RATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class PartRows:
    """Lower bounds of rows on parts, and what gave them.

    `proven`: `linear.lower` less what rounding may have added, (batch, rows). `multipliers`:
    (batch, rows, split). `gaps`: what each entry matters; None where that was not asked for.
    """

    linear: LinearLower
    proven: Tensor
    places: Mapping[NodeId, Places]
    multipliers: Tensor
    gaps: Gaps | None


@dataclass(frozen=True, slots=True, eq=False)
class Assumption:
    """Points that matter have `rows . output <= most`: rows (atoms, *output). Multiples of this
    may be added to any row, as those of splits are.
    """

    rows: Tensor
    most: float

    def to(self, like: Tensor) -> Assumption:
        """The same in another dtype."""
        return Assumption(self.rows.to(like), self.most)


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """How rows of an inner value were raised: `weights` (batch, rows, atoms) of the assumption,
    and the rest as of PartRows.
    """

    proven: Tensor
    places: Mapping[NodeId, Places]
    multipliers: Tensor
    weights: Tensor

    def rows(self, index: Tensor) -> Weighed:
        """Those of the rows at `index` (positions)."""
        places = {n: p.rows(index) for n, p in self.places.items()}
        own = self.proven[:, index], places, self.multipliers[:, index], self.weights[:, index]
        return Weighed(*own)

    @property
    def rounded(self) -> Weighed:
        """With places that certificates hold."""
        return replace(self, places={n: p.rounded for n, p in self.places.items()})

    def with_slopes_of(self, other: Weighed) -> Weighed:
        """The same, with what lines other places of it are."""
        places = {n: replace(p, slopes=other.places[n].slopes) for n, p in self.places.items()}
        return replace(self, places=places)

    @classmethod
    def joined(cls, parts: Sequence[Weighed]) -> Weighed:
        """Rows that were raised on the same parts, one after the other."""
        first = parts[0]
        places = {
            node: Places.joined([p.places[node] for p in parts])
            for node in first.places
            if all(node in part.places for part in parts)
        }
        return cls(
            torch.cat([part.proven for part in parts], 1),
            places,
            torch.cat([part.multipliers for part in parts], 1),
            torch.cat([part.weights for part in parts], 1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is bounded: `rows` (batch or 1, rows, *node) of the value of `node`."""

    node: NodeId
    rows: Tensor
    assumption: Assumption | None


@dataclass(slots=True, eq=False)
class PartAscent:
    """`mixtures` are made at the first walk; `weights`: (batch, rows, atoms) of the assumption."""

    bounds: PartLines
    target: Target
    start: dict[NodeId, Places]
    multipliers: Tensor
    weights: Tensor
    mixtures: dict[NodeId, Mixture] = field(default_factory=dict[NodeId, Mixture])
    adam: Adam = field(default_factory=Adam)
    best: Tensor | None = None
    best_places: dict[NodeId, Tensor] = field(default_factory=dict[NodeId, Tensor])
    best_multipliers: Tensor | None = None
    best_weights: Tensor | None = None

    def raise_all(self, steps: int, enough: float) -> None:
        """Adam on places and multipliers; the best of all steps is kept for each row."""
        for step in range(steps):
            self.multipliers.requires_grad_()
            self.weights.requires_grad_()
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
        self.weights = self.weights.detach()

    def final(self, with_gaps: bool) -> PartRows:
        """Bounds by the best places and multipliers, or those at hand if that is where it ends."""
        noted: dict[NodeId, Tensor] | None = {} if with_gaps else None
        with torch.no_grad():
            last = self._last(noted)
            proven = last.lower - self._rounding(last)
            own = self.bounds
            off = None
            if noted is not None:
                off = gaps(own.known, own.bounds, own.relaxations, noted, proven)
        places = self._places(with_slopes=with_gaps)
        return PartRows(last, proven, places, self.multipliers, off)

    def weighed(self, *, with_slopes: bool) -> Weighed:
        """The same of rows of an inner value."""
        assert self.target.assumption is not None
        with torch.no_grad():
            last = self._last(None)
            paid = self.weights.sum(2) * self.target.assumption.most
            proven = last.lower - self._rounding(last) - paid
        places = self._places(with_slopes=with_slopes)
        return Weighed(proven, places, self.multipliers, self.weights)

    def _places(self, *, with_slopes: bool) -> dict[NodeId, Places]:
        return {n: Places.of(m, with_slopes=with_slopes) for n, m in self.mixtures.items()}

    def _last(self, noted: dict[NodeId, Tensor] | None) -> LinearLower:
        """Rows by the best places and multipliers, or those at hand if that is where it ends."""
        found = self.walk(moves=False, noted=noted)
        last = linear_lower(found, self.bounds.region)
        if self.best is None or not bool((self.best > last.lower).any()):
            return last
        self._back_to_best(last.lower)
        if noted is not None:
            noted.clear()
        found = self.walk(moves=False, noted=noted)
        return linear_lower(found, self.bounds.region)

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

        return walk_below(
            compiled, *self._start(), own.region, own.relaxations, through, meet=self._meet
        )

    def _start(self) -> tuple[NodeId, Rows]:
        target = self.target
        if target.assumption is None:
            return target.node, DenseRows(target.rows)
        assumed = torch.tensordot(self.weights, target.assumption.rows, dims=1)
        return self.bounds.known.compiled.graph.output, DenseRows(assumed)

    def _meet(self, node: NodeId, rows: Rows) -> tuple[Rows, Tensor] | None:
        """Take multiples of what is known of a node's entries off rows; add what is bounded."""
        target, none = self.target, rows.coefficients.new_zeros(1, 1)
        if node == target.node and target.assumption is not None:
            whole = dense_on(rows, self.bounds.known.compiled.graph.shapes[node])
            rows = DenseRows(whole + target.rows)
            return self._cut(node, rows) or (rows, none)
        return self._cut(node, rows)

    def _cut(self, node: NodeId, rows: Rows) -> tuple[Rows, Tensor] | None:
        parts = self.bounds.parts
        if node not in self.bounds.split:
            return None
        here, columns = self.bounds.split[node]
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
            self.best_weights = self.weights.detach().clone()
            self.best_places = {n: m.places.detach().clone() for n, m in self.mixtures.items()}
            return
        better = found > self.best
        self.best = self.best.maximum(found)
        self.best_multipliers = own.where(better[..., None], self.best_multipliers)
        if self.best_weights is not None and self.weights.numel() > 0:
            weights = self.weights.detach()
            self.best_weights = weights.where(better[..., None], self.best_weights)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            known = self.best_places[node]
            self.best_places[node] = mixture.places.detach().where(mask, known)

    def _back_to_best(self, last: Tensor) -> None:
        assert self.best is not None
        assert self.best_multipliers is not None
        better = self.best > last
        self.multipliers = self.best_multipliers.where(better[..., None], self.multipliers)
        if self.best_weights is not None and self.weights.numel() > 0:
            self.weights = self.best_weights.where(better[..., None], self.weights)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            mixture.places = self.best_places[node].where(mask, mixture.places.detach())

    def _move(self, total: Tensor, step: int) -> None:
        nodes = list(self.mixtures)
        wanted = [self.mixtures[node].places for node in nodes]
        has_splits, is_weighed = self.multipliers.numel() > 0, self.weights.numel() > 0
        wanted += [self.weights] * is_weighed + [self.multipliers] * has_splits
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
            weighing = gradients[len(nodes)] if is_weighed else None
            if weighing is not None:
                self.adam.climb("weights", self.weights, weighing, WEIGHT_RATE * rate, step)
                self.weights.clamp_(min=0.0)

"""Rows raised by moving the places of their mixtures along the gradient of their own bounds.

Rows do not know of one another: each has places of its own, and stops alone once its bound hardly
moves or is good enough. So a row gets the same bound whichever rows it is raised with, but for the
few steps that it goes on because the others do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import torch
from torch import Tensor

from specdsl.bounds.kinds.choice import Mixture, Places, RowsMoved
from specdsl.bounds.passes.adam import Adam
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.backward import AtInput, least
from specdsl.bounds.rows.rows import Rows
from specdsl.bounds.rows.windows import Windows
from specdsl.graph.graph import NodeId

# Of the first step. With 20 steps a quarter is better than a tenth on all networks measured: most
# places end at 0 or 1.
RATE = 0.25
# Rows are looked through after so many steps.
STEPS_BETWEEN = 5
# Rows are taken apart only where that saves so much of a step.
WORTHWHILE_SAVING = 0.15


@dataclass(frozen=True, slots=True)
class Limits:
    """When a row is no longer raised.

    After so many steps; once its bound is above `enough` in all regions; or once some steps gained
    less than `least_gain`, as a part of all that was gained: 0 lets it go on all the same. `decay`:
    by which steps become smaller; to come near the optimum takes many, and a decay nearer to 1.
    """

    steps: int = 20
    least_gain: float = 0.02
    enough: float = inf
    decay: float = 0.98


USUAL_LIMITS = Limits()


Lower = Callable[[Rows], Tensor]
"""Lower bounds of rows, (batch, rows), differentiable in the places of their mixtures."""

Open = Callable[[Tensor], Tensor]
"""Which rows a better bound matters for, (rows,), given the bounds of all (batch, rows)."""


@dataclass(frozen=True, slots=True, eq=False)
class Raised:
    """The best lower bounds found, (batch, rows), and where asked for the places that gave them."""

    lower: Tensor
    places: Mapping[NodeId, Places]


def ascend(
    lower: Lower,
    rows: Rows,
    mixtures: dict[NodeId, Mixture],
    limits: Limits,
    is_open: Open | None = None,
    keep_places: bool = False,
) -> Raised:
    """Raise rows up to the limits and as long as they are open; first where the mixtures stand.

    `mixtures`: those that `lower` uses; it may add to them at the first step. They are used up.
    Bounds that are NaN count for nothing.
    """
    state = _State(rows, mixtures, keep_places)
    for step in range(limits.steps):
        is_last = step == limits.steps - 1
        try:
            with torch.set_grad_enabled(not is_last):
                found = lower(state.rows)
                # A number: for anything else torch loads its symbolic half, a quarter of a second.
                total = found.sum()
        except RowsMoved:
            # Fewer rows may fit into windows where more did not: what was found so far stands.
            break
        state.note(found.detach())
        if is_last or not found.requires_grad:
            break
        state.move(total, RATE * limits.decay**step, step)
        if step % STEPS_BETWEEN == STEPS_BETWEEN - 1 and not state.narrow(limits, is_open):
            break
    return Raised(state.best, state.kept_places())


class _State:
    """An ascent under way. Of all its rows, those at `kept` are still being raised."""

    def __init__(self, rows: Rows, mixtures: dict[NodeId, Mixture], keep_places: bool) -> None:
        self.rows = rows
        self.mixtures = mixtures
        self.keep_places = keep_places
        self.kept = torch.arange(rows.count, device=rows.coefficients.device)
        self.best = rows.coefficients.new_empty(0)
        self.first = self.last = self.best
        self.places: dict[NodeId, Tensor] = {}
        self.windows: dict[NodeId, Windows | None] = {}
        self.adam = Adam()

    def note(self, found: Tensor) -> None:
        """Keep bounds that are better than those known."""
        if self.best.numel() == 0:
            self.best = found.masked_fill(found.isnan(), -torch.inf)
            self.first = self.last = self.best
            if self.keep_places:
                self.places = {n: m.places.detach().clone() for n, m in self.mixtures.items()}
                self.windows = {n: m.layout.windows for n, m in self.mixtures.items()}
            return
        known = self.best[:, self.kept]
        better = found > known
        self.best = self.best.index_copy(1, self.kept, found.where(better, known))
        if self.keep_places:
            for node, mixture in self.mixtures.items():
                self._keep(self.places[node], mixture.places.detach(), better)

    def kept_places(self) -> dict[NodeId, Places]:
        """Of all rows, those that gave the best bounds."""
        found: dict[NodeId, Places] = {}
        for node, values in self.places.items():
            own = self.mixtures[node]
            kept = values, own.columns, self.windows[node]
            found[node] = Places(*kept, shares=own.is_share)
        return found

    def _keep(self, kept: Tensor, places: Tensor, better: Tensor) -> None:
        mask = better.reshape(*better.shape, *(1 for _ in places.shape[2:]))
        kept[:, self.kept] = places.where(mask, kept[:, self.kept])

    def move(self, total: Tensor, rate: float, step: int) -> None:
        """One step of Adam for all places, which stay where they belong."""
        nodes = list(self.mixtures)
        wanted = [self.mixtures[node].places for node in nodes]
        # Said to be tensors, they are None where a bound does not depend on places.
        gradients = cast(
            "tuple[Tensor | None, ...]",
            torch.autograd.grad(total, wanted, allow_unused=True),
        )
        with torch.no_grad():
            for node, gradient in zip(nodes, gradients, strict=True):
                if gradient is not None:
                    mixture = self.mixtures[node]
                    self.adam.climb(node, mixture.places, gradient, rate, step)
                    mixture.places.clamp_(0.0, mixture.last)

    def narrow(self, limits: Limits, is_open: Open | None) -> bool:
        """Leave rows alone that are settled or hardly move; whether any others are left."""
        gained, total = self.best - self.last, self.best - self.first
        # Where nothing was gained at all, nothing will be.
        stuck = (gained <= limits.least_gain * total) & (limits.least_gain > 0)
        going = ~(stuck | (self.best > limits.enough)).all(0)
        self.last = self.best
        if is_open is not None:
            going &= is_open(self.best)
        going = going[self.kept]
        count = int(going.sum())
        if count == 0:
            return False
        if count <= (1 - WORTHWHILE_SAVING) * self.kept.numel():
            self._take(going.nonzero()[:, 0])
        return True

    def _take(self, index: Tensor) -> None:
        self.kept = self.kept[index]
        self.rows = self.rows.take(index)
        with torch.no_grad():
            for node, mixture in self.mixtures.items():
                mixture.take(index)
                mixture.places.requires_grad_()
                self.adam.take(node, index)


def differentiable_least(found: AtInput, region: InputRegion) -> Tensor:
    """The least value of every row on each region, (batch, rows), with a gradient in the rows."""
    if found.rows is None or region.balls is None:
        return least(found, region)
    flat = found.rows.dense().coefficients.flatten(2)
    return cast("Tensor", _Minimum.apply(flat, region)) + found.constant


class _Minimum(torch.autograd.Function):
    """`InputRegion.minimum`, whose gradient is the point where the minimum is met (Danskin 1967).

    Its value comes from a dual whose steps have no gradient to speak of.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, region: InputRegion) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(flat)
        ctx.region = region
        return region.minimum(flat)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (flat,) = ctx.saved_tensors
        region: InputRegion = ctx.region
        point = region.minimiser(flat.expand(region.batch, -1, -1))
        return (change[..., None] * point).sum_to_size(flat.shape), None

"""Sound lower bounds of the margins of a claim, differentiable in the weights.

Every application of the network is bounded on its own and the bounds are added. Estimates by random
projections are no bounds: they have a type and a function of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.estimates import Estimator
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS
from specdsl.bounds.passes.crown_ibp import crown_ibp_lower
from specdsl.bounds.passes.wong_kolter import dual_bounds, dual_lower
from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.bounds.centered import centered_pass
from specdsl.training.runtime.bounds.row_walk import merged_lower, relaxed_lower
from specdsl.training.runtime.claims.claim import Claim, atoms_of, combine
from specdsl.training.runtime.networks.network import Trainable

Bound = Callable[[Trainable, InputRegion, Tensor], Tensor]
"""Lower bounds of rows (batch or 1, count, outputs) of a network's output: (batch, count)."""

_Lower = Callable[[CompiledGraph, InputRegion, Tensor], Tensor]


def lower(net: Trainable, claim: Claim, method: Bound) -> Tensor:
    """Lower bounds of `margins_at` over the whole region of a claim: (batch, m).

    Raises Unsupported where the method has no rule for an op of the network.
    """
    return _bounded(claim, lambda region, rows: method(net, region, rows))


def _bounded(claim: Claim, bound: Callable[[InputRegion, Tensor], Tensor]) -> Tensor:
    """Each application once, with the rows of all atoms that read it."""
    atoms = atoms_of(claim.formula)
    batch = claim.region.batch
    totals = [atom.offset.expand(batch, -1) for atom in atoms]
    for k, application in enumerate(claim.applications):
        reading = [(i, rows) for i, a in enumerate(atoms) if (rows := a.rows[k]) is not None]
        if not reading:
            continue
        dtype = application.region.box.lower.dtype
        rows_read = _stacked([rows for _, rows in reading]).to(dtype)
        found = bound(application.region, rows_read)
        parts = found.split([rows.shape[1] for _, rows in reading], dim=1)
        for (i, _), part in zip(reading, parts, strict=True):
            totals[i] = totals[i] + part
    return combine(claim.formula, totals)


def _stacked(rows: list[Tensor]) -> Tensor:
    if len(rows) == 1:
        return rows[0]
    batch = max(r.shape[0] for r in rows)
    return torch.cat([r.expand(batch, -1, -1) for r in rows], dim=1)


# --- methods -------------------------------------------------------------------------------------


def _on_compiled(method: _Lower) -> Bound:
    def bound(net: Trainable, region: InputRegion, rows: Tensor) -> Tensor:
        compiled = net.compiled()
        return method(compiled, region, shaped(compiled, rows))

    return bound


def shaped(compiled: CompiledGraph, rows: Tensor) -> Tensor:
    """Rows (batch or 1, count, outputs) as (batch or 1, count, *output), of the network's dtype."""
    shape = compiled.graph.shapes[compiled.graph.output]
    return rows.to(compiled.like.dtype).reshape(*rows.shape[:2], *shape)


def interval() -> Bound:
    """Intervals, the last layer merged into the rows; balls in the first layer.

    Source: Gowal et al. 2018, arXiv:1810.12715; balls: Zhu et al. 2020, arXiv:2002.09766.
    """

    def intervals(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
        if compiled.outward is not None:
            return METHODS["interval"].lower(compiled, region, rows)
        return merged_lower(compiled, rows, region, centered_pass(compiled, region))

    return _on_compiled(intervals)


def crown() -> Bound:
    """CROWN, backward passes for all that intervals leave unstable: Zhang et al. 2018,
    arXiv:1811.00866.
    """
    return _on_compiled(METHODS["crown"].lower)


def crown_ibp(beta: float = 1.0) -> Bound:
    """`beta` parts CROWN on intervals, `1 - beta` parts intervals: Zhang et al. 2020,
    arXiv:1906.06316. Raises ValueError for a share outside [0, 1].
    """
    require_share(beta)

    def mixed(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
        if compiled.outward is not None:
            return crown_ibp_lower(compiled, rows, region, beta=beta)
        bounds = centered_pass(compiled, region)
        if beta == 0 or is_point(region):
            return merged_lower(compiled, rows, region, bounds)
        relaxed = relaxed_lower(compiled, rows, region, bounds)
        if beta == 1:
            return relaxed
        return beta * relaxed + (1 - beta) * merged_lower(compiled, rows, region, bounds)

    return _on_compiled(mixed)


def require_share(beta: float) -> None:
    """Raises ValueError for a share of bounds that is not in [0, 1]."""
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is a share between 0 and 1, not {beta}")


def is_point(region: InputRegion) -> bool:
    """Whether each region of a batch is one point, as at radius 0: intervals are exact there."""
    return bool((region.box.lower == region.box.upper).all())


def fast_lin() -> Bound:
    """CROWN with parallel lines: Weng et al. 2018, arXiv:1804.09699."""
    return _on_compiled(METHODS["fast_lin"].lower)


def forward() -> Bound:
    """Linear functions of the inputs carried forward, intersected with intervals."""
    return _on_compiled(METHODS["forward"].lower)


def wong_kolter() -> Bound:
    """The dual of Wong and Kolter 2018, arXiv:1711.00851; chains of layers and ReLUs alone."""

    def dual(compiled: CompiledGraph, region: InputRegion, rows: Tensor) -> Tensor:
        return dual_lower(compiled, rows, region, dual_bounds(compiled, region))

    return _on_compiled(dual)


# --- estimates -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Random projections in place of norms: for losses alone, it proves nothing.

    `count` random vectors for each norm, drawn from `generator`. Not callable, so that it is no
    `Bound`.
    """

    count: int
    generator: torch.Generator


def projections(count: int, generator: torch.Generator) -> Estimate:
    """Estimates of the Wong-Kolter bounds: Wong et al. 2018, arXiv:1805.12514."""
    return Estimate(count, generator)


def estimate(net: Trainable, claim: Claim, method: Estimate) -> Tensor:
    """What `lower` by the Wong-Kolter dual would be about: (batch, m). TRAIN ONLY, no bound.

    Bounds inside are estimated, the rows walk back exactly. Raises Unsupported where the network is
    no chain of layers and ReLUs.
    """
    compiled = net.compiled()

    def bound(region: InputRegion, rows: Tensor) -> Tensor:
        center, radius, norm = _ball_of(region)
        found = Estimator(norm, method.count).inside(compiled, center, radius, method.generator)
        inside = {
            node: Interval(torch.minimum(e.lower, e.upper), torch.maximum(e.lower, e.upper))
            for node, e in found.items()
        }
        return dual_lower(compiled, shaped(compiled, rows), region, inside)

    return _bounded(claim, bound)


def _ball_of(region: InputRegion) -> tuple[Tensor, Tensor, Literal["linf", "l2"]]:
    """Centre and reach along each entry; of a ball in l2 that is cut by a box, the whole ball."""
    if region.balls is not None:
        (cut,) = region.balls.all
        if cut.norm == "l2" and len(cut.positions) == region.box.lower.shape[1]:
            return cut.center, cut.unit, "l2"
    return region.box.center, region.box.radius, "linf"

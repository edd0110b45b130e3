"""Regularisers of a claim: what they need of it, for every application of the network.

A script bounds the network once a step and gives what was found to each term:

    found = inside(net, claim)
    terms["shi"] = 0.5 * fade * (averaged(shi_tightness, found) + averaged(shi_relu, found))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.attacks.ascent import evaluated
from specdsl.training.runtime.bounds.lower import Bound, lower
from specdsl.training.runtime.claims.claim import Application, Atom, Claim, atoms_of, unchanged
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune_relus import unstable_neurons
from specdsl.training.runtime.regularisers.intervals import Bounds, intervals
from specdsl.training.runtime.regularisers.lipschitz import local_lipschitz
from specdsl.training.runtime.regularisers.tightness import Lines, tightness_gaps


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """One application of the network: the region of its inputs, bounds of all nodes over it, and
    the rows of its output that the claim reads, (batch or 1, rows, *output).
    """

    compiled: CompiledGraph
    region: InputRegion
    bounds: Bounds
    rows: Tensor


def inside(
    net: Trainable, claim: Claim, by: Literal["interval", "crown"] = "interval"
) -> tuple[Inside, ...]:
    """What a bounding pass knows inside the network, for each application that the claim reads."""
    compiled = net.compiled()
    find = intervals if by == "interval" else _crown
    return tuple(
        Inside(compiled, region, find(compiled, region), rows)
        for region, rows in _read(compiled, claim)
    )


def _crown(compiled: CompiledGraph, region: InputRegion) -> Bounds:
    return propagate(compiled, region).bounds


def averaged(term: Callable[..., Tensor], found: Sequence[Inside], *options: float) -> Tensor:
    """The mean of a term over all applications; `options` are its own."""
    return torch.stack([term(part.compiled, part.bounds, *options) for part in found]).mean()


def unstable(net: Trainable, claim: Claim) -> float:
    """How many ReLUs intervals leave with both signs: the mean over applications and batch."""
    with evaluated(net.module), torch.no_grad():
        counts = [unstable_neurons(p.compiled, p.region) for p in inside(net, claim)]
    return float(torch.stack([count.mean() for count in counts]).mean())


def bound_gap(net: Trainable, claim: Claim, looser: Bound, tighter: Bound) -> Tensor:
    """How far one method's bounds lie below another's: the mean over batch and margins."""
    return (lower(net, claim, tighter) - lower(net, claim, looser)).clamp(min=0).mean()


def everywhere(region: InputRegion, outputs: int) -> Claim:
    """A claim about all points of a region that reads all outputs: for what goes on inside."""
    rows = torch.eye(outputs, dtype=region.box.lower.dtype, device=region.box.lower.device)
    atom = Atom((rows[None],), rows.new_zeros(1, outputs))
    return Claim(region, (Application(unchanged, region),), atom)


def gap(
    net: Trainable,
    claim: Claim,
    of: Literal["outputs", "pre_activations"],
    lines: Lines = "crown_ibp",
) -> Tensor:
    """The mean gap of a relaxation over applications, batch and rows: d of outputs, or r.

    Raises Unsupported where the network is no chain of affine layers and ReLUs.
    """
    compiled = net.compiled()
    gaps: list[Tensor] = []
    for region, rows in _read(compiled, claim):
        found = tightness_gaps(compiled, region, rows, lines)
        gaps.append((found.output_gap if of == "outputs" else found.pre_activation_gap).mean())
    return torch.stack(gaps).mean()


def lipschitz(found: Sequence[Inside], norm: Literal["linf", "l2", "l1"] = "linf") -> Tensor:
    """The mean over applications, batch and rows of the local Lipschitz constant of a margin.

    Raises Unsupported where the network is no chain of affine layers and ReLUs.
    """
    constants = [local_lipschitz(p.compiled, p.rows, p.bounds, norm).mean() for p in found]
    return torch.stack(constants).mean()


def _read(compiled: CompiledGraph, claim: Claim) -> list[tuple[InputRegion, Tensor]]:
    """The region of each application that some atom reads, with the rows of all of these."""
    shape = compiled.graph.shapes[compiled.graph.output]
    found: list[tuple[InputRegion, Tensor]] = []
    for k, application in enumerate(claim.applications):
        rows = [r for atom in atoms_of(claim.formula) if (r := atom.rows[k]) is not None]
        if rows:
            batch = max(r.shape[0] for r in rows)
            joined = torch.cat([r.expand(batch, -1, -1) for r in rows], dim=1)
            found.append((application.region, joined.reshape(*joined.shape[:2], *shape)))
    return found

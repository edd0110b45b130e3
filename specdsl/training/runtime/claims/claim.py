"""Claims: properties of a batch of samples, with what a network is applied to and what must hold.

Emitted scripts build them by functions of a batch; `margins_at` gives their quantitative value at
points, `lower.lower` bounds it from below over all points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.interval import CROSSING_TOLERANCE, EmptyInterval, Interval
from specdsl.bounds.regions.balls import Ball, least_radius
from specdsl.bounds.regions.region import Balls, InputRegion
from specdsl.training.runtime.networks.network import Trainable

Norm = Literal["linf", "l2", "l1"]

# --- regions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class BallPart:
    """`norm(x - center) <= radius`. Shapes: center (batch, n); radius a number, (batch, 1), or for
    `linf` anything that broadcasts to the center.
    """

    center: Tensor
    radius: float | Tensor
    norm: Norm


@dataclass(frozen=True, slots=True, eq=False)
class BoxPart:
    """`lower <= x <= upper`: numbers, or tensors that broadcast to (batch, n)."""

    lower: float | Tensor
    upper: float | Tensor


Part = BallPart | BoxPart


def ball(center: Tensor, radius: float | Tensor, norm: Norm = "linf") -> BallPart:
    """The ball around each sample, (batch, *shape), the samples flattened.

    Raises ValueError for a negative radius, which is no ball.
    """
    if isinstance(radius, Tensor):
        if radius.ndim and radius.shape[0] == center.shape[0]:
            radius = radius.flatten(1) if radius.ndim > 1 else radius[:, None]
        negative = bool((radius < 0).any())
    else:
        negative = radius < 0
    if negative:
        raise ValueError("the radius of a ball is 0 or more")
    return BallPart(center.flatten(1), radius, norm)


def box(lower: float | Tensor, upper: float | Tensor) -> BoxPart:
    """All points between two numbers, or between tensors (batch, n), entry by entry."""
    return BoxPart(lower, upper)


def intersect(*parts: Part, like: Tensor | None = None) -> InputRegion:
    """The points in all parts, for each sample of the batch.

    `like` (batch, n): of boxes between numbers alone, which have no shape. A box whose ends cross
    by rounding has them swapped. At most one ball in l2 or l1. Raises EmptyInterval where nothing
    is left, ValueError where there are two such balls or no shape.
    """
    round_balls = [p for p in parts if isinstance(p, BallPart) and p.norm != "linf"]
    if not parts or len(round_balls) > 1:
        raise ValueError("a region is a box, perhaps with one ball in l1 or l2")
    shape = _like(parts, like)
    ends = [_ends(part, shape) for part in parts]
    lower = reduce(torch.maximum, (low for low, _ in ends))
    upper = reduce(torch.minimum, (high for _, high in ends))
    gap = float((lower - upper).detach().amax())
    if gap > 0:
        farthest = float(torch.maximum(lower.detach().abs(), upper.detach().abs()).amax())
        if gap > CROSSING_TOLERANCE * (1 + farthest):
            raise EmptyInterval(f"the parts of a region have no point in common, by {gap:.3g}")
        lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)
    return InputRegion(Interval(lower, upper), _cut(round_balls[0]) if round_balls else None)


def _like(parts: Sequence[Part], like: Tensor | None) -> Tensor:
    for part in parts:
        tensors = [part.center] if isinstance(part, BallPart) else [part.lower, part.upper]
        for tensor in tensors:
            if isinstance(tensor, Tensor) and tensor.ndim == 2:
                return tensor
    if like is None:
        raise ValueError("boxes between numbers have no shape: give `like`")
    return like


def _ends(part: Part, like: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and the upper ends of the smallest box around a part: (batch, n)."""
    if isinstance(part, BallPart):
        return part.center - part.radius, part.center + part.radius
    lower, upper = (
        torch.as_tensor(end, dtype=like.dtype, device=like.device).expand_as(like)
        for end in (part.lower, part.upper)
    )
    return lower, upper


def _cut(part: BallPart) -> Balls | None:
    """The ball as one of radius 1 with a weighted norm; a point needs none besides its box."""
    center = part.center
    if not isinstance(part.radius, Tensor) and part.radius == 0:
        return None
    radius = torch.as_tensor(part.radius, dtype=center.dtype, device=center.device)
    scale = (1 / radius.clamp(min=least_radius(center.dtype))).expand_as(center)
    positions = torch.arange(center.shape[1], device=center.device)
    norm = "l1" if part.norm == "l1" else "l2"
    return Balls.of((Ball(positions, center, scale, 1.0, norm),), center.shape[1])


# --- claims --------------------------------------------------------------------------------------


def unchanged(variables: Tensor) -> Tensor:
    """The variables themselves, as what a network is applied to."""
    return variables


@dataclass(frozen=True, slots=True, eq=False)
class Application:
    """What the network is applied to.

    `point`: a function of the variables, (batch, n) to (batch, *shape) or flat; `region` contains
    all its values, (batch, inputs).
    """

    point: Callable[[Tensor], Tensor]
    region: InputRegion


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """`count` margins that must all be positive: `sum over k of rows[k] . outputs k + offset`.

    Shapes: rows[k] of application k (batch or 1, count, outputs), None where it is not read; offset
    (batch or 1, count).
    """

    rows: tuple[Tensor | None, ...]
    offset: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class All:
    """All parts hold."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Any_:  # noqa: N801 - `Any` is taken
    """Some part holds."""

    parts: tuple[Formula, ...]


Formula = Atom | All | Any_


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A property of each sample of a batch: for all variables in `region` the formula holds.

    `region`: of the variables, (batch, n).
    """

    region: InputRegion
    applications: tuple[Application, ...]
    formula: Formula


def class_rows(y: Tensor, classes: int) -> Tensor:
    """Score of class y minus that of every other class: (batch,) to (batch, classes - 1, classes).

    The others stand in ascending order.
    """
    identity = torch.eye(classes, device=y.device)
    others = torch.arange(classes - 1, device=y.device).expand(len(y), -1)
    others = others + (others >= y[:, None]).long()
    return identity[y][:, None] - identity[others]


def atoms_of(formula: Formula) -> tuple[Atom, ...]:
    """All atoms, from left to right."""
    if isinstance(formula, Atom):
        return (formula,)
    return tuple(atom for part in formula.parts for atom in atoms_of(part))


def combine(formula: Formula, margins: Sequence[Tensor]) -> Tensor:
    """The value of a formula from that of its atoms, (batch, count) each, in the order of
    `atoms_of`: (batch, m).

    Margins of `All` stand side by side; `Any_` is the maximum of the minima of its parts, (batch,
    1). Both grow with every margin: of lower bounds they make one.
    """
    return _combine(formula, iter(margins))


def _combine(formula: Formula, margins: Iterator[Tensor]) -> Tensor:
    if isinstance(formula, Atom):
        return next(margins)
    parts = [_combine(part, margins) for part in formula.parts]
    if isinstance(formula, All):
        return torch.cat(parts, dim=1)
    return torch.cat([p.amin(1, keepdim=True) for p in parts], dim=1).amax(1, keepdim=True)


def margins_at(net: Trainable, claim: Claim, variables: Tensor) -> Tensor:
    """The quantitative value of a claim at points of its region: (batch, n) to (batch, m).

    All positive where the formula holds. Differentiable in points and weights.
    """
    read = _read(claim)
    outputs = {
        k: net.at(application.point(variables))
        for k, application in enumerate(claim.applications)
        if k in read
    }
    margins = [_margins(atom, outputs, len(variables)) for atom in atoms_of(claim.formula)]
    return combine(claim.formula, margins)


def _read(claim: Claim) -> frozenset[int]:
    """The applications that some atom reads."""
    return frozenset(
        k for a in atoms_of(claim.formula) for k, rows in enumerate(a.rows) if rows is not None
    )


def _margins(atom: Atom, outputs: dict[int, Tensor], batch: int) -> Tensor:
    total = atom.offset.expand(batch, -1)
    for k, rows in enumerate(atom.rows):
        if rows is not None:
            read = outputs[k]
            total = total + (rows.to(read.dtype) @ read[:, :, None])[..., 0]
    return total

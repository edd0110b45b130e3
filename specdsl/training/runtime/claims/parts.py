"""Further pieces of emitted claims: rows, points moved about, regions of several variables.

`claim.py` has the pieces of the usual ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.balls import Ball, least_radius
from specdsl.bounds.regions.halfspaces import HalfSpaces
from specdsl.bounds.regions.region import Balls, InputRegion
from specdsl.training.runtime.claims.claim import All, Any_, Application, Atom

# --- rows -----------------------------------------------------------------------------------------


def rows_of(like: Tensor, outputs: int, *rows: Mapping[int, float]) -> Tensor:
    """Rows by their entries that are not 0: (1, rows, outputs), in the dtype of `like`."""
    found = like.new_zeros(1, len(rows), outputs)
    for number, row in enumerate(rows):
        for place, value in row.items():
            found[0, number, place] = value
    return found


def matrix_of(like: Tensor, entries: int, *rows: Mapping[int, float]) -> Tensor:
    """A matrix by its entries that are not 0: (rows, entries)."""
    return rows_of(like, entries, *rows)[0]


def each_output(like: Tensor, outputs: int, *factors: float) -> Tensor:
    """`factor * output`, for each output in turn all factors: (1, outputs * factors, outputs)."""
    identity = torch.eye(outputs, dtype=like.dtype, device=like.device)
    return (identity[:, None] * like.new_tensor(factors)[:, None]).flatten(0, 1)[None]


def chosen_rows(like: Tensor, label: Tensor, outputs: int, factors: Sequence[float]) -> Tensor:
    """`factor * output of the label`, a row for each factor: (batch,) to (batch, rows, outputs)."""
    chosen = torch.eye(outputs, dtype=like.dtype, device=like.device)[label]
    return chosen[:, None] * like.new_tensor(factors)[:, None]


def rows_of_class(like: Tensor, label: int, classes: int) -> Tensor:
    """Score of one class minus that of every other: (1, classes - 1, classes)."""
    identity = torch.eye(classes, dtype=like.dtype, device=like.device)
    others = [t for t in range(classes) if t != label]
    return (identity[label] - identity[others])[None]


def same_class(like: Tensor, classes: int, first: int, second: int, applications: int) -> Any_:
    """Two of so many applications have a strictly best class each, and it is the same one."""

    def best(application: int, label: int) -> Atom:
        rows: list[Tensor | None] = [None] * applications
        rows[application] = rows_of_class(like, label, classes)
        return Atom(tuple(rows), like.new_zeros(1, classes - 1))

    return Any_(tuple(All((best(first, c), best(second, c))) for c in range(classes)))


def each(atom: Atom) -> tuple[Atom, ...]:
    """An atom with one margin for each of its margins: what `Any_` takes."""
    return tuple(
        Atom(
            tuple(None if rows is None else rows[:, k : k + 1] for rows in atom.rows),
            atom.offset[:, k : k + 1],
        )
        for k in range(atom.offset.shape[1])
    )


def decided(holds: Tensor) -> Tensor:
    """The margin of what is known of a sample, (batch, 1): infinite, as there is nothing to train.

    `holds` is true or false for each sample.
    """
    infinite = torch.full(holds.shape, torch.inf, device=holds.device)
    return infinite.where(holds, -infinite)


# --- regions --------------------------------------------------------------------------------------


def joint(*regions: InputRegion) -> InputRegion:
    """All points whose parts lie in the regions, side by side: a product."""
    batch = max(region.batch for region in regions)
    ends = [(r.box.lower.expand(batch, -1), r.box.upper.expand(batch, -1)) for r in regions]
    box = Interval(torch.cat([e[0] for e in ends], dim=1), torch.cat([e[1] for e in ends], dim=1))
    balls: list[Ball] = []
    start = 0
    for region in regions:
        for ball in region.balls.all if region.balls else ():
            places = ball.positions + start
            balls.append(Ball(places, ball.center, ball.scale, ball.radius, ball.norm))
        start += region.box.lower.shape[1]
    return InputRegion(box, Balls.of(tuple(balls), start) if balls else None)


def halfspaces(region: InputRegion, matrix: Tensor, limits: Tensor) -> InputRegion:
    """The points with `matrix @ v <= limits`: (batch or 1, rows, n) and (batch or 1, rows)."""
    found = HalfSpaces(matrix, limits)
    if region.halfspaces is not None:
        raise ValueError("half-spaces are given once")
    return InputRegion(region.box, region.balls, found)


def cut_by_ball(
    region: InputRegion,
    positions: Sequence[int],
    center: Tensor,
    radius: float | Tensor,
    norm: Literal["l1", "l2"],
    scale: float | Tensor,
) -> InputRegion:
    """The points with `norm(scale * (v[positions] - center)) <= radius`.

    Shapes: center (batch, entries), radius a number or (batch, 1), scale a number or (1, entries).
    Raises ValueError for a negative radius.
    """
    size = torch.as_tensor(radius, dtype=center.dtype, device=center.device)
    if bool((size < 0).any()):
        raise ValueError("the radius of a ball is 0 or more")
    weights = torch.as_tensor(scale, dtype=center.dtype, device=center.device)
    places = torch.tensor(list(positions), device=center.device)
    # The radius may be 0, a ball's own must not be: it is 1, and the weights are as much larger.
    ball = Ball(
        places,
        center,
        (weights / size.clamp(min=least_radius(center.dtype))).expand_as(center),
        1.0,
        norm,
    )
    known = region.balls.all if region.balls else ()
    return InputRegion(
        region.box, Balls.of((*known, ball), region.box.lower.shape[1]), region.halfspaces
    )


# --- what a network is applied to -----------------------------------------------------------------


def fixed(point: Tensor) -> Application:
    """The network at points that no variable moves: (batch, inputs)."""

    def at(variables: Tensor) -> Tensor:
        return point.expand(len(variables), -1)

    return Application(at, InputRegion(Interval(point, point)))


def select(region: InputRegion, positions: Sequence[int]) -> InputRegion:
    """A box around some entries of the points of a region, in the order given."""
    lower, upper = region.box.lower[:, list(positions)], region.box.upper[:, list(positions)]
    return InputRegion(Interval(lower, upper))


def moved(region: InputRegion, scale: float | Tensor, shift: float | Tensor) -> InputRegion:
    """All `scale * v + shift`, entry by entry: no number in `scale` is 0.

    Shapes: scale a number or (1, n), shift a number or (batch or 1, n or 1).
    """
    box = region.box
    factor = torch.as_tensor(scale, dtype=box.lower.dtype, device=box.lower.device)
    factor = factor.expand_as(box.lower[:1])
    by = torch.as_tensor(shift, dtype=box.lower.dtype, device=box.lower.device)
    ends = box.lower * factor + by, box.upper * factor + by
    found = Interval(torch.minimum(*ends), torch.maximum(*ends))
    moved_balls = [_moved(ball, factor, by, found) for ball in _balls(region)]
    balls = Balls.of(tuple(moved_balls), factor.shape[1]) if moved_balls else None
    return InputRegion(found, balls)


def _balls(region: InputRegion) -> tuple[Ball, ...]:
    return region.balls.all if region.balls else ()


def _moved(ball: Ball, factor: Tensor, by: Tensor, box: Interval) -> Ball:
    at = ball.positions
    part, shift = factor[:, at], by.expand_as(box.lower)[:, at]
    return Ball(at, ball.center * part + shift, ball.scale / part.abs(), ball.radius, ball.norm)


def hull(region: InputRegion, matrix: Tensor, shift: float | Tensor) -> InputRegion:
    """A box around all `matrix @ v + shift`.

    Shapes: matrix (entries, n), shift a number or (batch or 1, entries).
    """
    least, most = region.minimum(matrix[None]), -region.minimum(-matrix[None])
    return InputRegion(Interval(least + shift, torch.maximum(least, most) + shift))

"""From regions as they are given to those that kernels take: checked, and rounded outward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.bounds.regions.balls import ROUNDED_UNITS, Ball, least_radius
from specdsl.bounds.regions.given import Box, LinearConstraints, NormBall
from specdsl.bounds.regions.given_arrays import (
    Batched,
    FloatArray,
    common_batch,
    entries,
    refuse,
    stacked,
)
from specdsl.bounds.regions.halfspaces import HalfSpaces
from specdsl.bounds.regions.region import Balls, InputRegion, outward_box
from specdsl.diagnostics import suggestion
from specdsl.graph.ops import Shape

NORMS = ("l1", "l2", "linf")


@dataclass(frozen=True, slots=True, eq=False)
class GivenRegion:
    """`region` of `batch` boxes, cut; `is_batch`: it was given as a batch, and not as one."""

    region: InputRegion
    is_batch: bool


def read_region(given: object, shape: Shape, like: Tensor) -> GivenRegion:
    """A region over inputs of `shape`, in the dtype and on the device of `like`, rounded outward.

    Raises SpecError E0870 for what is no region, shapes that do not fit, NaN, infinite numbers and
    regions proven to be without any point.
    """
    if isinstance(given, tuple) and len(given) == 2:
        given = Box(*given)
    if not isinstance(given, Box | NormBall):
        help = "give a `specdsl.Box`, a `specdsl.NormBall` or a pair (lower, upper)"
        refuse(f"the region is a `{type(given).__name__}`", help)
    parts: dict[str, Batched] = {}
    if isinstance(given, Box):
        parts |= _box_parts(given, shape, "")
    else:
        parts |= _ball_parts(given, shape)
    if given.where is not None:
        parts |= _constraint_parts(given.where, int(np.prod(shape)))
    batch = common_batch(parts)
    values = {n: np.repeat(p.values, batch // len(p.values), axis=0) for n, p in parts.items()}
    region = (
        _box_region(values, like) if isinstance(given, Box) else _ball_region(given, values, like)
    )
    if given.where is not None:
        region = _constrained(region, values, like)
    _require_points(region, given)
    return GivenRegion(region, any(part.is_batch for part in parts.values()))


# --- reading -------------------------------------------------------------------------------------


def _box_parts(box: Box, shape: Shape, prefix: str) -> dict[str, Batched]:
    names = (f"{prefix}lower", f"{prefix}upper")
    ends = (box.lower, box.upper)
    return {n: entries(n, value, shape) for n, value in zip(names, ends, strict=True)}


def _ball_parts(ball: NormBall, shape: Shape) -> dict[str, Batched]:
    if ball.norm not in NORMS:
        help = suggestion(str(ball.norm), NORMS) or "norms are `l1`, `l2` and `linf`"
        refuse(f"there is no norm `{ball.norm}`", help)
    parts = {"center": entries("center", ball.center, shape)}
    parts["radius"] = stacked("radius", ball.radius, (), "one number")
    scale = np.asarray(ball.scale) if not isinstance(ball.scale, Tensor) else ball.scale
    whole = np.broadcast_to(scale, shape) if scale.ndim == 0 else scale
    parts["scale"] = entries("scale", whole, shape)
    if (parts["radius"].values < 0).any():
        refuse(f"the radius is {parts['radius'].values.min():g}", "a radius is 0 or more")
    if (parts["scale"].values <= 0).any():
        refuse("`scale` is not positive everywhere")
    if ball.within is not None:
        within = ball.within if isinstance(ball.within, Box) else Box(*ball.within)
        if within.where is not None:
            refuse("`within` is a box with constraints", "give them as `where` of the ball")
        parts |= _box_parts(within, shape, "within.")
    return parts


def _constraint_parts(where: LinearConstraints, inputs: int) -> dict[str, Batched]:
    matrix = stacked("matrix", where.matrix, (None, inputs), f"(constraints, {inputs})")
    count = matrix.values.shape[1]
    limits = stacked("limits", where.limits, (count,), f"({count},), one for each row of `matrix`")
    return {"matrix": matrix, "limits": limits}


# --- building ------------------------------------------------------------------------------------


def _box_region(values: dict[str, FloatArray], like: Tensor) -> InputRegion:
    _require_order(values["lower"], values["upper"], "`lower` is above `upper`")
    return InputRegion(outward_box(values["lower"], values["upper"], like))


def _ball_region(ball: NormBall, values: dict[str, FloatArray], like: Tensor) -> InputRegion:
    center, scale, radius = values["center"], values["scale"], values["radius"][:, None]
    reach = radius / scale
    # A quotient and a sum round by a unit each; twice that is outward. Radius 0 is one point.
    slack = np.where(radius > 0, 2 * np.finfo(np.float64).eps * (np.abs(center) + reach), 0.0)
    lower, upper = center - reach - slack, center + reach + slack
    if ball.within is not None:
        _require_order(values["within.lower"], values["within.upper"], "`within` is empty")
        lower = np.maximum(lower, values["within.lower"])
        upper = np.minimum(upper, values["within.upper"])
        _require_order(lower, upper, "the ball has no point in `within`")
    box = outward_box(lower, upper, like)
    if ball.norm == "linf":
        return InputRegion(box)
    unit = _grown_scale(center, scale, radius, like)
    positions = torch.arange(center.shape[1], device=like.device)
    norm = "l1" if ball.norm == "l1" else "l2"
    middle = torch.as_tensor(center, dtype=like.dtype, device=like.device)
    return InputRegion(box, Balls.of((Ball(positions, middle, unit, 1.0, norm),), center.shape[1]))


def _grown_scale(center: FloatArray, scale: FloatArray, radius: FloatArray, like: Tensor) -> Tensor:
    """Weights that make the ball one of radius 1 that contains it, whatever rounding moves."""
    epsilon = float(torch.finfo(like.dtype).eps)
    sizes = np.abs(center * scale).sum(1, keepdims=True) + radius
    grown = np.maximum(radius + ROUNDED_UNITS * epsilon * sizes, least_radius(like.dtype))
    return torch.as_tensor(scale / grown, dtype=like.dtype, device=like.device)


def _constrained(region: InputRegion, values: dict[str, FloatArray], like: Tensor) -> InputRegion:
    matrix, limits = values["matrix"], values["limits"]
    if like.dtype != torch.float64:
        # Numbers that are rounded must not cut off what the exact ones keep.
        farthest = region.farthest.double().cpu().numpy()[:, :, None]
        sizes = (np.abs(matrix) @ farthest)[..., 0] + np.abs(limits)
        limits = limits + ROUNDED_UNITS * float(torch.finfo(like.dtype).eps) * sizes
    halfspaces = HalfSpaces(
        *(torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in (matrix, limits))
    )
    return InputRegion(region.box, region.balls, halfspaces)


# --- without a point -----------------------------------------------------------------------------


def _require_order(lower: FloatArray, upper: FloatArray, text: str) -> None:
    crossed = lower > upper
    if crossed.any():
        region, entry = (int(i) for i in np.argwhere(crossed)[0])
        ends = f"{lower[region, entry]:g} > {upper[region, entry]:g}"
        refuse(f"{text} at entry {entry}{_of_region(crossed, region)}: {ends}")


def _require_points(region: InputRegion, given: Box | NormBall) -> None:
    with torch.no_grad():
        empty = region.is_empty.cpu().numpy()
    if empty.any():
        what = "the constraints `where` leave no point" if given.where else "the ball has no point"
        inside = "" if isinstance(given, Box) else " in `within`"
        refuse(f"{what}{inside}{_of_region(empty, int(np.argmax(empty)))}")


def _of_region(batch: npt.NDArray[np.bool_], region: int) -> str:
    return f" of region {region}" if len(batch) > 1 else ""

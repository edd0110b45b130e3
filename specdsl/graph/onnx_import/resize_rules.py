"""Rules of the ONNX import that resample: nearest neighbours and linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from specdsl.graph import composites, ops
from specdsl.graph.onnx_import.call import NodeCall, Value

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resampled: `new` entries from `old` ones, `scale` times as dense."""

    old: int
    new: int
    scale: Fraction

    def places(self, mode: str) -> list[Fraction] | None:
        """Where every new entry lies among the old ones; None for an unknown mode.

        `coordinate_transformation_mode` of the ONNX operator `Resize`.
        """
        old, new, scale = self.old, self.new, self.scale
        indices = [Fraction(i) for i in range(new)]
        match mode:
            case "half_pixel":
                return [(i + HALF) / scale - HALF for i in indices]
            case "pytorch_half_pixel":
                return [(i + HALF) / scale - HALF if new > 1 else Fraction(0) for i in indices]
            case "half_pixel_symmetric":
                offset = Fraction(old, 2) * (1 - new / (old * scale))
                return [offset + (i + HALF) / scale - HALF for i in indices]
            case "align_corners":
                return [i * (old - 1) / (new - 1) if new > 1 else Fraction(0) for i in indices]
            case "asymmetric":
                return [i / scale for i in indices]
            case "tf_half_pixel_for_nn":
                return [(i + HALF) / scale for i in indices]
            case _:
                return None


def _nearest(place: Fraction, mode: str) -> int | None:
    """A whole place beside a fractional one; None for an unknown mode."""
    match mode:
        case "round_prefer_floor":
            return ceil(place - HALF)
        case "round_prefer_ceil":
            return floor(place + HALF)
        case "floor":
            return floor(place)
        case "ceil":
            return ceil(place)
        case _:
            return None


# --- the two ops ---------------------------------------------------------------------------------


def resize(call: NodeCall) -> tuple[Value, ...]:
    """By scales or to sizes, in any coordinates but those of a region of interest."""
    axes = _resized_axes(call)
    for name in ("antialias", "exclude_outside"):
        if call.integer(name, 0):
            call.refuse(f"`{name}` is not supported")
    if call.opset < 11:
        return (_resampled(call, axes, "asymmetric", "floor"),)
    coordinates = call.text("coordinate_transformation_mode", "half_pixel")
    nearest = call.text("nearest_mode", "round_prefer_floor")
    return (_resampled(call, axes, coordinates, nearest),)


def upsample(call: NodeCall) -> tuple[Value, ...]:
    """The older op: scales only, of asymmetric coordinates."""
    shape = call.operand(0).shape
    if call.opset < 9:
        scales = call.numbers_listed("scales") or ()
    else:
        scales = tuple(float(s) for s in call.weight(1, "scales").reshape(-1))
    return (_resampled(call, _scaled_axes(call, shape, scales), "asymmetric", "floor"),)


def _resampled(call: NodeCall, axes: Sequence[Axis], coordinates: str, nearest: str) -> Value:
    mode = call.text("mode", "nearest")
    if mode not in {"nearest", "linear", "bilinear", "trilinear"}:
        call.refuse(f"mode `{mode}` is not supported; only nearest and linear are")
    call.guard_size(tuple(a.new for a in axes))
    places: list[list[Fraction]] = []
    for axis in axes:
        # An axis that stays as it is has no coordinates to transform.
        same = axis.new == axis.old and axis.scale == 1
        found = [Fraction(i) for i in range(axis.old)] if same else axis.places(coordinates)
        if found is None:
            call.refuse(f"coordinates `{coordinates}` are not supported")
        places.append(found)
    x = call.computed(0)
    if mode == "nearest":
        return call.composed(
            composites.resize_nearest, x, places=_rounded(call, axes, places, nearest)
        )
    for number, found in enumerate(places):
        x = call.composed(composites.resize_linear, x, axis=number, places=found)
    return x


def _rounded(
    call: NodeCall, axes: Sequence[Axis], places: Sequence[Sequence[Fraction]], nearest: str
) -> list[list[int]]:
    """Whole places; those outside are the outermost."""
    result: list[list[int]] = []
    for axis, found in zip(axes, places, strict=True):
        whole = [_nearest(p, nearest) for p in found]
        if None in whole:
            call.refuse(f"rounding `{nearest}`", code="E0601")
        result.append([min(max(p, 0), axis.old - 1) for p in whole if p is not None])
    return result


# --- scales and sizes ----------------------------------------------------------------------------


def _resized_axes(call: NodeCall) -> list[Axis]:
    shape = call.operand(0).shape
    rank = len(shape)
    if call.opset < 11:
        return _scaled_axes(call, shape, tuple(call.weight(1, "scales").reshape(-1).tolist()))
    listed = call.integer_list("axes") if call.opset >= 18 else None
    axes = tuple(range(rank)) if listed is None else tuple(call.axis(a, rank) for a in listed)
    scales, sizes = call.optional(2), call.optional(3)
    if sizes is not None and sizes.shape != (0,):
        wanted = call.integers(3, "the sizes")
        if len(wanted) != len(axes) or min(wanted, default=1) < 1:
            call.refuse(f"sizes {wanted} of axes {axes}", code="E0609")
        return _sized_axes(call, shape, dict(zip(axes, wanted, strict=True)))
    if scales is None or scales.shape == (0,):
        call.refuse("neither scales nor sizes are given", code="E0601")
    factors = call.weight(2, "scales").reshape(-1).tolist()
    if len(factors) != len(axes):
        call.refuse(f"{len(factors)} scales of axes {axes}", code="E0609")
    spread = dict(zip(axes, factors, strict=True))
    return _scaled_axes(call, shape, tuple(spread.get(a, 1.0) for a in range(rank)))


def _scaled_axes(call: NodeCall, shape: ops.Shape, scales: Sequence[float]) -> list[Axis]:
    if len(scales) != len(shape) or not all(s > 0 for s in scales):
        call.refuse(f"scales {tuple(scales)} of {shape}", code="E0609")
    factors = [Fraction(s) for s in scales]
    axes = [Axis(n, floor(n * f), f) for n, f in zip(shape, factors, strict=True)]
    if any(a.new < 1 for a in axes):
        call.refuse(f"scales {tuple(scales)} leave nothing of {shape}", code="E0609")
    return axes


def _sized_axes(call: NodeCall, shape: ops.Shape, wanted: dict[int, int]) -> list[Axis]:
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    factors = {a: Fraction(n, shape[a]) for a, n in wanted.items()}
    match policy:
        case "stretch":
            pass
        case "not_larger" | "not_smaller":
            common = (min if policy == "not_larger" else max)(factors.values())
            factors = dict.fromkeys(factors, common)
            wanted = {a: floor(common * shape[a] + HALF) for a in wanted}
        case _:
            call.refuse(f"policy `{policy}`", code="E0601")
    return [Axis(n, wanted.get(a, n), factors.get(a, Fraction(1))) for a, n in enumerate(shape)]

"""Rules of the PyTorch import for pooling and resampling."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.composites import Window
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.arithmetic_rules import Rule
from specdsl.graph.torch_import.call import AtenCall, Result

# --- pooling -------------------------------------------------------------------------------------


def _spatial(call: AtenCall, rank: int) -> Computed:
    """The operand with a batch axis and channels in front of `rank` axes."""
    x = call.computed()
    missing = rank + 2 - len(x.shape)
    return call.reshape(x, (*(1 for _ in range(missing)), *x.shape))


def _window(call: AtenCall, rank: int) -> Window:
    kernel = call.integers("kernel_size", rank)
    given = call.arguments.get("stride")
    strides = call.integers("stride", rank) if given else kernel
    padding = call.integers("padding", rank)
    dilations = call.integers("dilation", rank) if "dilation" in call.arguments else (1,) * rank
    return Window(
        kernel, strides, tuple((p, p) for p in padding), dilations, call.flag("ceil_mode")
    )


def max_pool(rank: int) -> Rule:
    """The rule of pooling by the largest entry over `rank` axes; places have no rule."""

    def rule(call: AtenCall) -> Result:
        found = call.composed(composites.max_pool, _spatial(call, rank), window=_window(call, rank))
        pooled = call.reshape(found, call.shape)
        return (pooled, None) if call.op.endswith("_with_indices") else pooled

    return rule


def average_pool(rank: int) -> Rule:
    """The rule of pooling by averages over `rank` axes."""

    def rule(call: AtenCall) -> Result:
        if call.arguments.get("divisor_override") is not None:
            call.refuse("a divisor of its own")
        found = call.composed(
            composites.average_pool,
            _spatial(call, rank),
            window=_window(call, rank),
            count_padding=call.flag("count_include_pad"),
        )
        return call.reshape(found, call.shape)

    return rule


def adaptive_average_pool(rank: int) -> Rule:
    """The rule of averages over as many windows as the result has entries."""

    def rule(call: AtenCall) -> Result:
        x = _spatial(call, rank)
        extents, counts = x.shape[2:], call.shape[len(call.shape) - rank :]
        if set(counts) == {1}:
            axes = tuple(range(2, rank + 2))
            return call.reshape(call.composed(composites.reduce_mean, x, axes=axes), call.shape)
        if all(n % m == 0 for n, m in zip(extents, counts, strict=True)):
            steps = tuple(n // m for n, m in zip(extents, counts, strict=True))
            window = Window(steps, steps, ((0, 0),) * rank, (1,) * rank)
            return call.reshape(
                call.composed(composites.average_pool, x, window=window), call.shape
            )
        for axis, (extent, count) in enumerate(zip(extents, counts, strict=True), start=2):
            weight = composites.exact_array(_shares(extent, count))
            x = call.composed(composites.along_axis, x, axis=axis, weight=weight)
        return call.reshape(x, call.shape)

    return rule


def _ranges(extent: int, count: int) -> list[range]:
    """The windows of adaptive pooling: from `floor(i n / m)` to `ceil((i + 1) n / m)`."""
    return [range(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]


def _shares(extent: int, count: int) -> ops.Array:
    """(count, extent): 1 over the length of the window inside it."""
    weight = np.full((count, extent), Fraction(0), dtype=object)
    for row, window in enumerate(_ranges(extent, count)):
        weight[row, window.start : window.stop] = Fraction(1, len(window))
    return weight


def adaptive_max_pool(rank: int) -> Rule:
    """The rule of the largest entries of as many windows as the result has entries."""

    def rule(call: AtenCall) -> Result:
        x = _spatial(call, rank)
        counts = call.shape[len(call.shape) - rank :]
        places = composites.positions(x.shape)
        for axis, count in enumerate(counts, start=2):
            windows = _ranges(x.shape[axis], count)
            longest = max(len(w) for w in windows)
            # A window that is shorter repeats its last entry: the same set, the same maximum.
            rows = [[min(w.start + k, w.stop - 1) for k in range(longest)] for w in windows]
            taken = np.take(places, np.asarray(rows), axis=axis)
            places = np.moveaxis(taken, axis + 1, -1)
            call.guard_size(places.shape)
        groups = np.ascontiguousarray(places).reshape(*x.shape[:2], *counts, -1)
        pooled = call.reshape(call.add(ops.GroupMax(groups), x), call.shape)
        return pooled, None

    return rule


# --- resampling ----------------------------------------------------------------------------------


def upsample_linear(rank: int) -> Rule:
    """The rule of linear interpolation along the last `rank` axes."""

    def rule(call: AtenCall) -> Result:
        x = call.computed("input")
        factors = call.arguments.get("scale_factors") or [None] * rank
        for i in range(rank):
            axis = len(x.shape) - rank + i
            places = _places(
                x.shape[axis], call.shape[axis], factors[i], corners=call.flag("align_corners")
            )
            x = call.composed(composites.resize_linear, x, axis=axis, places=places)
        return x

    return rule


def _places(extent: int, count: int, factor: float | None, *, corners: bool) -> list[Fraction]:
    """Where along an axis of `extent` entries each of `count` new ones lies."""
    if corners:
        step = Fraction(extent - 1, count - 1) if count > 1 else Fraction(0)
        return [i * step for i in range(count)]
    step = 1 / Fraction(factor) if factor else Fraction(extent, count)
    return [max((i + Fraction(1, 2)) * step - Fraction(1, 2), Fraction(0)) for i in range(count)]


RULES: dict[str, Rule] = {
    "adaptive_avg_pool1d": adaptive_average_pool(1),
    "adaptive_avg_pool2d": adaptive_average_pool(2),
    "_adaptive_avg_pool2d": adaptive_average_pool(2),
    "adaptive_avg_pool3d": adaptive_average_pool(3),
    "_adaptive_avg_pool3d": adaptive_average_pool(3),
    "adaptive_max_pool1d": adaptive_max_pool(1),
    "adaptive_max_pool2d": adaptive_max_pool(2),
    "adaptive_max_pool3d": adaptive_max_pool(3),
    "avg_pool1d": average_pool(1),
    "avg_pool2d": average_pool(2),
    "avg_pool3d": average_pool(3),
    "max_pool1d": max_pool(1),
    "max_pool1d_with_indices": max_pool(1),
    "max_pool2d": max_pool(2),
    "max_pool2d_with_indices": max_pool(2),
    "max_pool3d": max_pool(3),
    "max_pool3d_with_indices": max_pool(3),
    "upsample_bilinear2d": upsample_linear(2),
    "upsample_linear1d": upsample_linear(1),
    "upsample_trilinear3d": upsample_linear(3),
}
"""Rules by the name of the ATen op, without its overload."""

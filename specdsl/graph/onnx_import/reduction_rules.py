"""Rules of the ONNX import that reduce axes: sums, norms, extremes, and where these stand."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from specdsl.graph import composites
from specdsl.graph.import_call import INTEGER, Computed
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.elementwise_rules import Rule
from specdsl.graph.onnx_import.read import Tensor

Build = Callable[..., str]

# Reductions whose results are no whole numbers: of integers, runtimes cut these off.
_FRACTIONAL = {"ReduceMean", "ReduceL2", "ReduceLogSumExp"}

# --- over axes -----------------------------------------------------------------------------------


def _reduction(build: Build, since: int, fold: Callable[..., Any] | None = None) -> Rule:
    """The rule of a reduction whose axes are an operand from opset `since` on.

    `fold` computes it for constant integers.
    """

    def rule(call: NodeCall) -> tuple[Value, ...]:
        x = call.operand(0)
        axes = _axes(call, since, len(x.shape))
        if axes is None:
            return (x,)
        keep = call.integer("keepdims", 1) != 0
        if any(x.shape[a] == 0 for a in axes):
            call.refuse(f"a reduction of no entries, of {x.shape}", code="E0609")
        if not isinstance(x, Computed) and fold is not None and x.dtype.kind in "iu":
            return (np.asarray(fold(x, axis=axes, keepdims=keep)).astype(x.dtype),)
        operand = call.computed(0)
        if operand.element.kind in "iu" and call.node.op in _FRACTIONAL:
            call.refuse("of integers is not supported")
        return (call.composed(build, operand, axes=axes, keepdims=keep),)

    return rule


def _axes(call: NodeCall, since: int, rank: int) -> tuple[int, ...] | None:
    """Axes counted from the front, all by default; None where nothing is to be reduced."""
    if call.opset < since:
        listed = call.integer_list("axes")
    else:
        listed = None if call.optional(1) is None else call.integers(1, "axes")
    if not listed:
        return None if call.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    axes = tuple(call.axis(a, rank) for a in listed)
    if len(set(axes)) != len(axes):
        call.refuse(f"axes {listed} repeat", code="E0601")
    return axes


reduce_sum = _reduction(composites.reduce_sum, 13, np.sum)
reduce_mean = _reduction(composites.reduce_mean, 18)
reduce_max = _reduction(composites.reduce_max, 18, np.max)
reduce_min = _reduction(composites.reduce_min, 18, np.min)
reduce_l1 = _reduction(composites.reduce_l1, 18)
reduce_l2 = _reduction(composites.reduce_l2, 18)
reduce_sum_square = _reduction(composites.reduce_sum_square, 18)
reduce_log_sum_exp = _reduction(composites.reduce_log_sum_exp, 18)


def reduce_prod(call: NodeCall) -> tuple[Value, ...]:
    """Of constant integers, as shapes are."""
    x = call.operand(0)
    if isinstance(x, Computed) or x.dtype.kind not in "iu":
        call.refuse("a product of computed values or floats is not supported")
    axes = _axes(call, 18, len(x.shape))
    keep = call.integer("keepdims", 1) != 0
    return (x if axes is None else np.asarray(np.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)),)


def cumulative_sum(call: NodeCall) -> tuple[Value, ...]:
    """Sums up to each entry, from either end, with or without itself."""
    places = call.integers(1, "the axis")
    if len(places) != 1:
        call.refuse(f"the axis {places}", code="E0601")
    x = call.operand(0)
    axis = call.axis(places[0], len(x.shape))
    exclusive, reverse = call.integer("exclusive", 0) != 0, call.integer("reverse", 0) != 0
    if not isinstance(x, Computed) and x.dtype.kind in "iu":
        return (_cumulative(x, axis, exclusive, reverse),)
    x = call.computed(0)
    return (
        call.composed(
            composites.cumulative_sum, x, axis=axis, exclusive=exclusive, reverse=reverse
        ),
    )


def _cumulative(x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    turned = np.flip(x, axis) if reverse else x
    total = np.cumsum(turned, axis=axis, dtype=x.dtype) - (turned if exclusive else 0)
    return np.flip(total, axis).astype(x.dtype) if reverse else total.astype(x.dtype)


# --- places --------------------------------------------------------------------------------------


def argmax(call: NodeCall) -> tuple[Value, ...]:
    """Where the largest entry stands."""
    return (_place(call, composites.argmax),)


def argmin(call: NodeCall) -> tuple[Value, ...]:
    """Where the smallest entry stands."""
    return (_place(call, composites.argmin),)


def _place(call: NodeCall, build: Build) -> Computed:
    x = call.computed(0)
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    keep = call.integer("keepdims", 1) != 0
    last = call.integer("select_last_index", 0) != 0
    return call.composed(build, x, axis=axis, keepdims=keep, last=last, element=INTEGER)


def hardmax(call: NodeCall) -> tuple[Value, ...]:
    """1 where the first largest entry stands along an axis, else 0."""
    x = call.computed(0)
    axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), len(x.shape))
    rows = call.reshape(x, (*x.shape[:axis], prod(x.shape[axis:]))) if call.opset < 13 else x
    place = call.composed(composites.argmax, rows, axis=axis, keepdims=False)
    hot = call.composed(composites.one_hot, place, depth=rows.shape[axis], axis=axis)
    return (call.reshape(hot, x.shape),)


def top_k(call: NodeCall) -> tuple[Value, ...]:
    """The one largest or smallest entry along an axis, and where it first stands."""
    count = (call.integer("k", 0),) if call.opset < 10 else call.integers(1, "k")
    if count != (1,):
        call.refuse(
            f"the {count[0] if count else 0} largest entries; only the largest one is supported"
        )
    x = call.computed(0)
    axis = call.axis(call.integer("axis", -1), len(x.shape))
    largest = call.integer("largest", 1) != 0
    extreme = composites.reduce_max if largest else composites.reduce_min
    place = composites.argmax if largest else composites.argmin
    values: list[Value] = [call.composed(extreme, x, axes=(axis,))]
    if any(call.node.results[1:]):
        values.append(call.composed(place, x, axis=axis, element=INTEGER))
    return tuple(values)

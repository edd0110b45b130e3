"""Rules of the PyTorch import for sums, means, extremes and norms over axes, softmax."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf, prod
from typing import Any

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.arithmetic_rules import Rule
from specdsl.graph.torch_import.arithmetic_rules import maximum as larger
from specdsl.graph.torch_import.arithmetic_rules import minimum as smaller
from specdsl.graph.torch_import.call import AtenCall, Result

# The value of a product of more factors is 0 or beyond float32 unless all of them are near 1.
MAX_FACTORS = 32

# --- sums and means ------------------------------------------------------------------------------


def over_axes(build: Callable[..., str]) -> Rule:
    """The rule of a reduction over `dim`: some axes, or all."""

    def rule(call: AtenCall) -> Result:
        return reduced(call, build, call.computed())

    return rule


def reduced(call: AtenCall, build: Callable[..., str], x: Computed) -> Computed:
    """A reduction of `composites` over the axes of the call."""
    rank = len(x.shape)
    axes = call.axes("dim", rank)
    if not axes:
        return x
    return call.composed(build, x, axes=axes, keepdims=call.flag("keepdim"))


def variance(call: AtenCall) -> Result:
    """The mean square about the mean, over `count - correction`."""
    return _variance(call)


def deviation(call: AtenCall) -> Result:
    """The root of the variance."""
    return call.add(ops.Sqrt(), _variance(call))


def _variance(call: AtenCall) -> Computed:
    x = call.computed()
    axes = call.axes("dim", len(x.shape))
    count = prod(x.shape[a] for a in axes)
    if call.arguments.get("correction") is not None:
        correction = call.number("correction")
    else:
        correction = 1.0 if call.arguments.get("unbiased", True) else 0.0
    if count <= correction:
        call.refuse(f"the variance of {count} numbers with correction {correction:g}")
    mean = call.composed(composites.reduce_mean, x, axes=axes)
    squared = call.add(ops.Square(), call.composed(composites.subtract, x, mean))
    total = reduced(call, composites.reduce_sum, squared)
    return call.composed(composites.affine, total, scale=1 / (count - Fraction(correction)))


def norm(call: AtenCall) -> Result:
    """Of order 1, 2 or infinity."""
    order = call.arguments.get("ord", call.arguments.get("p"))
    builds: dict[Any, Callable[..., str]] = {
        None: composites.reduce_l2,
        1: composites.reduce_l1,
        2: composites.reduce_l2,
    }
    if order == inf:
        return reduced(call, composites.reduce_max, call.add(ops.Abs(), call.computed()))
    if order not in builds:
        call.refuse(f"the norm of order {order}")
    return reduced(call, builds[order], call.computed())


def total_product(call: AtenCall) -> Result:
    """Of all entries, or along one axis: a product of two halves, each of two halves again."""
    x = call.computed()
    given = call.arguments.get("dim")
    axis = 0 if given is None else call.axis("dim", len(x.shape))
    if given is None:
        x = call.reshape(x, (x.size,))
    places = np.moveaxis(composites.positions(x.shape), axis, -1)
    if places.shape[-1] > MAX_FACTORS:
        call.refuse(f"a product of {places.shape[-1]} factors, more than {MAX_FACTORS}")
    factors = [call.add(ops.Select(places[..., i].copy()), x) for i in range(places.shape[-1])]
    while len(factors) > 1:
        pairs = zip(factors[::2], factors[1::2], strict=False)
        rest = factors[len(factors) // 2 * 2 :]
        factors = [call.composed(composites.multiply, a, b) for a, b in pairs] + rest
    return call.reshape(factors[0], call.shape)


def cumulative_sum(call: AtenCall) -> Result:
    """Of the entries up to each."""
    x = call.computed()
    if not x.shape:
        return x
    return call.composed(composites.cumulative_sum, x, axis=call.axis("dim", len(x.shape)))


# --- extremes ------------------------------------------------------------------------------------


def extreme(sign: float) -> Rule:
    """`max` (sign 1), `min` (-1): of two values, of all entries, or along an axis with places."""
    build = composites.reduce_max if sign > 0 else composites.reduce_min
    place = composites.argmax if sign > 0 else composites.argmin

    def rule(call: AtenCall) -> Result:
        if "other" in call.arguments:
            return larger(call) if sign > 0 else smaller(call)
        if "dim" not in call.arguments:
            return reduced(call, build, call.computed())
        x = call.computed()
        return reduced(call, build, x), _place(call, place, x) if x.shape else None

    return rule


def place_of_extreme(place: Callable[..., str]) -> Rule:
    """Where the extreme stands along an axis, or among all entries: the first of equal ones."""

    def rule(call: AtenCall) -> Result:
        return _place(call, place, call.computed())

    return rule


def _place(call: AtenCall, place: Callable[..., str], x: Computed) -> Computed:
    if call.arguments.get("dim") is None:
        flat = call.reshape(x, (x.size,))
        return call.reshape(call.composed(place, flat, axis=0, keepdims=False), call.shape)
    axis = call.axis("dim", len(x.shape))
    found = call.composed(place, x, axis=axis, keepdims=call.flag("keepdim"))
    return Computed(found.node, found.shape, np.dtype(np.int64))


def top(call: AtenCall) -> Result:
    """The largest entry, or the smallest; more of them need sorting."""
    if call.integer("k") != 1:
        call.refuse(f"k = {call.integer('k')}; only the first of them is supported")
    x = call.computed()
    axis = call.axis("dim", len(x.shape))
    largest = call.flag("largest")
    values = composites.reduce_max if largest else composites.reduce_min
    # Which of equal entries `topk` names is not said, so their places have no rule.
    return call.composed(values, x, axes=(axis,), keepdims=True), None


def any_holds(call: AtenCall) -> Result:
    """Whether some entry is not 0."""
    return reduced(call, composites.reduce_max, _truths(call))


def all_hold(call: AtenCall) -> Result:
    """Whether no entry is 0."""
    return reduced(call, composites.reduce_min, _truths(call))


def _truths(call: AtenCall) -> Computed:
    x = call.computed()
    return x if x.element == np.bool_ else call.composed(composites.truth, x)


# --- softmax -------------------------------------------------------------------------------------


def softmax(build: Callable[..., str]) -> Rule:
    """The rule of softmax or its logarithm along one axis."""

    def rule(call: AtenCall) -> Result:
        x = call.computed()
        if not x.shape:
            call.refuse("softmax of a single number")
        return call.composed(build, x, axis=call.axis("dim", len(x.shape)))

    return rule


RULES: dict[str, Rule] = {
    "_log_softmax": softmax(composites.log_softmax),
    "_softmax": softmax(composites.softmax),
    "all": all_hold,
    "amax": over_axes(composites.reduce_max),
    "amin": over_axes(composites.reduce_min),
    "any": any_holds,
    "argmax": place_of_extreme(composites.argmax),
    "argmin": place_of_extreme(composites.argmin),
    "cumsum": cumulative_sum,
    "linalg_vector_norm": norm,
    "log_softmax": softmax(composites.log_softmax),
    "logsumexp": over_axes(composites.reduce_log_sum_exp),
    "max": extreme(1.0),
    "mean": over_axes(composites.reduce_mean),
    "min": extreme(-1.0),
    "norm": norm,
    "prod": total_product,
    "softmax": softmax(composites.softmax),
    "std": deviation,
    "sum": over_axes(composites.reduce_sum),
    "topk": top,
    "var": variance,
}
"""Rules by the name of the ATen op, without its overload."""

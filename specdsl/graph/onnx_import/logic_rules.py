"""Rules of the ONNX import for comparisons, truth values and choices by them.

Truth values of the graph are the numbers 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import BOOLEAN, Computed
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.arithmetic_rules import common_shape
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.elementwise_rules import Rule
from specdsl.graph.onnx_import.read import Tensor

Folder = Callable[[Any, Any], Any]

# --- comparisons ---------------------------------------------------------------------------------


def _comparison(step: ops.Step, sign: float, fold: Folder) -> Rule:
    """The rule of `step(sign * (left - right))`."""

    def rule(call: NodeCall) -> tuple[Value, ...]:
        left, right = call.operand(0), call.operand(1)
        call.guard_size(common_shape(call, left, right))
        if isinstance(left, Computed) or isinstance(right, Computed):
            gap = _difference(call, left, right, sign)
            return (call.add(step, gap, element=BOOLEAN),)
        return (np.asarray(fold(left, right), dtype=bool),)

    return rule


def _difference(call: NodeCall, left: Value, right: Value, sign: float) -> Computed:
    """`sign * (left - right)`, one of them computed."""
    if isinstance(left, Computed) and isinstance(right, Computed):
        operands = (left, right) if sign > 0 else (right, left)
        return call.composed(composites.subtract, *operands)
    if isinstance(left, Computed):
        other = call.weight(1, "constant")
        return call.composed(
            composites.affine, left, scale=sign, shift=-other if sign > 0 else other
        )
    other = call.weight(0, "constant")
    x = call.computed(1)
    return call.composed(composites.affine, x, scale=-sign, shift=other if sign > 0 else -other)


equal = _comparison(ops.IsZero(), 1.0, np.equal)
greater = _comparison(ops.Positive(), 1.0, np.greater)
greater_or_equal = _comparison(ops.NotNegative(), 1.0, np.greater_equal)
less = _comparison(ops.Positive(), -1.0, np.less)
less_or_equal = _comparison(ops.NotNegative(), -1.0, np.less_equal)

# --- truth values --------------------------------------------------------------------------------


def _connective(build: Callable[..., str], fold: Folder) -> Rule:
    """The rule of a function of two truth values."""

    def rule(call: NodeCall) -> tuple[Value, ...]:
        left, right = call.operand(0), call.operand(1)
        call.guard_size(common_shape(call, left, right))
        if isinstance(left, Computed) or isinstance(right, Computed):
            return (call.composed(build, call.computed(0), call.computed(1), element=BOOLEAN),)
        return (np.asarray(fold(left, right), dtype=bool),)

    return rule


both = _connective(composites.both, np.logical_and)
either = _connective(composites.either, np.logical_or)
exactly_one = _connective(composites.exactly_one, np.logical_xor)


def negation(call: NodeCall) -> tuple[Value, ...]:
    """Not x."""
    x = call.operand(0)
    if isinstance(x, Computed):
        return (call.composed(composites.negation, x),)
    return (np.logical_not(x),)


# --- choices -------------------------------------------------------------------------------------


def where(call: NodeCall) -> tuple[Value, ...]:
    """Left where the condition holds, else right."""
    condition, left, right = call.operand(0), call.operand(1), call.operand(2)
    shape = common_shape(call, condition, left, right)
    call.guard_size(shape)
    if isinstance(condition, Computed):
        return (_chosen(call, condition, left, right),)
    if isinstance(left, Computed) or isinstance(right, Computed):
        return (_picked(call, condition, shape),)
    return (np.where(condition, left, right),)


def _picked(call: NodeCall, condition: Tensor, shape: ops.Shape) -> Value:
    """By a constant condition: entries of the one operand or of the other."""
    holds = np.broadcast_to(condition.astype(bool), shape)
    left, right = call.computed(1), call.computed(2)
    if holds.all() or not holds.any():
        return call.broadcast(left if holds.all() else right, shape)
    both_values = call.add(ops.Concat(0), *(call.reshape(v, (v.size,)) for v in (left, right)))
    places = np.where(
        holds,
        np.broadcast_to(call.positions(left), shape),
        left.size + np.broadcast_to(call.positions(right), shape),
    )
    return call.select(both_values, places)


def _chosen(call: NodeCall, condition: Computed, left: Value, right: Value) -> Value:
    """By a computed condition: `right + condition * (left - right)`."""
    if isinstance(left, Computed) or isinstance(right, Computed):
        operands = call.computed(1), call.computed(2)
        element = operands[0].element
        return call.composed(composites.where, condition, *operands, element=element)
    numbers = call.weight(1, "left constant"), call.weight(2, "right constant")
    gap = constants.exactly("Sub", *numbers)
    if gap is None:
        operands = call.computed(1), call.computed(2)
        return call.composed(composites.where, condition, *operands, element=left.dtype)
    return call.composed(
        composites.affine, condition, scale=gap, shift=numbers[1], element=left.dtype
    )

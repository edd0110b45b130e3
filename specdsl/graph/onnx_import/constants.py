"""Arithmetic on constants, exactly or not at all.

Integers (shapes, mostly) are computed as the runtime does. A sum of two floats may need more digits
than a float has: it becomes float64 where that is exact, fractions where there are few of them, and
else stays in the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites import exact_array
from specdsl.graph.onnx_import.call import NodeCall
from specdsl.graph.onnx_import.read import Tensor

# Fractions are slow: 2**16 operations take a tenth of a second.
MAX_FRACTIONS = 2**16


def folded(call: NodeCall, left: Tensor, right: Tensor) -> Tensor | None:
    """`Add`, `Sub`, `Mul` or `Div` of two constants; None where it has to stay in the graph."""
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        call.refuse(f"shapes {left.shape} and {right.shape} do not broadcast", code="E0609")
    call.guard_size(shape)
    if call.node.op == "Div" and not right.all():
        call.refuse("division by a constant that holds 0")
    if left.dtype.kind in "iu" and right.dtype.kind in "iu":
        return _integers(call.node.op, left, right)
    numbers = call.numbers(left, "left constant"), call.numbers(right, "right constant")
    return exactly(call.node.op, *numbers)


def exactly(op: str, left: Tensor, right: Tensor) -> Tensor | None:
    """`Add`, `Sub`, `Mul` or `Div` of floats or fractions; None for too many fractions."""
    rounded = None if object in {left.dtype, right.dtype} else _floats(op, left, right)
    if rounded is not None:
        return rounded
    if max(left.size, right.size, np.broadcast(left, right).size) > MAX_FRACTIONS:
        return None
    return exact_array(np.asarray(_FRACTIONS[op](fractions(left), fractions(right))))


def _integers(op: str, left: Tensor, right: Tensor) -> Tensor:
    """As the runtime computes them: division truncates."""
    match op:
        case "Add":
            return left + right
        case "Sub":
            return left - right
        case "Mul":
            return left * right
        case _:
            signs = np.sign(left) * np.sign(right)
            return (signs * (np.abs(left) // np.abs(right))).astype(left.dtype)


def _floats(op: str, left: Tensor, right: Tensor) -> Tensor | None:
    """The float64 result, None where it is not exact."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    match op:
        case "Mul":
            # Two mantissas of 24 bits fit into one of 53.
            return a * b if left.dtype == right.dtype == np.float32 else None
        case "Add" | "Sub":
            b = b if op == "Add" else -b
            total = a + b
            # The rounding error of a sum: Knuth, The Art of Computer Programming 2, 4.2.2.
            part = total - a
            error = (a - (total - part)) + (b - part)
            return total if not error.any() else None
        case _:
            return None


def _each(function: Callable[..., Fraction], count: int) -> Callable[..., Any]:
    return np.frompyfunc(function, count, 1)


_FRACTIONS: dict[str, Callable[..., Any]] = {
    "Add": _each(lambda a, b: a + b, 2),
    "Sub": _each(lambda a, b: a - b, 2),
    "Mul": _each(lambda a, b: a * b, 2),
    "Div": _each(lambda a, b: a / b, 2),
}


def fractions(values: Tensor) -> Tensor:
    """The same numbers as an array of `Fraction`."""
    result = np.empty(values.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(v) for v in values.reshape(-1).tolist()]
    return result


def reciprocal(divisor: Tensor) -> Tensor:
    """`1 / divisor`, exactly. The divisor holds no 0."""
    inverse = np.empty(divisor.shape, dtype=object)
    inverse.reshape(-1)[:] = [1 / Fraction(d) for d in divisor.reshape(-1).tolist()]
    return exact_array(inverse)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The exact product of parameters."""
    if (right == 1).all() and not right.ndim:
        return left
    rounded = _floats("Mul", left, right)
    if rounded is not None:
        return rounded
    return exact_array(np.asarray(_FRACTIONS["Mul"](fractions(left), fractions(right))))


def stepped(op: ops.Step, values: Tensor) -> Tensor:
    """A step function of constants, exactly."""
    if values.dtype != object:
        return op.value(values)
    return exact_array(np.asarray(_each(op.exact, 1)(values)))


def whole(values: Tensor) -> Tensor:
    """Numbers without their fractional part, as int64."""
    return np.asarray(stepped(ops.Truncate(), values), dtype=np.float64).astype(np.int64)

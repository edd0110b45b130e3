"""Rules of the ONNX import for constants, and for values that only depend on shapes.

Exporters compute the target of a `Reshape` with ops on integer tensors (`Shape`, `Gather`,
`Concat`, ...). Shapes are all known here, so these run at once in numpy.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, prod

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.import_call import BOOLEAN, FLOAT, Computed, Element
from specdsl.graph.onnx_import import constants
from specdsl.graph.onnx_import.call import NodeCall, Value
from specdsl.graph.onnx_import.read import Tensor

# Enumeration values of onnx.TensorProto.DataType.
_ELEMENTS: dict[int, Element] = {
    1: FLOAT,
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: BOOLEAN,
    11: np.dtype(np.float64),
}
_HALF = {10: "float16", 16: "bfloat16"}


def constant(call: NodeCall) -> tuple[Value, ...]:
    """Any of the attributes that hold the value, but sparse ones and strings."""
    attributes = call.node.attributes
    if len(attributes) == 1:
        ((name, value),) = attributes.items()
        if name in {"value_float", "value_floats"}:
            number = np.asarray(value, dtype=np.float32)
            if not np.isfinite(number).all():
                call.refuse("it is not finite", code="E0606")
            return (number,)
        if name in {"value_int", "value_ints"}:
            return (np.asarray(value, dtype=np.int64),)
        if name == "value" and isinstance(value, np.ndarray):
            return (value,)
    return call.refuse(f"attributes {sorted(attributes)} are not supported")


def constant_of_shape(call: NodeCall) -> tuple[Value, ...]:
    """A tensor filled with one value, zero by default."""
    target = call.integers(0, "the shape")
    if any(n < 0 for n in target):
        call.refuse(f"the impossible shape {target}", code="E0601")
    call.guard_size(target)
    value = call.node.attributes.get("value", np.zeros(1, dtype=np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        call.refuse("its value is not one number", code="E0601")
    return (np.full(target, value.reshape(-1)[0], dtype=value.dtype),)


def shape(call: NodeCall) -> tuple[Value, ...]:
    """The shape as integers, or a slice of it."""
    found = call.operand(0).shape
    stop = call.integer("end", len(found))
    return (np.array(found[call.integer("start", 0) : stop], dtype=np.int64),)


def size(call: NodeCall) -> tuple[Value, ...]:
    """The number of entries."""
    return (np.array(prod(call.operand(0).shape), dtype=np.int64),)


def range_(call: NodeCall) -> tuple[Value, ...]:
    """`start`, `start + delta`, ... before `limit`, exactly."""
    names = ("start", "limit", "delta")
    operands = [call.operand(i) for i in range(3)]
    bounds = [call.weight(i, name) for i, name in enumerate(names)]
    if any(b.size != 1 for b in bounds):
        call.refuse("start, limit and delta are not single numbers", code="E0601")
    start, limit, delta = (Fraction(b.reshape(-1).tolist()[0]) for b in bounds)
    if not delta:
        call.refuse("delta is 0", code="E0601")
    count = max(0, ceil((limit - start) / delta))
    call.guard_size((count,))
    element = operands[0].element if isinstance(operands[0], Computed) else operands[0].dtype
    if element.kind in "iu":
        return (np.array([int(start + i * delta) for i in range(count)], dtype=element),)
    exact = np.empty(count, dtype=object)
    exact[:] = [start + i * delta for i in range(count)]
    return (composites.exact_array(exact),)


# --- element types -------------------------------------------------------------------------------


def cast(call: NodeCall) -> tuple[Value, ...]:
    """To integers without the fractional part, to booleans whether it is not 0.

    Float types differ in rounding only: between them a number stays what it is.
    """
    code = call.integer("to", 0)
    target = _ELEMENTS.get(code)
    if target is None:
        name = _HALF.get(code)
        if name is None:
            call.refuse(f"to element type {code}")
        call.refuse(f"to {name}, which rounds")
    return (_cast(call, call.operand(0), target),)


def cast_like(call: NodeCall) -> tuple[Value, ...]:
    """To the element type of another value."""
    like = call.operand(1)
    target = like.element if isinstance(like, Computed) else like.dtype
    return (_cast(call, call.operand(0), FLOAT if target.kind == "O" else target),)


def _cast(call: NodeCall, x: Value, target: Element) -> Value:
    if not isinstance(x, Computed):
        return _cast_constant(call, x, target)
    if target == x.element or target.kind == "f":
        return Computed(x.node, x.shape, target)
    if target == BOOLEAN:
        return call.composed(composites.truth, x, element=BOOLEAN)
    if x.element != BOOLEAN and target.itemsize < 4:
        call.refuse(f"of computed {x.element} values to {target}, which wraps around")
    if x.element.kind == "f":
        return call.add(ops.Truncate(), x, element=target)
    return Computed(x.node, x.shape, target)


def _cast_constant(call: NodeCall, x: Tensor, target: Element) -> Tensor:
    if target == BOOLEAN:
        return np.asarray(x != 0, dtype=bool)
    if target.kind in "iu":
        found = constants.whole(x) if x.dtype.kind in "fO" else x
        limits = np.iinfo(target)
        if found.size and not limits.min <= int(found.min()) <= int(found.max()) <= limits.max:
            call.refuse(f"of numbers outside {target}")
        return found.astype(target)
    if x.dtype.kind in "iub":
        x = call.numbers(x, "constant")
    if x.dtype == object or target.itemsize >= x.dtype.itemsize:
        return x if x.dtype == object else x.astype(target)
    rounded = x.astype(target)
    return rounded if np.array_equal(rounded, x) else x

"""Rules of the PyTorch import for sums, products, quotients, powers, comparisons and choices."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.call import AtenCall, Parameter, Result, Value

Rule = Callable[[AtenCall], Result]
Operand = Computed | Parameter

# Integers this wide do not wrap around in any network that makes sense.
WIDE_BYTES = 4


def operands(call: AtenCall, *names: str) -> tuple[Operand, ...]:
    """Arguments that are tensors or numbers; constants in the type the op computes in."""
    values = [call.arguments.get(name) for name in names]
    common = _common_type(values)
    return tuple(_operand(call, n, v, common) for n, v in zip(names, values, strict=True))


def _common_type(values: list[Any]) -> torch.dtype:
    """What PyTorch promotes the operands to: numbers and tensors without axes count for less."""
    meta = [_meta(v) for v in values]
    found = meta[0]
    for other in meta[1:]:
        found = _empty((), torch.result_type(found, other), found, other)
    return found.dtype if isinstance(found, torch.Tensor) else torch.get_default_dtype()


def _empty(shape: tuple[int, ...], dtype: torch.dtype, *parts: Any) -> torch.Tensor:
    rank = max((p.ndim for p in parts if isinstance(p, torch.Tensor)), default=0)
    return torch.empty((1,) * max(rank, len(shape)), dtype=dtype, device="meta")


def _meta(value: Any) -> Any:
    """A stand-in for a value with its type and number of axes; numbers are themselves."""
    match value:
        case Computed():
            dtype = torch.from_numpy(np.empty(0, dtype=value.element)).dtype
            return _empty(value.shape, dtype)
        case torch.Tensor():
            return _empty(tuple(value.shape), value.dtype)
        case _:
            return value


def _operand(call: AtenCall, name: str, value: Any, common: torch.dtype) -> Operand:
    if isinstance(value, Computed):
        return value
    if isinstance(value, torch.Tensor):
        return call.numbers(value.to(common), f"`{name}`")
    if isinstance(value, bool) or common in {torch.float32, torch.float64}:
        number = float(value) if isinstance(value, bool) else call.number(name)
        return np.asarray(number, dtype=np.float64 if call.double else np.float32)
    return np.asarray(float(call.integer(name)))


def node(call: AtenCall, value: Operand) -> Computed:
    """An operand as a node."""
    return value if isinstance(value, Computed) else call.add(ops.Constant(value))


def _exactly(call: AtenCall) -> None:
    """Refuse arithmetic that is computed modulo a power of two, or on truth values."""
    element = call.element
    if element == np.bool_ or (element.kind in "iu" and element.itemsize < WIDE_BYTES):
        call.refuse(f"arithmetic on {element} values")


# --- sums ----------------------------------------------------------------------------------------


def add(call: AtenCall) -> Result:
    """`self + alpha * other`."""
    return _sum(call, "self", "other", 1.0)


def subtract(call: AtenCall) -> Result:
    """`self - alpha * other`."""
    return _sum(call, "self", "other", -1.0)


def subtract_from(call: AtenCall) -> Result:
    """`other - alpha * self`."""
    return _sum(call, "other", "self", -1.0)


def _sum(call: AtenCall, first: str, second: str, sign: float) -> Computed:
    _exactly(call)
    left, right = operands(call, first, second)
    factor = sign * call.number("alpha", 1.0)
    if isinstance(left, Computed) and isinstance(right, Computed):
        if factor in {1.0, -1.0}:
            build = composites.add if factor > 0 else composites.subtract
            return call.composed(build, left, right)
        scaled = call.composed(composites.affine, right, scale=factor)
        return call.composed(composites.add, left, scaled)
    if isinstance(left, Computed):
        return call.composed(composites.affine, left, shift=times(right, factor))
    return call.composed(composites.affine, node(call, right), scale=factor, shift=left)


def times(values: Parameter | Operand, factor: float) -> Parameter:
    """The exact product of a parameter and a number: no digits are lost in float64 or fractions."""
    assert not isinstance(values, Computed)
    if factor in {1.0, -1.0}:
        return values if factor > 0 else -values
    exact = np.empty(values.shape, dtype=object)
    exact.reshape(-1)[:] = [Fraction(v) * Fraction(factor) for v in values.reshape(-1).tolist()]
    return composites.exact_array(exact)


# --- products ------------------------------------------------------------------------------------


def multiply(call: AtenCall) -> Result:
    """`self * other`; of truth values, that both hold."""
    left, right = operands(call, "self", "other")
    if call.element != np.bool_:
        _exactly(call)
    return product(call, left, right)


def product(call: AtenCall, left: Operand, right: Operand) -> Computed:
    """Entry by entry."""
    if isinstance(left, Computed) and isinstance(right, Computed):
        return call.composed(composites.multiply, left, right)
    x, factor = (left, right) if isinstance(left, Computed) else (right, left)
    return call.composed(composites.affine, node(call, x), scale=factor)


def divide(call: AtenCall) -> Result:
    """`self / other`, perhaps rounded down or towards 0."""
    quotient = _quotient(call, *operands(call, "self", "other"))
    match call.arguments.get("rounding_mode"):
        case None:
            return quotient
        case "floor":
            return call.add(ops.Floor(), quotient)
        case _:
            return call.add(ops.Truncate(), quotient)


def floor_divide(call: AtenCall) -> Result:
    """`floor(self / other)`."""
    return call.add(ops.Floor(), _quotient(call, *operands(call, "self", "other")))


def remainder(call: AtenCall) -> Result:
    """`self - other * floor(self / other)`: it has the sign of `other`."""
    return _rest(call, ops.Floor())


def signed_remainder(call: AtenCall) -> Result:
    """`self - other * trunc(self / other)`: it has the sign of `self`."""
    return _rest(call, ops.Truncate())


def _rest(call: AtenCall, rounding: ops.Step) -> Computed:
    left, right = operands(call, "self", "other")
    whole = call.add(rounding, _quotient(call, left, right))
    taken = product(call, whole, right)
    return call.composed(composites.subtract, node(call, left), taken)


def _quotient(call: AtenCall, left: Operand, right: Operand) -> Computed:
    if not isinstance(right, Computed):
        if not right.all():
            call.refuse("division by a constant that holds 0")
        return call.composed(composites.affine, node(call, left), scale=inverse(right))
    if isinstance(left, Computed):
        return call.composed(composites.divide, left, right)
    return call.composed(composites.affine, call.add(ops.Reciprocal(), right), scale=left)


def inverse(values: Parameter) -> Parameter:
    """`1 / values`, exactly."""
    exact = np.empty(values.shape, dtype=object)
    exact.reshape(-1)[:] = [1 / Fraction(v) for v in values.reshape(-1).tolist()]
    return composites.exact_array(exact)


def negate(call: AtenCall) -> Result:
    """`-self`."""
    _exactly(call)
    return call.composed(composites.opposite, call.computed())


# --- powers --------------------------------------------------------------------------------------


def power(call: AtenCall) -> Result:
    """Of a computed base: one constant exponent; of a constant base: its exponential."""
    base, exponent = operands(call, "self", "exponent")
    if isinstance(exponent, Computed):
        return _exponential(call, base, exponent)
    found = np.unique(exponent)
    if found.size != 1:
        call.refuse("a power with several constant exponents")
    x = node(call, base)
    if call.element.kind in "iu" and found[0] < 0:
        call.refuse(f"integers to the power {found[0]:g}")
    raised = call.composed(composites.power, x, exponent=float(found[0]))
    return call.composed(composites.broadcast, raised, shape=call.shape)


def _exponential(call: AtenCall, base: Operand, exponent: Computed) -> Computed:
    """`base ** x` of positive constants: `e^(x log base)`, the logarithm rounded to float64."""
    if isinstance(base, Computed):
        call.refuse("a power whose base and exponent are both computed is not supported")
    if not (base > 0).all():
        call.refuse("a computed power of constants that are not positive is not supported")
    logarithm = np.log(base.astype(np.float64))
    return call.add(ops.Exp(), call.composed(composites.affine, exponent, scale=logarithm))


# --- extremes ------------------------------------------------------------------------------------


def maximum(call: AtenCall) -> Result:
    """The larger, entry by entry."""
    left, right = operands(call, "self", "other")
    return extreme(call, left, right, 1.0)


def minimum(call: AtenCall) -> Result:
    """The smaller, entry by entry."""
    left, right = operands(call, "self", "other")
    return extreme(call, left, right, -1.0)


def extreme(call: AtenCall, left: Operand, right: Operand, sign: float) -> Computed:
    """The larger (sign 1) or smaller (-1): `max(x, c) = c + relu(x - c)` for a constant c."""
    if isinstance(left, Computed) and isinstance(right, Computed):
        build = composites.maximum if sign > 0 else composites.minimum
        return call.composed(build, left, right)
    x, limit = (left, right) if isinstance(left, Computed) else (right, left)
    assert not isinstance(limit, Computed)
    shift = -limit if sign > 0 else limit
    gap = call.composed(composites.affine, node(call, x), scale=sign, shift=shift)
    return call.composed(composites.affine, call.add(ops.Relu(), gap), scale=sign, shift=limit)


def clamp(call: AtenCall) -> Result:
    """`min(max(self, min), max)`; bounds are numbers, or tensors that broadcast."""
    x = call.computed()
    given = [call.arguments.get(name) for name in ("min", "max")]
    if not any(isinstance(bound, Computed | torch.Tensor) for bound in given):
        lower, upper = call.bound("min"), call.bound("max")
        return call.composed(composites.clip, x, lower=lower, upper=upper)
    for name, bound, sign in (("min", given[0], 1.0), ("max", given[1], -1.0)):
        if bound is not None:
            _, limit = operands(call, "self", name)
            x = extreme(call, x, limit, sign)
    return x


# --- comparisons and truth values ----------------------------------------------------------------


def comparison(step: ops.Step, sign: float, *, negated: bool = False) -> Rule:
    """The rule of `step(sign * (self - other))`, or of its opposite."""

    def rule(call: AtenCall) -> Result:
        left, right = operands(call, "self", "other")
        if isinstance(left, Computed) and isinstance(right, Computed):
            pair = (left, right) if sign > 0 else (right, left)
            gap = call.composed(composites.subtract, *pair)
        elif isinstance(right, Computed):
            assert not isinstance(left, Computed)
            shift = left if sign > 0 else -left
            gap = call.composed(composites.affine, right, scale=-sign, shift=shift)
        else:
            shift = -right if sign > 0 else right
            gap = call.composed(composites.affine, node(call, left), scale=sign, shift=shift)
        held = call.add(step, gap)
        return call.composed(composites.negation, held) if negated else held

    return rule


def truth(call: AtenCall, x: Computed) -> Computed:
    """Whether a value is not 0; truth values are themselves."""
    return x if x.element == np.bool_ else call.composed(composites.truth, x)


def connective(build: Callable[..., str]) -> Rule:
    """The rule of a function of two truth values; numbers count as true where they are not 0."""

    def rule(call: AtenCall) -> Result:
        if "bitwise" in call.op and call.dtype != torch.bool:
            call.refuse("bits of numbers")
        pair = (truth(call, node(call, v)) for v in operands(call, "self", "other"))
        return call.composed(build, *pair)

    return rule


def negation(call: AtenCall) -> Result:
    """Not self."""
    if "bitwise" in call.op and call.dtype != torch.bool:
        call.refuse("bits of numbers")
    return call.composed(composites.negation, truth(call, call.computed()))


# --- choices -------------------------------------------------------------------------------------


def where(call: AtenCall) -> Result:
    """`self` where the condition holds, else `other`."""
    return chosen(call, call.operand("condition"), *operands(call, "self", "other"))


def masked_fill(call: AtenCall) -> Result:
    """`value` where the mask holds, else `self`."""
    fill, x = operands(call, "value", "self")
    return chosen(call, call.operand("mask"), fill, x)


def chosen(call: AtenCall, condition: Value, left: Operand, right: Operand) -> Computed:
    """By a constant condition: entries of the one or of the other; else a product with it."""
    if isinstance(condition, Computed):
        if not isinstance(left, Computed) and not isinstance(right, Computed):
            gap = composites.exact_array(_difference(left, right))
            return call.composed(
                composites.affine, condition, scale=gap, shift=composites.exact_array(right)
            )
        pair = node(call, left), node(call, right)
        return call.composed(composites.where, condition, *pair)
    holds = np.broadcast_to(condition.cpu().numpy().astype(bool), call.shape)
    x, y = node(call, left), node(call, right)
    if holds.all() or not holds.any():
        return call.composed(composites.broadcast, x if holds.all() else y, shape=call.shape)
    joined = call.add(ops.Concat(0), *(call.reshape(v, (v.size,)) for v in (x, y)))
    first, second = composites.positions(x.shape), x.size + composites.positions(y.shape)
    places = np.where(
        holds, np.broadcast_to(first, call.shape), np.broadcast_to(second, call.shape)
    )
    return call.add(ops.Select(places), joined)


def _difference(left: Parameter, right: Parameter) -> Parameter:
    """`left - right` as fractions."""
    first, second = np.broadcast_arrays(left, right)
    result = np.empty(first.shape, dtype=object)
    pairs = zip(first.reshape(-1).tolist(), second.reshape(-1).tolist(), strict=True)
    result.reshape(-1)[:] = [Fraction(a) - Fraction(b) for a, b in pairs]
    return result


RULES: dict[str, Rule] = {
    "add": add,
    "bitwise_and": connective(composites.both),
    "bitwise_not": negation,
    "bitwise_or": connective(composites.either),
    "bitwise_xor": connective(composites.exactly_one),
    "clamp": clamp,
    "clamp_max": clamp,
    "clamp_min": clamp,
    "div": divide,
    "eq": comparison(ops.IsZero(), 1.0),
    "floor_divide": floor_divide,
    "fmod": signed_remainder,
    "ge": comparison(ops.NotNegative(), 1.0),
    "gt": comparison(ops.Positive(), 1.0),
    "le": comparison(ops.NotNegative(), -1.0),
    "logical_and": connective(composites.both),
    "logical_not": negation,
    "logical_or": connective(composites.either),
    "logical_xor": connective(composites.exactly_one),
    "lt": comparison(ops.Positive(), -1.0),
    "masked_fill": masked_fill,
    "maximum": maximum,
    "minimum": minimum,
    "mul": multiply,
    "ne": comparison(ops.IsZero(), 1.0, negated=True),
    "neg": negate,
    "pow": power,
    "remainder": remainder,
    "rsub": subtract_from,
    "sub": subtract,
    "true_divide": divide,
    "where": where,
}
"""Rules by the name of the ATen op, without its overload."""

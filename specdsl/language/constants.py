"""Exact arithmetic on constants, one operation at a time; `evaluation` does whole expressions.

The checker folds constants with them while it types. All raise `SpecError` without a span: E0303
shapes that do not fit, E0305 arguments, E0312 not a constant, E0404 division by zero, E0406 too
large.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import isqrt, prod

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language.spec import ExactArray, Value

# 2^1000 is about 1e301: every value, and sums of a few million of them, still fit a float64.
MAX_MAGNITUDE = Fraction(2**1000)
# Long sums of fractions grow their denominators; ten thousand bits is beyond any meant number.
MAX_BITS = 10_000
MAX_EXPONENT = 1_000
# A chain of functions this long is a mistake; it also keeps the recursion inside Python's limit.
MAX_CALL_DEPTH = 32
LARGEST_POWER = 16
"""Higher powers of varying values multiply too often to be bounded well."""

NORMS: tuple[str, ...] = ("l1", "l2", "linf")

CONSTANT_FUNCTIONS: tuple[str, ...] = (
    *("abs", "min", "max", "sum", "mean", "dot", "norm", "relu", "clip", "flatten"),
    *("all", "any", "argmax", "argmin", "margin"),
)
"""Built-in functions that have a value when their arguments have one."""

_COUNTS: Mapping[str, int] = {"dot": 2, "norm": 2, "clip": 3, "margin": 2}
"""Arguments of functions that take neither one nor any number."""

ARITHMETIC: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operators.add,
    "-": operators.sub,
    "*": operators.mul,
    "/": operators.truediv,
}

LEFT_CHAINS: frozenset[str] = frozenset({*ARITHMETIC, "and", "or"})
"""Operators that group from the left, so that long files hold long chains of them."""

COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operators.le,
    "<": operators.lt,
    ">=": operators.ge,
    ">": operators.gt,
    "==": operators.eq,
    "!=": operators.ne,
}


# --- single operations ---------------------------------------------------------------------------


def arithmetic(operator: str, left: Value, right: Value) -> Value:
    """`left operator right` for `+ - * /`; a scalar meets every entry of a tensor."""
    a, b = _numbers(left), _numbers(right)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape != b.shape:
        raise SpecError.of("E0303", f"shapes {list(a.shape)} and {list(b.shape)} differ")
    if operator == "/" and holds_zero(b):
        raise SpecError.of("E0404", "division by zero")
    apply_to = ARITHMETIC[operator]
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(apply_to(a, b))
    shape = shape_of(a) or shape_of(b)
    size = max(len(entries(a)), len(entries(b)))
    pairs = zip(*(spread(v, size) for v in (a, b)), strict=True)
    return bounded(tensor([apply_to(x, y) for x, y in pairs], shape))


def negate(value: Value) -> Value:
    """`-value`, entry by entry."""
    return arithmetic("-", Fraction(0), value)


def power(base: Value, exponent: Value) -> Value:
    """`base ^ exponent` for a whole exponent, so that the result stays rational."""
    a, n = _numbers(base), _numbers(exponent)
    if isinstance(n, np.ndarray) or n.denominator != 1:
        raise SpecError.of("E0312", "an exponent is a whole number, so that results stay exact")
    if abs(n) > MAX_EXPONENT:
        raise SpecError.of("E0406", f"the exponent is beyond {MAX_EXPONENT}")
    if n < 0 and holds_zero(a):
        raise SpecError.of("E0404", "division by zero")
    if isinstance(a, np.ndarray):
        return bounded(tensor([_power(Fraction(v), int(n)) for v in a.reshape(-1)], a.shape))
    return bounded(_power(a, int(n)))


def compare(operator: str, left: Value, right: Value) -> bool:
    """`left operator right` for two numbers, or two equal kinds of anything with `==` and `!=`."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        raise SpecError.of("E0308", "tensors are compared entry by entry: use `all` or `any`")
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return bool(COMPARISONS[operator](left, right))
    if type(left) is not type(right) or operator not in {"==", "!="}:
        raise SpecError.of("E0302", f"`{operator}` does not compare these")
    return (left == right) == (operator == "==")


def compare_entries(operator: str, left: Value, right: Value) -> tuple[bool, ...]:
    """The comparison of each entry in row-major order; a scalar meets every entry."""
    size = max(len(entries(left)), len(entries(right)))
    pairs = zip(spread(left, size), spread(right, size), strict=True)
    return tuple(bool(COMPARISONS[operator](x, y)) for x, y in pairs)


def tensor(values: Sequence[Fraction], shape: tuple[int, ...]) -> ExactArray:
    """An exact tensor from its entries in row-major order."""
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result.reshape(shape)


def stack(items: Sequence[Value]) -> ExactArray:
    """Equal shapes as one tensor with a new first axis. Raises E0310 where they differ."""
    shapes = {shape_of(item) for item in items}
    if len(shapes) != 1:
        raise SpecError.of("E0310", "the entries of a list have different shapes")
    (shape,) = shapes
    return tensor([v for item in items for v in entries(item)], (len(items), *shape))


def bounded(value: Value) -> Value:
    """The value itself. Raises E0406 where a number is too large to work with."""
    if isinstance(value, Fraction):
        _check_size(value)
    elif isinstance(value, np.ndarray):
        for entry in value.reshape(-1):
            _check_size(entry)
    return value


def entries(value: Value) -> list[Fraction]:
    """The numbers in a value, in row-major order; a number is its own only entry."""
    numbers = _numbers(value)
    if isinstance(numbers, Fraction):
        return [numbers]
    return [Fraction(entry) for entry in numbers.reshape(-1)]


def spread(value: Value, size: int) -> list[Fraction]:
    """The entries; a number is repeated `size` times."""
    each = entries(value)
    return each * size if len(each) == 1 else each


def shape_of(value: Value) -> tuple[int, ...]:
    """The shape of a tensor; a number has the shape ()."""
    numbers = _numbers(value)
    return () if isinstance(numbers, Fraction) else numbers.shape


def holds_zero(value: Value) -> bool:
    """Whether some entry is 0, so that nothing can be divided by it."""
    return any(entry == 0 for entry in entries(value))


def scalar(value: Value) -> Value:
    """A tensor with one entry as that number; everything else unchanged."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return Fraction(value.reshape(-1)[0])
    return value


def apply(function: str, arguments: Sequence[Value]) -> Value:
    """One of CONSTANT_FUNCTIONS. `min`, `max` take one tensor or several numbers."""
    wanted = _COUNTS.get(function, len(arguments))
    if len(arguments) != wanted:
        raise SpecError.of("E0305", f"`{function}` takes {wanted} arguments, not {len(arguments)}")
    match function:
        case "all" | "any":
            parts = (a if isinstance(a, tuple) else (a,) for a in arguments)
            truth = [part for each in parts for part in each]
            return all(truth) if function == "all" else any(truth)
        case "abs" | "relu" | "clip" | "flatten":
            return _entrywise(function, arguments)
        case "norm":
            return norm(arguments[0], str(arguments[1]))
        case "dot":
            return matrix_product(arguments[0], arguments[1])
        case "margin":
            return _margin(arguments[0], arguments[1])
        case "argmax" | "argmin":
            return _best(function, entries(arguments[0]))
        case _:
            each = [entry for argument in arguments for entry in entries(argument)]
            return _reduced(function, each)


def _entrywise(function: str, arguments: Sequence[Value]) -> Value:
    number = _numbers(arguments[0])
    each = entries(number)
    shape = shape_of(number)
    if function == "flatten":
        return tensor(each, (len(each),))
    if function == "abs":
        found = [abs(v) for v in each]
    elif function == "relu":
        found = [max(v, Fraction(0)) for v in each]
    else:
        low, high = (_one(end) for end in arguments[1:])
        found = [min(max(v, low), high) for v in each]
    return found[0] if isinstance(number, Fraction) else tensor(found, shape)


def _reduced(function: str, each: Sequence[Fraction]) -> Fraction:
    if function == "sum":
        total = sum(each, Fraction(0))
        _check_size(total)
        return total
    if not each:
        raise SpecError.of("E0312", f"`{function}` of nothing has no value")
    if function == "mean":
        return _reduced("sum", each) / len(each)
    return max(each) if function == "max" else min(each)


def _best(function: str, each: Sequence[Fraction]) -> Fraction:
    best = max(each) if function == "argmax" else min(each)
    if each.count(best) != 1:
        raise SpecError.of("E0312", f"`{function}` has a tie: two entries are {best}")
    return Fraction(each.index(best))


def _margin(scores: Value, label: Value) -> Fraction:
    each, chosen = entries(scores), _one(label)
    if len(each) < 2 or chosen not in range(len(each)):
        raise SpecError.of("E0306", f"a label from 0 to {len(each) - 1} is needed here")
    return min(each[int(chosen)] - v for i, v in enumerate(each) if i != chosen)


def _one(value: Value) -> Fraction:
    number = scalar(value)
    if not isinstance(number, Fraction):
        raise SpecError.of("E0302", "one number is needed here")
    return number


def norm(value: Value, name: str) -> Fraction:
    """One of NORMS. Raises E0312 for an l2 norm that is irrational."""
    each = entries(value)
    if name == "l1":
        return sum((abs(v) for v in each), Fraction(0))
    if name == "linf":
        return max(abs(v) for v in each)
    if name != "l2":
        raise SpecError.of("E0302", f"`{name}` is no norm: norms are {', '.join(NORMS)}")
    square = sum((v * v for v in each), Fraction(0))
    root = Fraction(isqrt(square.numerator), isqrt(square.denominator))
    if root * root != square:
        raise SpecError.of("E0312", "this l2 norm is irrational, so it has no exact value")
    return root


def matrix_product(left: Value, right: Value) -> Value:
    """`left @ right` of vectors and matrices. Raises E0303 where their inner axes differ."""
    a, b = (np.asarray(_numbers(side), dtype=object) for side in (left, right))
    if a.ndim not in (1, 2) or b.ndim not in (1, 2) or a.shape[-1] != b.shape[0]:
        shapes = f"{list(a.shape)} and {list(b.shape)}"
        raise SpecError.of("E0303", f"shapes {shapes} have no matrix product")
    return bounded(_unboxed(np.asarray(a @ b, dtype=object)))


def part(value: Value, places: tuple[int | slice, ...]) -> Value:
    """An entry (a number) or a part (a tensor) of a tensor; positions lie inside it."""
    return _unboxed(np.asarray(np.asarray(_numbers(value), dtype=object)[places], dtype=object))


def _unboxed(found: ExactArray) -> Value:
    """A tensor without axes as the number in it."""
    return Fraction(found.item()) if found.ndim == 0 else found


def size(shape: tuple[int, ...]) -> int:
    """Number of entries of a shape."""
    return prod(shape)


def _power(base: Fraction, exponent: int) -> Fraction:
    size = max(abs(base.numerator).bit_length(), base.denominator.bit_length())
    if size * abs(exponent) > MAX_BITS:
        raise SpecError.of("E0406", "the power has too many digits")
    return Fraction(base**exponent)


def _check_size(value: Fraction) -> None:
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    if bits > MAX_BITS:
        raise SpecError.of("E0406", "the exact value has more digits than any number could mean")
    if abs(value) > MAX_MAGNITUDE:
        raise SpecError.of("E0406", "the value is beyond the range of floating-point numbers")


def _numbers(value: Value) -> Fraction | ExactArray:
    if isinstance(value, bool | str | tuple):
        raise SpecError.of("E0302", "a number is needed here")
    return value

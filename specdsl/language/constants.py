"""Exact arithmetic on constants: what an expression is worth when nothing in it is quantified.

`evaluate` serves whoever has names with values at hand; the single operations serve the checker,
which folds constants while it types. All raise `SpecError`, without a span where they know none:
E0303 shapes that do not fit, E0312 not a constant, E0404 division by zero, E0406 too large.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NoReturn

import numpy as np

from specdsl.diagnostics import SpecError, suggestion
from specdsl.language import syntax
from specdsl.language.spec import ExactArray, Value

# 2^1000 is about 1e301: every value, and sums of a few million of them, still fit a float64.
MAX_MAGNITUDE = Fraction(2**1000)
# Long sums of fractions grow their denominators; ten thousand bits is beyond any meant number.
MAX_BITS = 10_000
MAX_EXPONENT = 1_000
# A chain of functions this long is a mistake; it also keeps the recursion inside Python's limit.
MAX_CALL_DEPTH = 32

NORMS: tuple[str, ...] = ("l1", "l2", "linf")

CONSTANT_FUNCTIONS: tuple[str, ...] = ("abs", "min", "max", "sum", "all", "any", "argmax", "argmin")
"""Built-in functions that have a value when their arguments have one."""

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
    if function in {"all", "any"}:
        truth = arguments[0] if isinstance(arguments[0], tuple) else (arguments[0],)
        return all(truth) if function == "all" else any(truth)
    if function == "abs":
        return abs(_numbers(arguments[0]))
    each = [entry for argument in arguments for entry in entries(argument)]
    if function == "sum":
        return bounded(sum(each, Fraction(0)))
    if function in {"argmax", "argmin"}:
        best = max(each) if function == "argmax" else min(each)
        if each.count(best) != 1:
            raise SpecError.of("E0312", f"`{function}` has a tie: two entries are {best}")
        return Fraction(each.index(best))
    return max(each) if function == "max" else min(each)


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


# --- whole expressions ---------------------------------------------------------------------------


def evaluate(
    expression: syntax.Expr,
    environment: Mapping[str, Value],
    functions: Mapping[str, syntax.Let] | None = None,
) -> Value:
    """The exact value of a constant expression.

    `environment` gives names their values (`Spec.values` holds parameters, constants and labels);
    `functions` are the user's, called with values. Units are taken as checked. Raises SpecError,
    placed at the expression that has no value.
    """
    return _Evaluator(environment, functions or {}, 0).value(expression)


class _Evaluator:
    """One environment; a call of a user's function gets its own."""

    def __init__(
        self, environment: Mapping[str, Value], functions: Mapping[str, syntax.Let], depth: int
    ) -> None:
        self.environment = environment
        self.functions = functions
        self.depth = depth

    def value(self, expression: syntax.Expr) -> Value:
        try:
            return self._value(expression)
        except SpecError as error:
            raise error.at(expression.span) from error

    def _value(self, expression: syntax.Expr) -> Value:
        match expression:
            case syntax.Number(value=number):
                return bounded(number)
            case syntax.String(value=text):
                return text
            case syntax.Boolean(value=truth):
                return truth
            case syntax.Name(name=name):
                return self._name(name)
            case syntax.Unary(operator="-", operand=operand):
                return negate(self.value(operand))
            case syntax.Absolute(operand=operand):
                return apply("abs", [self.value(operand)])
            case syntax.List(items=items):
                return stack([self.value(item) for item in items])
            case syntax.Tuple(items=items):
                return tuple(self.value(item) for item in items)
            case syntax.Call():
                return self._call(expression)
            case syntax.Index():
                return self._index(expression)
            case _:
                return self._operation(expression)

    def _operation(self, expression: syntax.Expr) -> Value:
        match expression:
            case syntax.Unary(operand=operand):
                return not self._truth(operand)
            case syntax.Binary(operator=operator) if operator in LEFT_CHAINS:
                return self._chain(expression)
            case syntax.Binary(operator="=>", left=left, right=right):
                return not self._truth(left) or self._truth(right)
            case syntax.Binary(operator="^", left=left, right=right):
                return power(self.value(left), self.value(right))
            case syntax.Comparison(operands=operands, operators=symbols):
                values = [scalar(self.value(operand)) for operand in operands]
                pairs = zip(symbols, pairwise(values), strict=True)
                return all(compare(symbol, a, b) for symbol, (a, b) in pairs)
            case syntax.IfThenElse(condition=condition, yes=yes, no=no):
                return self.value(yes if self._truth(condition) else no)
            case _:
                return self._refuse("not a constant")

    def _chain(self, expression: syntax.Binary) -> Value:
        """`a + b + c ...` from the left, without recursion: generated files have long chains."""
        links = [expression]
        while isinstance(links[-1].left, syntax.Binary) and links[-1].left.operator in LEFT_CHAINS:
            links.append(links[-1].left)
        value = self.value(links[-1].left)
        for link in reversed(links):
            value = self._link(link, value)
        return value

    def _link(self, link: syntax.Binary, left: Value) -> Value:
        if link.operator in ARITHMETIC:
            return arithmetic(link.operator, left, self.value(link.right))
        if not isinstance(left, bool):
            raise SpecError.of("E0302", "a truth value is needed here", link.left.span)
        decided = left if link.operator == "or" else not left
        return left if decided else self._truth(link.right)

    def _name(self, name: str) -> Value:
        if name in self.environment:
            return self.environment[name]
        if name in NORMS:
            return name
        raise SpecError.of(
            "E0312", f"`{name}` has no constant value", help=suggestion(name, self.environment)
        )

    def _truth(self, expression: syntax.Expr) -> bool:
        value = self.value(expression)
        if not isinstance(value, bool):
            raise SpecError.of("E0302", "a truth value is needed here", expression.span)
        return value

    def _index(self, expression: syntax.Index) -> Value:
        base = self.value(expression.base)
        if not isinstance(base, np.ndarray) or len(expression.items) != base.ndim:
            return self._refuse("not an entry of a constant tensor")
        position: list[int] = []
        for item, extent in zip(expression.items, base.shape, strict=True):
            index = Fraction(-1) if isinstance(item, syntax.Slice) else self.value(item)
            if not isinstance(index, Fraction) or index not in range(extent):
                raise SpecError.of("E0306", f"an index from 0 to {extent - 1} is needed here")
            position.append(int(index))
        return Fraction(base[tuple(position)])

    def _call(self, expression: syntax.Call) -> Value:
        name = expression.function.name if isinstance(expression.function, syntax.Name) else None
        arguments: list[Value] = []
        for argument in expression.arguments:
            if isinstance(argument, syntax.NamedArgument | syntax.Comprehension):
                return self._refuse("not a constant")
            arguments.append(self.value(argument))
        function = self.functions.get(name or "")
        if function is not None and function.parameters is not None:
            return self._apply(function, arguments)
        if name in CONSTANT_FUNCTIONS and arguments:
            return apply(name, arguments)
        return self._refuse("not a constant")

    def _apply(self, function: syntax.Let, arguments: Sequence[Value]) -> Value:
        parameters = function.parameters or ()
        if len(parameters) != len(arguments):
            return self._refuse(f"`{function.names[0]}` takes {len(parameters)} arguments")
        if self.depth >= MAX_CALL_DEPTH:
            raise SpecError.of("E0205", f"calls nest deeper than {MAX_CALL_DEPTH}")
        bound = {p.name: v for p, v in zip(parameters, arguments, strict=True)}
        inner = _Evaluator({**self.environment, **bound}, self.functions, self.depth + 1)
        return inner.value(function.value)

    def _refuse(self, why: str) -> NoReturn:
        raise SpecError.of("E0312", f"a constant is needed here; this is {why}")

"""What a constant expression is worth: the whole of it, for whoever has names with values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NoReturn

import numpy as np

from specdsl.diagnostics import SpecError, suggestion
from specdsl.language import syntax
from specdsl.language.constants import (
    ARITHMETIC,
    CONSTANT_FUNCTIONS,
    LEFT_CHAINS,
    MAX_CALL_DEPTH,
    NORMS,
    apply,
    arithmetic,
    bounded,
    compare,
    matrix_product,
    negate,
    part,
    power,
    scalar,
    stack,
)
from specdsl.language.elementary import ELEMENTARY, elementary
from specdsl.language.spec import Value


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
            case syntax.Binary(operator="@", left=left, right=right):
                return matrix_product(self.value(left), self.value(right))
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
        if not isinstance(base, np.ndarray) or len(expression.items) > base.ndim:
            return self._refuse("not an entry of a constant tensor")
        places: list[int | slice] = []
        for item, extent in zip(expression.items, base.shape, strict=False):
            if isinstance(item, syntax.Slice):
                start, stop = (
                    default if end is None else self._place(end, extent + 1)
                    for end, default in ((item.start, 0), (item.stop, extent))
                )
                places.append(slice(start, stop))
            else:
                places.append(self._place(item, extent))
        return part(base, tuple(places))

    def _place(self, expression: syntax.Expr, extent: int) -> int:
        index = self.value(expression)
        if not isinstance(index, Fraction) or index not in range(extent):
            raise SpecError.of("E0306", f"an index from 0 to {extent - 1} is needed here")
        return int(index)

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
        if name in ELEMENTARY and len(arguments) == 1:
            return elementary(name, arguments[0])
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

"""`exp`, `log`, `sqrt`, `sin`, ... and `softmax`: what they take and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.language import syntax, units
from specdsl.language.elementary import ANGLES, SOFTMAX, elementary
from specdsl.language.types import TensorType
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.numbers import computed
from specdsl.language.typing.operands import Operand, fold, operand, text_of

Apply = Callable[[syntax.Call, Sequence[syntax.Expr], Context], Typed]


def elementary_function(function: str) -> Apply:
    """The rule for one of ELEMENTARY. A constant whose value is irrational has a type only."""

    def apply(call: syntax.Call, arguments: Sequence[syntax.Expr], context: Context) -> Typed:
        x = operand(arguments[0], context.type_of(arguments[0]), context)
        if x is None:
            return NOTHING
        kind = _softmax_type(x, context) if function == SOFTMAX else _type(function, x, context)
        if kind is None:
            return NOTHING
        given = x.typed.value
        if given is None:
            return computed(kind, None, [x], call)
        try:
            value = elementary(function, given)
        except SpecError as error:
            if error.diagnostics[0].code == "E0312":
                return computed(kind, None, [x], call)
            fold(lambda: elementary(function, given), call, context)
            return NOTHING
        return computed(kind, value, [x], call)

    return apply


def _type(function: str, x: Operand, context: Context) -> TensorType | None:
    """Entry by entry; a root halves the powers of a unit. None after E0401."""
    unit = x.tensor.unit
    if function == "sqrt" and unit is not None:
        root = units.root(unit)
        if root is None:
            _refuse_unit(function, x, context, "the root of its unit is none")
            return None
        return replace(x.tensor, element="real", unit=root)
    allowed = unit is None or (function in ANGLES and units.same(unit, "rad"))
    if not allowed:
        wanted = "radians" if function in ANGLES else "a number without a unit"
        _refuse_unit(function, x, context, f"it takes {wanted}")
        return None
    return replace(x.tensor, element="real", unit=None)


def _softmax_type(x: Operand, context: Context) -> TensorType | None:
    if len(x.tensor.shape) != 1:
        text = text_of(x.expression)
        context.error(
            "E0309",
            f"`softmax` needs a vector of scores, but {quote(x.expression)} is {x.tensor}",
            x.expression.span,
            help=f"make it a vector: `softmax(flatten({text}))`" if x.tensor.shape else None,
        )
        return None
    return _type(SOFTMAX, x, context)


def _refuse_unit(function: str, x: Operand, context: Context, why: str) -> None:
    unit = x.tensor.unit or "1"
    help = f"divide by a number in that unit, for example by one `{unit}`"
    radians = units.convert(Fraction(1), unit, "rad") if function in ANGLES else None
    if radians is not None:
        help = f"units are never converted: multiply by {float(radians):.10g} `rad/{unit}`"
    context.error(
        "E0401",
        f"`{function}` of {quote(x.expression)}, which has unit `{unit}`",
        x.expression.span,
        label=why,
        help=help,
    )

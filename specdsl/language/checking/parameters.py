"""`param` and what the command line says of it with `-D name=value`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from specdsl.diagnostics import SpecError, diagnostic, suggestion
from specdsl.language import constants, syntax
from specdsl.language.checking.names import NOTHING, Context, Symbol, Typed, quote
from specdsl.language.checking.typing_numbers import common_unit
from specdsl.language.checking.typing_operands import describe, operand, scalar_constant
from specdsl.language.checking.typing_types import fits, resolve, squeezed
from specdsl.language.constants import NORMS
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Value
from specdsl.language.types import (
    BOOL,
    NORM,
    REAL,
    STRING,
    BoolType,
    NormType,
    StringType,
    TensorType,
    Type,
)
from specdsl.source import Source

TYPES_OF_PARAMETERS = "parameters are `real`, `int`, `string`, `norm` or `bool`"


def parameter(item: syntax.Param, overrides: Mapping[str, str], context: Context) -> Symbol:
    """The symbol of a `param`, with the value from the command line or the default."""
    declared = resolve(item.type, context) if item.type is not None else None
    default = context.type_of(item.default) if item.default is not None else None
    kind = declared or (default.type if default else None)
    if kind is None:
        kind = REAL if item.name in overrides else _valueless(item, context)
    if not _allowed(kind, item, context):
        return Symbol(item.name, "parameter", item.name_span, NOTHING)
    typed = _default(item, kind, default, context)
    if item.name in overrides:
        typed = _override(item, kind, overrides[item.name], context)
    elif item.default is None:
        _valueless(item, context)
        typed = NOTHING
    typed = _in_interval(item, typed, overrides.get(item.name), context)
    return Symbol(item.name, "parameter", item.name_span, typed)


def undeclared(program: syntax.Program, overrides: Mapping[str, str], context: Context) -> None:
    """Report every `-D` that names no parameter."""
    names = [item.name for item in program.items if isinstance(item, syntax.Param)]
    for name, text in overrides.items():
        if name in names:
            continue
        known = ", ".join(f"`{n}`" for n in names)
        hint = suggestion(name, names)
        listing = f"parameters of this file: {known}" if names else "this file has no parameters"
        context.session.diagnostics.add(
            diagnostic(
                "E0206",
                f"`-D {name}={text}` names no parameter",
                help=f"{hint} {listing}" if hint else listing,
            )
        )


def _valueless(item: syntax.Param, context: Context) -> Type:
    context.error(
        "E0207",
        f"the parameter `{item.name}` has no value",
        item.name_span,
        help=f"give it one on the command line: `-D {item.name}=...`, or a default in the file",
    )
    return NOTHING.type


def _allowed(kind: Type, item: syntax.Param, context: Context) -> bool:
    if isinstance(kind, BoolType | StringType | NormType):
        return True
    if isinstance(kind, TensorType) and squeezed(kind.shape) == ():
        return True
    if kind != NOTHING.type:
        place = item.type or item
        context.error(
            "E0302", f"a parameter cannot be {kind}", place.span, help=TYPES_OF_PARAMETERS
        )
    return False


def _default(item: syntax.Param, kind: Type, default: Typed | None, context: Context) -> Typed:
    if item.default is None or default is None or not default.known:
        return NOTHING
    if default.value is None:
        message = f"a default must be a constant, not {quote(item.default)}"
        return context.error("E0312", message, item.default.span)
    if not fits(default.type, kind):
        message = f"`{item.name}` is {kind}, but its default is {describe(default)}"
        declared = [(item.type.span, "declared here")] if item.type else []
        return context.error("E0302", message, item.default.span, secondary=declared)
    if not _same_unit(kind, default, item.default, context):
        return NOTHING
    return Typed(kind, constants.scalar(default.value))


def _same_unit(kind: Type, given: Typed, where: syntax.Expr, context: Context) -> bool:
    side = operand(where, given, context) if isinstance(kind, TensorType) else None
    if side is None or not isinstance(kind, TensorType):
        return True
    if side.tensor.unit in (None, kind.unit):
        return True
    message = f"{quote(where)} has unit `{side.tensor.unit}`, the declaration `{kind.unit or 1}`"
    context.error("E0401", message, where.span)
    return False


def _override(item: syntax.Param, kind: Type, text: str, context: Context) -> Typed:
    if isinstance(kind, StringType):
        plain = not text.startswith('"')
        value = text if plain else _parsed(item, kind, text, context)
        return Typed(STRING, value, external=True) if isinstance(value, str) else NOTHING
    if isinstance(kind, TensorType) and ".." in text:
        message = f"sweeps (`-D {item.name}={text}`) are not supported yet"
        help = "run once for each value"
        return context.error("E0901", message, item.name_span, help=help)
    value = _parsed(item, kind, text.strip(), context)
    return NOTHING if value is None else Typed(kind, value, external=True)


def _parsed(item: syntax.Param, kind: Type, text: str, context: Context) -> Value | None:
    """The value of `text` under the grammar of expressions; no names of the file are seen."""
    try:
        program = parse(Source(f"-D {item.name}", f"const value = {text}"))
        if len(program.items) == 1 and isinstance(program.items[0], syntax.Const):
            expression = program.items[0].value
            typed = _constant(expression, context)
            if typed is not None and _matches(typed, kind):
                return typed.value
    except SpecError:
        pass  # whatever is wrong with the text, the finding below names it and the way out
    context.error(
        "E0311",
        f"`-D {item.name}={text}` is not {_wanted(kind)}",
        item.name_span,
        label=f"`{item.name}` is declared here as {kind}",
        help=_example(item, kind),
    )
    return None


def _constant(expression: syntax.Expr, context: Context) -> Typed | None:
    value = constants.scalar(constants.evaluate(expression, {}))
    unit = expression.unit if isinstance(expression, syntax.Number) else None
    if isinstance(value, bool):
        return Typed(BOOL, value)
    if isinstance(value, str):
        return Typed(STRING if isinstance(expression, syntax.String) else NORM, value)
    if isinstance(value, Fraction):
        element = "int" if value.denominator == 1 else "real"
        return Typed(TensorType((), element, unit), value)
    return None


def _matches(typed: Typed, kind: Type) -> bool:
    if not fits(typed.type, kind):
        return False
    if isinstance(typed.type, TensorType) and isinstance(kind, TensorType):
        return typed.type.unit in (None, kind.unit)
    return True


def _wanted(kind: Type) -> str:
    if isinstance(kind, NormType):
        return "a norm"
    if isinstance(kind, BoolType):
        return "`true` or `false`"
    if isinstance(kind, StringType):
        return "a text"
    whole = isinstance(kind, TensorType) and kind.element == "int"
    unit = f" in `{kind.unit}`" if isinstance(kind, TensorType) and kind.unit else ""
    return ("a whole number" if whole else "a number") + unit


def _example(item: syntax.Param, kind: Type) -> str:
    if isinstance(kind, NormType):
        return "norms are " + ", ".join(f"`{n}`" for n in NORMS)
    default = item.default.span.text if item.default is not None else None
    examples = {"bool": "true", "string": "file.onnx"}
    return f"for example `-D {item.name}={default or examples.get(str(kind), '1')}`"


def _in_interval(item: syntax.Param, typed: Typed, override: str | None, context: Context) -> Typed:
    if item.interval is None:
        return typed
    if not isinstance(typed.type, TensorType) and typed.known:
        message = f"`{item.name}` is {typed.type}; only numbers have an interval"
        return context.error("E0302", message, item.interval.span)
    bounds = interval_bounds(item.interval, typed, context)
    if bounds is None or not isinstance(typed.value, Fraction):
        return typed
    lower, upper = bounds
    if lower <= typed.value <= upper:
        return typed
    given = f"`-D {item.name}={override}`" if override else f"the default of `{item.name}`"
    place = item.name_span if override or item.default is None else item.default.span
    return context.error(
        "E0402",
        f"{given} is outside [{lower}, {upper}]",
        place,
        secondary=[(item.interval.span, "the interval is declared here")],
    )


def interval_bounds(
    interval: syntax.Interval, wanted: Typed, context: Context
) -> tuple[Fraction, Fraction] | None:
    """Both ends of a declared interval, in the unit of `wanted`; None after a diagnostic."""
    ends: list[Fraction] = []
    unit_of = operand(interval.lower, wanted, context) if wanted.known else None
    for end in (interval.lower, interval.upper):
        value = scalar_constant(end, context, "an end of an interval")
        if value is None:
            return None
        side = operand(end, context.type_of(end), context)
        if (
            unit_of
            and side
            and side.tensor.unit
            and common_unit(side, unit_of, end, context) is None
        ):
            return None
        ends.append(value)
    lower, upper = ends
    if lower <= upper:
        return lower, upper
    context.error(
        "E0403",
        f"the interval is empty: {quote(interval.lower)} is above {quote(interval.upper)}",
        interval.span,
        help="write the smaller end first",
    )
    return None

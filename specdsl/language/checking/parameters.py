"""`param` and what the command line says of it with `-D name=value`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from specdsl.diagnostics import SpecError, diagnostic, suggestion
from specdsl.language import constants, syntax
from specdsl.language.checking.sweeps import all_different, constant_text, sweep
from specdsl.language.constants import NORMS
from specdsl.language.modules.namespaces import own_name
from specdsl.language.parsing.parser import parse_expression
from specdsl.language.spec import Value
from specdsl.language.types import (
    REAL,
    STRING,
    BoolType,
    NormType,
    StringType,
    TensorType,
    Type,
    UnknownType,
)
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, quote
from specdsl.language.typing.numbers import common_unit
from specdsl.language.typing.operands import describe, operand, scalar_constant
from specdsl.language.typing.types import fits, resolve, squeezed
from specdsl.source import Source, Span

Bounds = tuple[Fraction, Fraction]
TYPES_OF_PARAMETERS = "parameters are `real`, `int`, `string`, `norm` or `bool`"


def parameter(
    item: syntax.Param,
    overrides: Mapping[str, str],
    given: syntax.Setting | None,
    context: Context,
) -> Symbol:
    """The symbol of a `param`: its value is that of the command line, of the `with` of an import
    (`given`), or the default, whichever comes first. All three are checked.
    """
    override = overrides.get(item.name)
    default = context.type_of(item.default) if item.default is not None else None
    setting = context.type_of(given.value) if given is not None else None
    kind = _kind(item, (default, setting), override, context)
    if not _allowed(kind, item, context):
        return Symbol(item.name, "parameter", item.name_span, NOTHING)
    bounds = _interval(item, kind, context)
    typed = NOTHING
    if item.default is not None and default is not None:
        typed = _constant_of(item, item.default, default, kind, "its default", context)
        typed = _within(item, bounds, typed, _default_text(item), item.default.span, context)
    if given is not None and setting is not None:
        typed = _constant_of(item, given.value, setting, kind, "`with`", context)
        typed = _within(item, bounds, typed, f"`{quoted_text(given)}`", given.value.span, context)
    if override is not None:
        typed = _override(item, kind, override, bounds, context)
    elif given is None and item.default is None:
        _valueless(item, context)
    return Symbol(item.name, "parameter", item.name_span, typed)


def _kind(
    item: syntax.Param,
    values: tuple[Typed | None, ...],
    override: str | None,
    context: Context,
) -> Type:
    """The declared type, or that of the first value that there is."""
    if item.type is not None:
        return resolve(item.type, context)
    for value in values:
        if value is not None:
            return value.type
    return REAL if override is not None else _valueless(item, context)


def _default_text(item: syntax.Param) -> str:
    return f"the default of `{own_name(item.name)}`"


def quoted_text(node: syntax.Node) -> str:
    """The user's text of a node on one line."""
    return " ".join(node.span.text.split())


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


def _constant_of(
    item: syntax.Param,
    expression: syntax.Expr,
    typed: Typed,
    kind: Type,
    what: str,
    context: Context,
) -> Typed:
    """A default, or the value of a setting of `with`, as the parameter's type."""
    if not typed.known:
        return NOTHING
    name = own_name(item.name)
    if typed.value is None:
        message = f"the value of a parameter is a constant, not {quote(expression)}"
        return context.error("E0312", message, expression.span)
    declared = [(item.type.span, "declared here")] if item.type else []
    if not fits(typed.type, kind):
        message = f"`{name}` is {kind}, but {what} is {describe(typed)}"
        return context.error("E0302", message, expression.span, secondary=declared)
    if not _same_unit(kind, typed, expression, context):
        return NOTHING
    return replace(typed, type=kind, value=constants.scalar(typed.value))


def _same_unit(kind: Type, given: Typed, where: syntax.Expr, context: Context) -> bool:
    side = operand(where, given, context) if isinstance(kind, TensorType) else None
    if side is None or not isinstance(kind, TensorType):
        return True
    if side.tensor.unit in (None, kind.unit):
        return True
    message = f"{quote(where)} has unit `{side.tensor.unit}`, the declaration `{kind.unit or 1}`"
    context.error("E0401", message, where.span)
    return False


def _override(
    item: syntax.Param, kind: Type, text: str, bounds: Bounds | None, context: Context
) -> Typed:
    """The value that the command line gives; of a sweep the first, and all are remembered."""
    if isinstance(kind, UnknownType):
        return NOTHING
    texts = sweep(item, kind, text, context)
    if texts is None:
        return _single(item, kind, text, bounds, context)
    values = [_single(item, kind, each, bounds, context) for each in texts]
    if not values or not all(value.known for value in values):
        return NOTHING
    if not all_different(item, text, [value.value for value in values], context):
        return NOTHING
    context.session.sweeps[item.name] = tuple(texts)
    return values[0]


def _single(
    item: syntax.Param, kind: Type, text: str, bounds: Bounds | None, context: Context
) -> Typed:
    if isinstance(kind, StringType):
        plain = not text.startswith('"')
        value = text if plain else _parsed(item, kind, text, context)
        return Typed(STRING, value, external=True) if isinstance(value, str) else NOTHING
    value = _parsed(item, kind, text.strip(), context)
    typed = NOTHING if value is None else Typed(kind, value, external=True)
    return _within(item, bounds, typed, f"`-D {item.name}={text}`", item.name_span, context)


def _parsed(item: syntax.Param, kind: Type, text: str, context: Context) -> Value | None:
    """The value of `text` under the grammar of expressions; no names of the file are seen."""
    try:
        typed = constant_text(parse_expression(Source(f"-D {item.name}", text)))
        if typed is not None and _matches(typed, kind):
            return typed.value
    except SpecError:
        pass  # whatever is wrong with the text, the finding below names it and the way out
    context.error(
        "E0311",
        f"`-D {item.name}={text}` is not {_wanted(kind)}",
        item.name_span,
        label=f"`{own_name(item.name)}` is declared here as {kind}",
        help=_example(item, kind, text),
    )
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


def _example(item: syntax.Param, kind: Type, text: str) -> str:
    if "," in text:
        return f"several values are `-D '{item.name}=one_of({text})'`"
    if isinstance(kind, NormType):
        return "norms are " + ", ".join(f"`{n}`" for n in NORMS)
    default = item.default.span.text if item.default is not None else None
    examples = {"bool": "true", "string": "file.onnx"}
    return f"for example `-D {item.name}={default or examples.get(str(kind), '1')}`"


def _interval(item: syntax.Param, kind: Type, context: Context) -> Bounds | None:
    if item.interval is None or isinstance(kind, UnknownType):
        return None
    if not isinstance(kind, TensorType):
        message = f"`{own_name(item.name)}` is {kind}; only numbers have an interval"
        context.error("E0302", message, item.interval.span)
        return None
    return interval_bounds(item.interval, Typed(kind), context)


def _within(
    item: syntax.Param,
    bounds: Bounds | None,
    typed: Typed,
    given: str,
    place: Span,
    context: Context,
) -> Typed:
    """The value itself, or NOTHING after E0402."""
    if bounds is None or item.interval is None or not isinstance(typed.value, Fraction):
        return typed
    lower, upper = bounds
    if lower <= typed.value <= upper:
        return typed
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

"""Matching what was written in parentheses or braces against the closed schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from specdsl.diagnostics import suggestion
from specdsl.language import constants, syntax, units
from specdsl.language.checking.schedules import Weight, epochs, stage, weight
from specdsl.language.checking.training_values import (
    attack_by_name,
    composition,
    counts,
    layer,
    network,
)
from specdsl.language.schemas import AFFINE, Option, Schema, Table
from specdsl.language.spec import Value
from specdsl.language.types import LabelType, TensorType
from specdsl.language.typing.names import Context, Typed, quote
from specdsl.language.typing.paths import resolve_path
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """The arguments of one word. `values`, `paths` and `methods` hold those that are in order.

    `methods` holds the arguments of the words in `values` that take some. `affine` holds (scale,
    shift) of `affine(...)` options; `sound` is False where any was not.
    """

    schema: Schema
    span: Span
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    paths: Mapping[str, Path] = field(default_factory=dict[str, Path])
    affine: Mapping[str, tuple[Fraction, Fraction]] = field(
        default_factory=dict[str, tuple[Fraction, Fraction]]
    )
    spans: Mapping[str, Span] = field(default_factory=dict[str, Span])
    sound: bool = True
    methods: Mapping[str, Matched] = field(default_factory=dict)

    def number(self, name: str, default: Fraction) -> Fraction:
        """An option as one number."""
        value = self.values.get(name, default)
        return value if isinstance(value, Fraction) else default


def find(
    expression: syntax.Expr, table: Table, code: str, context: Context
) -> tuple[Schema, Sequence[syntax.Expr | syntax.NamedArgument | syntax.Comprehension]] | None:
    """The schema that `word` or `word(...)` names, with its arguments; None after a diagnostic."""
    function = expression.function if isinstance(expression, syntax.Call) else expression
    arguments = expression.arguments if isinstance(expression, syntax.Call) else ()
    if not isinstance(function, syntax.Name):
        names = ", ".join(f"`{n}`" for n in table.available)
        message = f"a {table.noun} is needed here, not {quote(expression)}"
        context.error(code, message, expression.span, help=f"known are {names}")
        return None
    schema = table.schemas.get(function.name)
    if schema is not None:
        return schema, arguments
    names = ", ".join(f"`{n}`" for n in table.available)
    if function.name in table.later:
        what = f"the {table.noun} `{function.name}` is"
        context.later(what, expression.span, f"available now: {names}")
        return None
    if function.name in table.refused:
        why = f"`{function.name}` {table.refused[function.name]}"
        context.error(code, why, function.span, help=f"a {table.noun} here is one of {names}")
        return None
    hint = suggestion(function.name, table.schemas)
    context.error(
        code,
        f"no {table.noun} is called `{function.name}`",
        function.span,
        label=hint or "",
        help=f"known are {names}",
    )
    return None


def matched_word(
    expression: syntax.Expr, table: Table, code: str, context: Context, unknown: str = "E0802"
) -> Matched | None:
    """`word` or `word(...)` of a table with its arguments; None where no such word is written.

    `code` is for a word that the table does not have, `unknown` for an option that it does not
    take.
    """
    found = find(expression, table, code, context)
    if found is None:
        return None
    schema, arguments = found
    return match_arguments(schema, arguments, expression.span, context, unknown)


def match_arguments(
    schema: Schema,
    arguments: Sequence[syntax.Expr | syntax.NamedArgument | syntax.Comprehension],
    span: Span,
    context: Context,
    unknown: str = "E0802",
) -> Matched:
    """Check arguments against `schema`. `unknown` is the code for an option it does not have."""
    named: dict[str, syntax.Expr] = {}
    sound = _by_name(schema, arguments, context, unknown, named)
    values: dict[str, Value] = {}
    paths: dict[str, Path] = {}
    affine: dict[str, tuple[Fraction, Fraction]] = {}
    methods: dict[str, Matched] = {}
    for name, expression in named.items():
        option = schema.option(name)
        if option is None:
            continue
        result = _value(schema, option, expression, context)
        if result is None:
            sound = False
        elif isinstance(result, Path):
            paths[name] = result
        elif isinstance(result, Matched):
            methods[name] = result
            values[name] = result.schema.name
        elif isinstance(result, Affine):
            affine[name] = (result.scale, result.shift)
        elif not isinstance(result, Weight):
            values[name] = result
    missing = [o.name for o in schema.options if o.required and o.name not in named]
    placed = [a for a in arguments if not isinstance(a, syntax.NamedArgument)]
    if schema.rest is not None and len(placed) <= schema.positional:
        missing.append(schema.rest.name)
    if sound and missing:
        sound = False
        words = " and ".join(f"`{name}`" for name in missing)
        what = f"a {schema.name}" if schema.block else f"`{schema.name}`"
        context.error("E0805", f"{what} needs {words}", span, help=_usage(schema))
    spans = {name: expression.span for name, expression in named.items()}
    return Matched(schema, span, values, paths, affine, spans, sound, methods)


def settings(
    schema: Schema, written: Sequence[syntax.Setting], span: Span, context: Context
) -> Matched:
    """The same for `name = value` lines in braces."""
    arguments = [syntax.NamedArgument(s.name, s.value, span=s.span) for s in written]
    return match_arguments(schema, arguments, span, context)


def _usage(schema: Schema) -> str:
    if schema.block:
        lines = " and ".join(f"`{o.name} = ...`" for o in schema.options if o.required)
        return f"write {lines} in the braces"
    parts = [
        f"{o.name} = ..." if i >= schema.positional else o.name
        for i, o in enumerate(schema.options)
        if o.required or i < schema.positional
    ] + ([f"{schema.rest.name}, ..."] if schema.rest is not None else [])
    return f"write `{schema.name}({', '.join(parts)})`"


def _by_name(
    schema: Schema,
    arguments: Sequence[syntax.Expr | syntax.NamedArgument | syntax.Comprehension],
    context: Context,
    unknown: str,
    given: dict[str, syntax.Expr],
) -> bool:
    """Fill `given` with the arguments that are in order; whether all of them are."""
    fine = True
    for position, argument in enumerate(arguments):
        if isinstance(argument, syntax.Comprehension):
            if not schema.stages:
                _too_many(schema, argument, context)
            fine = schema.stages and stage(argument, context) and fine
            continue
        if isinstance(argument, syntax.NamedArgument):
            name, value = argument.name, argument.value
        elif position < schema.positional:
            name, value = schema.options[position].name, argument
        elif schema.rest is not None:
            fine = _value(schema, schema.rest, argument, context) is not None and fine
            continue
        else:
            _too_many(schema, argument, context)
            fine = False
            continue
        if schema.option(name) is None:
            _unknown_option(schema, name, argument.span, context, unknown)
            fine = False
        elif name in given:
            message = f"`{name}` is given twice"
            first = [(given[name].span, "first given here")]
            context.error("E0803", message, argument.span, secondary=first)
            fine = False
        else:
            given[name] = value
    return fine


def _too_many(
    schema: Schema, argument: syntax.Expr | syntax.Comprehension, context: Context
) -> None:
    if not schema.options:
        message, help = f"`{schema.name}` takes no arguments", f"write `{schema.name}` alone"
    elif not schema.positional:
        message = f"`{schema.name}` takes its options by name"
        help = "options are " + ", ".join(f"`{o.name} = ...`" for o in schema.options)
    else:
        message = f"`{schema.name}` takes {schema.positional} arguments by position"
        help = _usage(schema)
    context.error("E0305", message, argument.span, help=help)


def _unknown_option(schema: Schema, name: str, span: Span, context: Context, unknown: str) -> None:
    names = [o.name for o in schema.options]
    known = ", ".join(f"`{n}`" for n in names)
    if name in schema.refused:
        message = f"`{name}` of `{schema.name}` {schema.refused[name]}"
        context.error(unknown, message, span, help=f"leave `{name}` away")
        return
    context.error(
        unknown,
        f"a {schema.name} has no setting `{name}`"
        if schema.block
        else f"`{schema.name}` has no option `{name}`",
        span,
        label=suggestion(name, names) or "",
        help=f"known: {known}" if names else f"`{schema.name}` takes no options",
    )


# --- one value -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Affine:
    """`affine(scale = ..., shift = ...)`."""

    scale: Fraction
    shift: Fraction


def _value(
    schema: Schema, option: Option, expression: syntax.Expr, context: Context
) -> Value | Path | Affine | Matched | Weight | None:
    match option.kind:
        case "word":
            return _word(option, expression, context)
        case "affine":
            return _affine(expression, context)
        case "method":
            return _method(option, expression, context)
        case "rate" if isinstance(expression, syntax.Call):
            return Weight() if _method(option, expression, context) is not None else None
        case "weight" | "rate":
            found = weight(f"`{option.name}`", expression, context)
            if found is None or found.value is None:
                return found
            return found if _in_range(schema, option, found.value, expression, context) else None
        case "counts":
            return counts(option.name, expression, context)
        case "composition":
            return composition(option.name, expression, context)
        case "network":
            return network(option.name, expression, context)
        case "layer":
            return layer(option.name, expression, context)
        case "epochs":
            return epochs(option.name, expression, context)
        case _:
            return _constant(schema, option, expression, context)


def _constant(
    schema: Schema, option: Option, expression: syntax.Expr, context: Context
) -> Value | Path | None:
    typed = context.type_of(expression)
    if not typed.known:
        return None
    if typed.value is None:
        message = f"`{option.name}` must be a constant, not {quote(expression)}"
        context.error("E0312", message, expression.span)
        return None
    if option.kind == "path" and isinstance(typed.value, str):
        place = expression.span
        return resolve_path(typed.value, typed.external, place, context, typed.written)
    value = _fitting(option, typed)
    if value is None:
        message = f"`{option.name}` of `{schema.name}` takes {_wanted(option)}"
        context.error("E0804", message, expression.span, label=f"is {typed.type}")
        return None
    if not _unit_fits(option, typed, expression, context):
        return None
    return value if _in_range(schema, option, value, expression, context) else None


def _wanted(option: Option) -> str:
    words = {
        "real": "a number",
        "int": "a whole number",
        "string": 'a text in quotes, like `"name"`',
        "tensor": "a number or a list of numbers",
        "path": 'a file name in quotes, like `"file"`',
        "string or int": "the name of a column in quotes, or its number",
        "bool": "`true` or `false`",
    }
    return words[option.kind]


def _fitting(option: Option, typed: Typed) -> Value | None:
    value = typed.value
    if option.kind == "tensor":
        fits = isinstance(typed.type, TensorType) and isinstance(value, Fraction | np.ndarray)
        return value if fits else None
    if option.kind == "bool" or isinstance(value, bool):
        return value if option.kind == "bool" and isinstance(value, bool) else None
    if isinstance(value, str):
        textual = option.kind in {"string", "string or int"}
        return value if textual and str(typed.type) == "string" else None
    number = constants.scalar(value) if isinstance(value, np.ndarray) else value
    if not isinstance(number, Fraction) or isinstance(typed.type, LabelType):
        return None
    if option.kind in {"int", "string or int"} and number.denominator != 1:
        return None
    return number if option.kind in {"real", "int", "string or int"} else None


def _unit_fits(option: Option, typed: Typed, expression: syntax.Expr, context: Context) -> bool:
    kind = typed.type
    unit = kind.unit if isinstance(kind, TensorType) else None
    if unit is None or units.same(unit, option.unit):
        return True
    wanted = f"is in `{option.unit}`" if option.unit else "has no unit"
    message = f"`{option.name}` {wanted}, but {quote(expression)} has unit `{unit}`"
    context.error("E0401", message, expression.span, help="units are never converted")
    return False


def _in_range(
    schema: Schema, option: Option, value: Value, expression: syntax.Expr, context: Context
) -> bool:
    if isinstance(value, str) and option.choices and value not in option.choices:
        _choice_error(option, value, expression.span, context)
        return False
    wanted = _wanted_range(option, value) if isinstance(value, Fraction) else None
    if wanted is None:
        return True
    message = f"`{option.name}` of `{schema.name}` must be {wanted}, not {value}"
    context.error("E0402", message, expression.span)
    return False


def _wanted_range(option: Option, value: Fraction) -> str | None:
    """What a number should be; None where it is in range."""
    if option.positive and value <= 0:
        return "more than 0"
    if option.minimum is not None and value < option.minimum:
        return f"at least {option.minimum}"
    if option.maximum is not None and value > option.maximum:
        return f"at most {option.maximum}"
    return None


def _method(option: Option, expression: syntax.Expr, context: Context) -> Matched | None:
    """A word whose arguments are in order, with them."""
    if option.table is None:
        return None
    if attack_by_name(expression, option.table, context):
        return Matched(Schema(quote(expression), "an attack with a name"), expression.span)
    matched = matched_word(expression, option.table, "E0804", context)
    return matched if matched is not None and matched.sound else None


def _word(option: Option, expression: syntax.Expr, context: Context) -> str | None:
    if isinstance(expression, syntax.Name) and expression.name in option.choices:
        return expression.name
    name = expression.name if isinstance(expression, syntax.Name) else expression.span.text
    _choice_error(option, name, expression.span, context)
    return None


def _choice_error(option: Option, given: str, span: Span, context: Context) -> None:
    names = ", ".join(f"`{c}`" for c in option.choices)
    one = "one of " if len(option.choices) > 1 else ""
    hint = suggestion(given, option.choices)
    context.error("E0804", f"`{option.name}` is {one}{names}", span, label=hint or "")


def _affine(expression: syntax.Expr, context: Context) -> Affine | None:
    match expression:
        case syntax.Call(function=syntax.Name(name="affine"), arguments=arguments):
            matched = match_arguments(AFFINE, arguments, expression.span, context)
        case _:
            context.error(
                "E0804",
                f"an affine map is needed here, not {quote(expression)}",
                expression.span,
                help="write `affine(scale = 2, shift = 1)`",
            )
            return None
    if not matched.sound:
        return None
    scale = matched.number("scale", Fraction(1))
    return Affine(scale, matched.number("shift", Fraction(0)))

"""The terms of a training: losses, regularisers and measures, and the properties they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.schedules import no_attack, weight
from specdsl.language.checking.settings import Matched, find, match_arguments, matched_word
from specdsl.language.checking.training_networks import About, Trained
from specdsl.language.compositions import Networks
from specdsl.language.schemas import Option, Schema, Table
from specdsl.language.training_schemas import MEASURES, MULTIPLIERS
from specdsl.language.types import LabelType, Type
from specdsl.language.typing.calls import instantiate
from specdsl.language.typing.names import Context, Symbol, Typed, quote
from specdsl.language.typing.types import as_tensor

Argument = syntax.Expr | syntax.NamedArgument | syntax.Comprehension


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What the lines of a block see: the types of the parts of a sample (none where the dataset
    was reported), names, all networks, and those that are trained.
    """

    sample: tuple[Type, ...]
    context: Context
    networks: Networks
    trained: Trained


# --- terms ---------------------------------------------------------------------------------------


def weighted(expression: syntax.Expr, table: Table, training: Training) -> None:
    """A sum of words of `table` with weights in front."""
    match expression:
        case syntax.Binary(operator="+", left=left, right=right):
            weighted(left, table, training)
            weighted(right, table, training)
        case syntax.Binary(operator="*", left=left, right=right) if not (
            _has_term(left, table) and _has_term(right, table)
        ):
            inner, factor = (left, right) if _has_term(left, table) else (right, left)
            _positive("weight", _BETTER, factor, training.context)
            weighted(inner, table, training)
        case syntax.Binary(operator="/", left=left, right=right):
            _positive("weight", _BETTER, right, training.context)
            weighted(left, table, training)
        case syntax.Name() | syntax.Call():
            term(expression, table, training)
        case _:
            names = ", ".join(f"`{name}`" for name in table.schemas)
            training.context.error(
                "E0712",
                f"a sum of weighted terms is needed here, not {quote(expression)}",
                expression.span,
                help=f"a term is a {table.noun} with a weight in front: {names}",
            )


def _has_term(expression: syntax.Expr, table: Table) -> bool:
    """Whether a term stands in a factor: `(a_loss() + b_loss()) * 2`."""
    match expression:
        case syntax.Call(function=syntax.Name(name=name)) | syntax.Name(name=name):
            return name in table.schemas
        case syntax.Binary(left=left, right=right):
            return _has_term(left, table) or _has_term(right, table)
        case _:
            return False


_BETTER = "so that more would be better"


def _positive(what: str, so: str, expression: syntax.Expr, context: Context) -> None:
    found = weight(f"the {what}", expression, context)
    if found is None or found.value is None or found.value >= 0:
        return
    message = f"the {what} {quote(expression)} is negative, {so}"
    context.error("E0402", message, expression.span)


def term(expression: syntax.Expr, table: Table, training: Training) -> None:
    """One loss, regulariser or measure with its arguments."""
    context = training.context
    found = find(expression, table, "E0801", context)
    if found is None:
        return
    schema, arguments = found
    about = next((o for o in schema.options if o.kind == "property"), None)
    if any(option.kind == "loss" for option in schema.options):
        _combination(schema, arguments, expression, training)
    elif about is None:
        matched = match_arguments(schema, arguments, expression.span, context)
        if matched.sound:
            _of_networks(schema, arguments, training)
    elif _against_nothing(schema, arguments, context):
        pass
    elif not about.required and not (arguments and isinstance(arguments[0], syntax.Name)):
        match_arguments(_without(schema, "property"), arguments, expression.span, context)
    else:
        of_property(schema, arguments, expression, training)


def _of_networks(schema: Schema, arguments: Sequence[Argument], training: Training) -> None:
    """What a loss of networks is about, where it says so; its arguments have been matched."""
    for argument in arguments:
        value = argument.value if isinstance(argument, syntax.NamedArgument) else argument
        if any(o.kind == "composition" for o in schema.options) and not isinstance(
            value, syntax.Comprehension
        ):
            about = About(schema.name, value, training.sample, training.networks, training.trained)
            about.check(training.context)


def _against_nothing(schema: Schema, arguments: Sequence[Argument], context: Context) -> bool:
    """E0802 where `tightness` names a method that its measure does not look at."""
    named = {a.name: a for a in arguments if isinstance(a, syntax.NamedArgument)}
    measure = named.get("measure")
    against = named.get("against")
    if schema.name != "tightness" or measure is None or against is None:
        return False
    if not isinstance(measure.value, syntax.Name) or measure.value.name not in ("d", "r"):
        return False
    message = f"the measure `{measure.value.name}` looks at one method, that of `by`"
    context.error("E0802", message, against.span, help="leave `against` away")
    return True


def _without(schema: Schema, kind: str) -> Schema:
    """The schema without its options of a kind, which come first by position."""
    options = tuple(o for o in schema.options if o.kind != kind)
    removed = len(schema.options) - len(options)
    return replace(schema, options=options, positional=max(0, schema.positional - removed))


def _combination(
    schema: Schema,
    arguments: Sequence[Argument],
    expression: syntax.Expr,
    training: Training,
) -> None:
    """`convex(alpha, a_loss(...), another_loss(...))`."""
    named = {a.name: a.value for a in arguments if isinstance(a, syntax.NamedArgument)}
    placed = [a for a in arguments if not isinstance(a, syntax.NamedArgument)]
    parts: list[syntax.Expr] = []
    rest: list[Argument] = []
    for index, option in enumerate(schema.options):
        at = index if index < schema.positional else len(placed)
        given = placed[at] if at < len(placed) else named.get(option.name)
        if option.kind != "loss" or given is None or isinstance(given, syntax.Comprehension):
            continue
        parts.append(given)
    rest = [a for a in arguments if not _is_one_of(a, parts)]
    losses = [o for o in schema.options if o.kind == "loss"]
    for part, option in zip(parts, losses, strict=False):
        if option.table is not None:
            term(part, option.table, training)
    if len(parts) < len(losses):
        message = f"`{schema.name}` needs two losses"
        names = ", ".join(f"{option.name}" for option in schema.options)
        context = training.context
        context.error("E0805", message, expression.span, help=f"write `{schema.name}({names})`")
        return
    match_arguments(_without(schema, "loss"), rest, expression.span, training.context)
    _same_property(schema, parts, training.context)


def _is_one_of(argument: Argument, parts: Sequence[syntax.Expr]) -> bool:
    value = argument.value if isinstance(argument, syntax.NamedArgument) else argument
    return any(value is part for part in parts)


def _same_property(schema: Schema, parts: Sequence[syntax.Expr], context: Context) -> None:
    """Margins of two losses are mixed one by one: they are those of one property."""
    if schema.name != "convex":
        return
    first, second = (part.arguments[:1] if isinstance(part, syntax.Call) else () for part in parts)
    if not first or not second or first == second:
        return
    context.error(
        "E0712",
        "`convex` mixes the margins of one property, but its losses are about two",
        second[0].span,
        secondary=[(first[0].span, "the other property")],
        help="add the losses up instead",
    )


def constraint(line: syntax.TrainItem, training: Training) -> None:
    """`constrain measure <= bound by method`; E0712 where it is none."""
    context, value = training.context, line.value
    match value:
        case syntax.Comparison(operators=("<=" | "<",), operands=(measure, bound)):
            term(measure, MEASURES, training)
            _positive("bound", "so that nothing meets it", bound, context)
        case _:
            context.error(
                "E0712",
                f"a constraint is a measure with an upper bound, not {quote(value)}",
                value.span,
                help="for example `constrain violation(robust, r = 1/10) <= 1/100`",
            )
    if line.by is not None:
        matched_word(line.by, MULTIPLIERS, "E0801", context)


# --- properties in losses ------------------------------------------------------------------------


def of_property(
    schema: Schema,
    arguments: Sequence[Argument],
    expression: syntax.Expr,
    training: Training,
) -> None:
    """`certified_loss(property, parameter = value, ..., by = method)`."""
    context = training.context
    first = arguments[0] if arguments else None
    if first is None or isinstance(first, syntax.NamedArgument | syntax.Comprehension):
        message = f"`{schema.name}` needs a property"
        help = f"name it first: `{schema.name}(robust, r = 1/10)`"
        context.error("E0805", message, expression.span, help=help)
        return
    symbol = _property(first, context)
    if symbol is None or symbol.function is None:
        return
    names = tuple(p.name for p in symbol.function.parameters)
    own = tuple(o for o in schema.options if o.kind != "property" and o.name not in names)
    given: dict[str, syntax.Expr] = {}
    rest: list[Argument] = []
    for argument in arguments[1:]:
        if not isinstance(argument, syntax.NamedArgument) or argument.name not in names:
            rest.append(argument)
        elif argument.name in given:
            message = f"`{argument.name}` is given twice"
            secondary = [(given[argument.name].span, "first given here")]
            context.error("E0803", message, argument.span, secondary=secondary)
        else:
            given[argument.name] = argument.value
    # The parameters are listed so that a typo in one of them gets its suggestion.
    listed = tuple(Option(name, "weight", f"the parameter `{name}`") for name in names)
    known = Schema(schema.name, schema.doc, (*own, *listed))
    matched = match_arguments(known, rest, expression.span, context)
    if matched.sound and _class_exists(matched, training):
        _apply(symbol, first, given, training)


def _class_exists(matched: Matched, training: Training) -> bool:
    """Whether the samples have the class that `class = 3` speaks of; E0306."""
    wanted = matched.values.get("class")
    target = training.sample[1] if len(training.sample) > 1 else None
    if not isinstance(wanted, Fraction):
        return True
    if isinstance(target, LabelType) and wanted < target.count:
        return True
    known = f"classes 0 to {target.count - 1}" if isinstance(target, LabelType) else "no classes"
    message = f"the samples have {known}, not {wanted}"
    training.context.error("E0306", message, matched.spans["class"])
    return False


def _property(expression: syntax.Expr, context: Context) -> Symbol | None:
    symbol = context.lookup(expression.name) if isinstance(expression, syntax.Name) else None
    if symbol is not None and symbol.kind == "property":
        return symbol
    if symbol is None and isinstance(expression, syntax.Name):
        names = [s.name for s in context.session.symbols.values() if s.kind == "property"]
        hint = suggestion(expression.name, names) or ""
        known = "properties: " + ", ".join(f"`{n}`" for n in names) if names else None
        message = f"no property is called `{expression.name}`"
        context.error("E0201", message, expression.span, label=hint, help=known)
        return None
    context.error(
        "E0302",
        f"a property is needed here, but this is {symbol.description if symbol else 'none'}",
        expression.span,
        help="name the property alone: the sample and the named arguments are its parameters",
    )
    return None


def _apply(
    symbol: Symbol,
    where: syntax.Expr,
    given: Mapping[str, syntax.Expr],
    training: Training,
) -> None:
    """Type the property on a sample: the parts of one fill the parameters that are not named."""
    context = training.context
    parameters = symbol.function.parameters if symbol.function else ()
    parts = list(training.sample)
    arguments: list[tuple[syntax.Expr, Typed]] = []
    for parameter in parameters:
        value = given.get(parameter.name)
        if value is not None:
            typed = _fixed(parameter.name, value, context)
            if typed is None:
                return
            arguments.append((value, typed))
        elif parts:
            arguments.append((where, Typed(parts.pop(0))))
        elif not training.sample:
            return  # the dataset was reported
        else:
            _valueless(symbol, parameter.name, where, training)
            return
    instantiate(symbol, arguments, where, context)


def _fixed(name: str, expression: syntax.Expr, context: Context) -> Typed | None:
    """The value of a parameter: a number that may follow a schedule, or another constant, such as
    a norm or a radius for each entry.
    """
    if not no_attack(expression, context):
        return None
    typed = context.type_of(expression)
    tensor = as_tensor(typed.type)
    plain = tensor is not None and tensor.shape == () and tensor.unit is None
    if typed.known and typed.value is not None and not plain:
        return typed
    return typed if weight(f"`{name}`", expression, context) is not None else None


def _valueless(symbol: Symbol, name: str, where: syntax.Expr, training: Training) -> None:
    number = len(training.sample)
    parts = "the input" if number == 1 else "the input and the target"
    training.context.error(
        "E0713",
        f"the parameter `{name}` of `{symbol.name}` has no value",
        where.span,
        secondary=[(symbol.span, "declared here")],
        help=f"a sample fills {parts}; give the others by name: `{name} = ...`",
    )

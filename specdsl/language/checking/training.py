"""`train`: what is trained on what, with which losses. Nothing here runs; names and types agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.schedules import schedule, weight
from specdsl.language.checking.settings import find, match_arguments, matched_word, settings
from specdsl.language.schemas import Option, Schema, Table
from specdsl.language.spec import TrainDeclaration
from specdsl.language.training_schemas import (
    LOSSES,
    MEASURES,
    MULTIPLIERS,
    REGULARIZERS,
    SCHEDULES,
    TRAIN_SETTINGS,
    WRITERS,
)
from specdsl.language.types import LabelType, NetworkType, SetType, TensorType, TupleType, Type
from specdsl.language.typing.calls import instantiate
from specdsl.language.typing.names import Context, Symbol, Typed, quote
from specdsl.language.typing.paths import check_output
from specdsl.language.typing.types import as_tensor, fits, squeezed
from specdsl.source import Span

Argument = syntax.Expr | syntax.NamedArgument | syntax.Comprehension


def train_declaration(item: syntax.Train, context: Context) -> TrainDeclaration | None:
    """What a `train` block says; None where something in it was reported (E02 to E08)."""
    before = len(context.session.diagnostics.errors)
    network = _named(item.network, "network", context)
    data = _named(item.data, "dataset", context)
    sample = _sample(data)
    if network is not None and data is not None:
        _data_fits(item, network, data, context)
    inner = _schedules(item, context)
    written = [line for line in item.items if isinstance(line, syntax.Setting)]
    settings(TRAIN_SETTINGS, written, _head(item), inner)
    _lines(item, _Training(sample, inner))
    if network is None or data is None or len(context.session.diagnostics.errors) > before:
        return None
    return TrainDeclaration(network.name, data.name, item.items, item.span)


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """What the lines of a block see: the types of the parts of a sample (none where the dataset
    was reported), and names.
    """

    sample: tuple[Type, ...]
    context: Context


def _head(item: syntax.Train) -> Span:
    return Span(item.span.source, item.span.start, item.data.span.end)


def _lines(item: syntax.Train, training: _Training) -> None:
    objectives = 0
    for line in item.items:
        if isinstance(line, syntax.Setting):
            continue
        match line.kind:
            case "minimize":
                objectives += 1
                _weighted(line.value, LOSSES, training)
            case "regularize":
                _weighted(line.value, REGULARIZERS, training)
            case "constrain":
                _constraint(line, training)
            case "save":
                _save(line.value, training.context)
            case _:  # `let`: done before, since every line may use it
                pass
    if objectives == 0:
        training.context.error(
            "E0712",
            "the training minimises nothing",
            _head(item),
            help="add for example `minimize clean_loss()`",
        )


# --- what is trained on what ---------------------------------------------------------------------


def _named(expression: syntax.Expr, kind: str, context: Context) -> Symbol | None:
    """The symbol of a declared network or dataset; None after a diagnostic."""
    symbol = context.lookup(expression.name) if isinstance(expression, syntax.Name) else None
    if isinstance(expression, syntax.Name) and symbol is None:
        context.unknown_name(expression.name, expression.span)
        return None
    if symbol is not None and symbol.kind == kind:
        return symbol if symbol.typed.known else None
    if symbol is None:
        context.type_of(expression)
    article = "a network" if kind == "network" else "a dataset"
    context.error(
        "E0302",
        f"{article} is needed here, but this is {symbol.description if symbol else 'none'}",
        expression.span,
        secondary=[(symbol.span, "declared here")] if symbol else (),
        help="write `train net on data { ... }` with two declared names",
    )
    return None


def _sample(data: Symbol | None) -> tuple[Type, ...]:
    """The types of the parts of a sample: its input, and its target if it has one."""
    kind = data.typed.type if data else None
    if not isinstance(kind, SetType) or kind.element is None:
        return ()
    if isinstance(kind.element, TupleType):
        return tuple(part for _, part in kind.element.items)
    return (kind.element,)


def _data_fits(item: syntax.Train, network: Symbol, data: Symbol, context: Context) -> None:
    kind, sample = network.typed.type, _sample(data)
    if not isinstance(kind, NetworkType) or not sample:
        return
    declared = [(network.span, "the network"), (data.span, "the dataset")]
    if not fits(sample[0], kind.input):
        context.error(
            "E0301",
            f"`{network.name}` takes {kind.input}, but the inputs of `{data.name}` are {sample[0]}",
            item.data.span,
            secondary=declared,
        )
    elif len(sample) > 1 and not _target_fits(sample[1], kind.output):
        context.error(
            "E0301",
            f"`{network.name}` gives {kind.output}, which is nothing to compare with the targets "
            f"of `{data.name}`: {sample[1]}",
            item.data.span,
            secondary=declared,
        )


def _target_fits(target: Type, output: Type) -> bool:
    """One score for each class, or one (or two) for two classes; else numbers of the same shape."""
    if not isinstance(target, LabelType):
        return fits(output, target)
    if not isinstance(output, TensorType):
        return False
    shape = squeezed(output.shape)
    return shape == (target.count,) or (shape == () and target.count == 2)


# --- schedules -----------------------------------------------------------------------------------


def _schedules(item: syntax.Train, context: Context) -> Context:
    """The context in which the schedules of the block are known."""
    first: dict[str, Span] = {}
    for line in item.items:
        if not isinstance(line, syntax.TrainItem) or line.kind != "let" or line.name is None:
            continue
        if line.name in first:
            message = f"two schedules are called `{line.name}`"
            secondary = [(first[line.name], "first declared here")]
            context.error("E0202", message, line.span, secondary=secondary)
            continue
        first[line.name] = line.span
        matched_word(line.value, SCHEDULES, "E0804", context)
        context = context.bind([schedule(line, context)])
    return context


# --- objectives ----------------------------------------------------------------------------------


def _weighted(expression: syntax.Expr, table: Table, training: _Training) -> None:
    """A sum of words of `table` with weights in front."""
    match expression:
        case syntax.Binary(operator="+", left=left, right=right):
            _weighted(left, table, training)
            _weighted(right, table, training)
        case syntax.Binary(operator="*", left=left, right=right) if not (
            _has_term(left, table) and _has_term(right, table)
        ):
            term, factor = (left, right) if _has_term(left, table) else (right, left)
            _positive(factor, training.context)
            _weighted(term, table, training)
        case syntax.Binary(operator="/", left=left, right=right):
            _positive(right, training.context)
            _weighted(left, table, training)
        case syntax.Name() | syntax.Call():
            _term(expression, table, training)
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


def _positive(expression: syntax.Expr, context: Context) -> None:
    found = weight("the weight", expression, context)
    if found is None or found.value is None or found.value >= 0:
        return
    context.error(
        "E0402",
        f"the weight {quote(expression)} is negative, so that more would be better",
        expression.span,
    )


def _term(expression: syntax.Expr, table: Table, training: _Training) -> None:
    """One loss, regulariser or measure with its arguments."""
    context = training.context
    found = find(expression, table, "E0801", context)
    if found is None:
        return
    schema, arguments = found
    if not any(option.kind == "property" for option in schema.options):
        match_arguments(schema, arguments, expression.span, context)
        return
    _of_property(schema, arguments, expression, training)


def _constraint(line: syntax.TrainItem, training: _Training) -> None:
    context, value = training.context, line.value
    match value:
        case syntax.Comparison(operators=("<=" | "<",), operands=(measure, bound)):
            _term(measure, MEASURES, training)
            weight("the bound", bound, context)
        case _:
            context.error(
                "E0712",
                f"a constraint is a measure with an upper bound, not {quote(value)}",
                value.span,
                help="for example `constrain violation(robust, r = 1/10) <= 1/100`",
            )
    if line.by is not None:
        matched_word(line.by, MULTIPLIERS, "E0801", context)


def _save(expression: syntax.Expr, context: Context) -> None:
    matched = matched_word(expression, WRITERS, "E0801", context)
    if matched is None:
        return
    name = matched.values.get("file")
    if not isinstance(name, str) or not check_output(name, matched.spans["file"], context):
        return
    if not name.endswith(".onnx"):
        message = f"`{name}` is no ONNX file by its name"
        context.error("E0804", message, matched.spans["file"], help="networks end in `.onnx`")


# --- properties in losses ------------------------------------------------------------------------


def _of_property(
    schema: Schema,
    arguments: Sequence[Argument],
    expression: syntax.Expr,
    training: _Training,
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
    if match_arguments(known, rest, expression.span, context).sound:
        _apply(symbol, first, given, training)


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
    training: _Training,
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
    """The value of a parameter: a number that may follow a schedule, or another constant."""
    typed = context.type_of(expression)
    if typed.known and as_tensor(typed.type) is None and typed.value is not None:
        return typed
    return typed if weight(f"`{name}`", expression, context) is not None else None


def _valueless(symbol: Symbol, name: str, where: syntax.Expr, training: _Training) -> None:
    number = len(training.sample)
    parts = "the input" if number == 1 else "the input and the target"
    training.context.error(
        "E0713",
        f"the parameter `{name}` of `{symbol.name}` has no value",
        where.span,
        secondary=[(symbol.span, "declared here")],
        help=f"a sample fills {parts}; give the others by name: `{name} = ...`",
    )

"""Networks: calling them, composing them, looking inside."""

from __future__ import annotations

from collections.abc import Sequence

from specdsl.language import constants, syntax
from specdsl.language.types import (
    REAL,
    UNREAD,
    LabelType,
    NetworkType,
    RecordType,
    StringType,
    TensorType,
    TupleType,
    Type,
    VotesType,
)
from specdsl.language.typing.arguments import count
from specdsl.language.typing.fit import Argument, accepts
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, Variable, quote
from specdsl.language.typing.operands import describe, text_of
from specdsl.language.typing.types import as_tensor, fits, squeezed
from specdsl.source import Span

Places = Sequence[tuple[Span, str]]


def call_network(
    expression: syntax.Call,
    typed: Typed,
    arguments: Sequence[Argument],
    symbol: Symbol | None,
    context: Context,
) -> Typed:
    """`network(inputs)`."""
    kind = typed.type
    if not isinstance(kind, NetworkType):
        return NOTHING
    name = quote(expression.function)
    declared = [(symbol.span, f"{name} declared here")] if symbol else []
    wanted = _slots(kind.input)
    arguments = _spread(arguments, wanted)
    if len(arguments) != len(wanted):
        inputs = ", ".join(slot or "x" for slot, _ in wanted)
        return context.error(
            "E0305",
            f"{name} takes {_inputs(len(wanted))}, not {len(arguments)}",
            expression.span,
            secondary=declared,
            help=f"call it as `{text_of(expression.function)}({inputs})`",
        )
    for (slot, kind_wanted), argument in zip(wanted, arguments, strict=True):
        if argument[1].known:
            what = f"`{slot}` of {name}" if slot else name
            _input_fits(argument, kind_wanted, what, declared, context)
    variables = frozenset[Variable]().union(*(given.variables for _, given in arguments))
    return Typed(kind.output, None, variables)


def _slots(kind: Type) -> Sequence[tuple[str | None, Type]]:
    return kind.items if isinstance(kind, TupleType) else ((None, kind),)


def _inputs(number: int) -> str:
    return "one input" if number == 1 else f"{number} inputs"


def _spread(arguments: Sequence[Argument], wanted: Sequence[object]) -> Sequence[Argument]:
    """One argument of several values, such as what another network gives, stands for them all."""
    if len(arguments) != 1 or len(wanted) < 2:
        return arguments
    ((expression, typed),) = arguments
    if not isinstance(typed.type, TupleType):
        return arguments
    return [(expression, Typed(kind, None, typed.variables)) for _, kind in typed.type.items]


def _input_fits(
    given: Argument, wanted: Type, name: str, declared: Places, context: Context
) -> None:
    expression, typed = given
    if isinstance(typed.type, LabelType):
        message = f"{name} takes {wanted} but {quote(expression)} is {describe(typed)}"
        context.error("E0301", message, expression.span, secondary=declared)
    elif not fits(typed.type, wanted):
        message = (
            f"{name} takes {_spelled(wanted)} but {quote(expression)} is {_spelled(typed.type)}"
        )
        context.error(
            "E0301",
            message,
            expression.span,
            secondary=declared,
            help=_input_help(expression, typed.type, wanted),
        )
    elif accepts(wanted, given, f"the input of {name}", context):
        _stays_inside(expression, typed, wanted, name, context)


def _stays_inside(
    expression: syntax.Expr, typed: Typed, wanted: Type, name: str, context: Context
) -> None:
    """W0701 where arithmetic gives an argument that the bounds of the input's space do not hold."""
    if typed.computed is None or not isinstance(wanted, RecordType):
        return
    held = {(typed.computed, wanted.name), (expression, wanted.name)}
    if held & context.assumed:
        return
    value = quote(expression)
    if typed.computed != expression:
        value += f", which is {quote(typed.computed)},"
    context.error(
        "W0701",
        f"{value} may lie outside {wanted}, where nothing is known of {name}",
        expression.span,
        help=f"to leave such points out write `where {text_of(typed.computed)} in {wanted}`",
    )


def _spelled(kind: Type) -> str:
    tensor = as_tensor(kind)
    if isinstance(kind, RecordType):
        packed = f"{kind.size} entries packed" if tensor is None else str(tensor)
        return f"{kind} ({packed})"
    return str(kind)


def _input_help(expression: syntax.Expr, given: Type, wanted: Type) -> str | None:
    a, b = as_tensor(given), as_tensor(wanted)
    text = text_of(expression)
    if isinstance(given, RecordType) and a is None and b is not None:
        if b.shape == (given.size,):
            return f"pack it: `normalized({text})`, or `flatten({text})` in the fields' own units"
        return f"declare the network's input as `{given.name}`"
    if a is None or b is None:
        if isinstance(wanted, RecordType):
            return f"quantify over the space: `forall s in {wanted.name}`"
        return None
    sizes = constants.size(squeezed(a.shape)), constants.size(squeezed(b.shape))
    if sizes[0] != sizes[1] or not isinstance(given, RecordType | TensorType):
        return None
    if len(b.shape) == 1:
        return f"both have {sizes[0]} entries: write `flatten({text})`"
    shape = ", ".join(map(str, a.shape))
    return f"both have {sizes[0]} entries: declare the network's input as `real[{shape}]`"


# --- composition, hidden values ------------------------------------------------------------------


def composition(expression: syntax.Binary, context: Context) -> Typed:
    """`f >> g`: what f gives goes into g."""
    left, right = context.type_of(expression.left), context.type_of(expression.right)
    if not (left.known and right.known):
        return NOTHING
    for side, typed in ((expression.left, left), (expression.right, right)):
        if isinstance(typed.type, NetworkType) and isinstance(typed.type.output, VotesType):
            return context.error(
                "E0315",
                f"{quote(side)} is smoothed: only its class is known, which goes into no network",
                side.span,
                help="compose first: `smooth(f >> g, 1/4)`",
            )
        if not isinstance(typed.type, NetworkType):
            return context.error(
                "E0302",
                f"`>>` composes networks, but {quote(side)} is {describe(typed)}",
                side.span,
                help="`f >> g` is the network that gives `g(f(x))`",
            )
    first, second = left.type, right.type
    if not (isinstance(first, NetworkType) and isinstance(second, NetworkType)):
        return NOTHING
    passed = (expression.left, Typed(first.output))
    if not fits(first.output, second.input):
        return context.error(
            "E0301",
            f"{quote(expression.left)} gives {_spelled(first.output)}, but "
            f"{quote(expression.right)} takes {_spelled(second.input)}",
            expression.span,
            secondary=[
                (expression.left.span, f"gives {first.output}"),
                (expression.right.span, f"takes {second.input}"),
            ],
        )
    name = f"the input of {quote(expression.right)}"
    if not accepts(second.input, passed, name, context):
        return NOTHING
    return Typed(NetworkType(first.input, second.output))


def hidden(
    expression: syntax.Call, network: Typed, arguments: Sequence[Argument], context: Context
) -> Typed:
    """`network.hidden("name")`: a function whose output has the shape it has in the file."""
    kind = network.type
    if not isinstance(kind, NetworkType):
        return NOTHING
    if len(arguments) != 1:
        message = f"`hidden` takes the name of one value, not {count(len(arguments))}"
        return context.error("E0305", message, expression.span, help=_hidden_help(expression))
    ((written, typed),) = arguments
    if not typed.known:
        return NOTHING
    if not isinstance(typed.type, StringType):
        message = f"`hidden` takes the name of a value, but {quote(written)} is {describe(typed)}"
        return context.error("E0302", message, written.span, help=_hidden_help(expression))
    return Typed(NetworkType(kind.input, UNREAD))


def _hidden_help(expression: syntax.Call) -> str:
    return f'as the ONNX file calls it: `{text_of(expression.function)}("relu_3")`'


def hidden_entry(network: NetworkType) -> Typed:
    """`network.hidden("name")[i]`: the function whose output is that entry."""
    return Typed(NetworkType(network.input, REAL))

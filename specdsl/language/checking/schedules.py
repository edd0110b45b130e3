"""Numbers that change while a network is trained: weights of losses, learning rates, epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from specdsl.language import constants, syntax
from specdsl.language.syntax.walk import names_in
from specdsl.language.typing.names import Context, Symbol, quote
from specdsl.language.typing.operands import operand, scalar_constant
from specdsl.language.typing.types import squeezed


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight that is in order; `value` where it is a constant."""

    value: Fraction | None = None


def weight(what: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """A number made of constants and schedules; None after E0302, E0303, E0401 or E0712.

    `what` it is for begins the messages.
    """
    if not no_attack(expression, context):
        return None
    found = operand(expression, context.type_of(expression), context)
    if found is None:
        return None
    if squeezed(found.tensor.shape) != ():
        message = f"{what} is one number, but {quote(expression)} is {found.tensor}"
        context.error("E0303", message, expression.span)
        return None
    if found.tensor.unit is not None:
        message = f"{what} has no unit, but {quote(expression)} is in `{found.tensor.unit}`"
        context.error("E0401", message, expression.span)
        return None
    value = None if found.typed.value is None else constants.scalar(found.typed.value)
    if isinstance(value, Fraction):
        return Weight(value)
    unfit = [n for n in names_in(expression) if not _fixed(context.lookup(n.name))]
    if not unfit:
        return Weight() if _arithmetic(what, expression, context) else None
    context.error(
        "E0712",
        f"{what} is made of constants and schedules, but {quote(unfit[0])} is neither",
        expression.span,
        help="schedules are declared in the block: `let kappa = ramp(1, 1/2, epochs = 10..80)`",
    )
    return None


def no_attack(expression: syntax.Expr, context: Context) -> bool:
    """Whether no attack stands where a number should; E0302."""
    for name in names_in(expression):
        symbol = context.lookup(name.name)
        if symbol is not None and symbol.kind == "attack":
            context.error(
                "E0302",
                f"a number is needed here, but {symbol.description} is none",
                name.span,
                secondary=[(symbol.span, "declared here")],
                help=f"attacks stand behind `by`: `by = {name.name}`",
            )
            return False
    return True


def _arithmetic(what: str, expression: syntax.Expr, context: Context) -> bool:
    """Whether schedules are joined by `+ - * / ^` alone, so that they can be tabulated."""
    match expression:
        case syntax.Unary(operator="-", operand=operand):
            return _arithmetic(what, operand, context)
        case syntax.Binary(operator="+" | "-" | "*" | "/" | "^", left=left, right=right):
            return _arithmetic(what, left, context) and _arithmetic(what, right, context)
        case syntax.Name():
            return True
        case _ if any(_follows(name, context) for name in names_in(expression)):
            context.error(
                "E0712",
                f"{what} joins schedules by `+ - * / ^` alone, unlike {quote(expression)}",
                expression.span,
            )
            return False
        case _:
            return True


def _follows(name: syntax.Name, context: Context) -> bool:
    symbol = context.lookup(name.name)
    return symbol is not None and symbol.kind == "schedule"


def _fixed(symbol: Symbol | None) -> bool:
    """Whether a name is a constant or a schedule, or a function built in."""
    return symbol is None or symbol.kind == "schedule" or symbol.typed.value is not None


def epochs(name: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """`a..b`: epochs counted from 0, both included; None after E0304, E0403 or E0804."""
    if not isinstance(expression, syntax.Range):
        context.error(
            "E0804",
            f"`{name}` is a range of epochs, not {quote(expression)}",
            expression.span,
            help=f"for example `{name} = 10..80`",
        )
        return None
    ends = [_epoch(end, context) for end in (expression.first, expression.last)]
    first, last = ends
    if first is None or last is None:
        return None
    if first <= last:
        return Weight()
    message = f"the epochs {quote(expression)} end before they begin"
    context.error("E0403", message, expression.span, help="write the earlier one first")
    return None


def _epoch(expression: syntax.Expr, context: Context) -> int | None:
    value = scalar_constant(expression, context, "an epoch")
    if value is None:
        return None
    if value.denominator == 1 and value >= 0:
        return int(value)
    message = f"an epoch is a whole number from 0, not {quote(expression)}"
    context.error("E0304", message, expression.span)
    return None


def stage(argument: syntax.Comprehension, context: Context) -> bool:
    """Whether `value for e in a..b` is in order: another value during some epochs."""
    fine = scalar_constant(argument.body, context, "the value of a stage") is not None
    if argument.where is not None or len(argument.binders) != 1:
        context.error(
            "E0804",
            "a stage is a value for one range of epochs",
            argument.span,
            help="write `1e-4 for e in 130..200`",
        )
        return False
    return epochs("epochs", argument.binders[0].set, context) is not None and fine


def last_epochs(node: syntax.Node) -> Iterator[syntax.Range]:
    """The ranges of epochs written in a line of a training: of its ramps and steps."""
    pending = [node]
    while pending:
        match pending.pop():
            case syntax.Call(function=syntax.Name(name="ramp"), arguments=arguments):
                named = [a for a in arguments if isinstance(a, syntax.NamedArgument)]
                yield from (
                    a.value
                    for a in named
                    if a.name == "epochs" and isinstance(a.value, syntax.Range)
                )
            case syntax.Call(function=syntax.Name(name="steps"), arguments=arguments):
                for argument in arguments:
                    if isinstance(argument, syntax.Comprehension):
                        sets = (binder.set for binder in argument.binders)
                        yield from (each for each in sets if isinstance(each, syntax.Range))
            case syntax.Call(arguments=arguments):
                pending += [a for a in arguments if not isinstance(a, syntax.Comprehension)]
            case syntax.NamedArgument(value=value) | syntax.Setting(value=value):
                pending.append(value)
            case syntax.TrainItem(value=value):
                pending.append(value)
            case _:
                pass


def within(total: int, written: syntax.Range, context: Context) -> None:
    """E0720 where a schedule goes on after the last of `total` epochs."""
    last = context.type_of(written.last).value
    if not isinstance(last, Fraction) or last <= total:
        return
    context.error(
        "E0720",
        f"the schedule goes on until epoch {last}, but training ends with epoch {total - 1}",
        written.span,
        help=f"epochs count from 0: end it at {total - 1} or earlier, or train longer",
    )

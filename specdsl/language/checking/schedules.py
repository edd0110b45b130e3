"""Numbers that change while a network is trained: weights of losses, learning rates, epochs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from specdsl.language import constants, syntax
from specdsl.language.syntax.walk import names_in
from specdsl.language.types import REAL
from specdsl.language.typing.names import Context, Symbol, Typed, quote
from specdsl.language.typing.operands import operand, scalar_constant
from specdsl.language.typing.types import squeezed


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight that is in order; `value` where it is a constant."""

    value: Fraction | None = None


def schedule(item: syntax.TrainItem, context: Context) -> Symbol:
    """The name that a `let` of a `train` block gives to its schedule."""
    return Symbol(item.name or "", "schedule", item.span, Typed(REAL))


def weight(what: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """A number made of constants and schedules; None after E0302, E0303, E0401 or E0712.

    `what` it is for begins the messages.
    """
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
        return Weight()
    context.error(
        "E0712",
        f"{what} is made of constants and schedules, but {quote(unfit[0])} is neither",
        expression.span,
        help="schedules are declared in the block: `let kappa = ramp(1, 1/2, epochs = 10..80)`",
    )
    return None


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

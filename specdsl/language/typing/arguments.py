"""Arguments in a form that a function does not take, and how messages count arguments."""

from __future__ import annotations

from specdsl.language import syntax
from specdsl.language.typing.names import Context, quote

_COMPREHENDING = "`sum`, `mean`, `min`, `max`, `all`, `any` and `one_of` take"


def not_by_name(
    argument: syntax.NamedArgument, function: str, context: Context, help: str | None = None
) -> None:
    """Report E0305 for `name = value` where a function takes its arguments by position."""
    context.error(
        "E0305",
        f"`{function}` takes its arguments by position",
        argument.span,
        help=help or f"write {quote(argument.value)} alone",
    )


def not_by_comprehension(
    argument: syntax.Comprehension, function: str, context: Context, instead: str
) -> None:
    """Report E0305 for `body for ...` where a function takes one argument after the other.

    `instead` begins the help, which goes on with the functions that take comprehensions.
    """
    context.error(
        "E0305",
        f"`{function}` takes its arguments one by one",
        argument.span,
        help=f"{instead} {_COMPREHENDING} `... for i in ...`",
    )


def count(number: int) -> str:
    """`1 argument`, `2 arguments`."""
    return f"{number} argument" + ("" if number == 1 else "s")

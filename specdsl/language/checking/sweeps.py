"""`-D` with several values: `eps=1/255..8/255:1/255`, `p=one_of(l1, l2)`.

A sweep is written as the finite sets of the language are, and checked once for each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor, gcd, lcm, prod

from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.language import constants, syntax
from specdsl.language.evaluation import evaluate
from specdsl.language.parsing.parser import parse_expression
from specdsl.language.spec import Value
from specdsl.language.types import BOOL, NORM, STRING, StringType, TensorType, Type
from specdsl.language.typing.names import Context, Typed
from specdsl.source import Source

# Each combination is a full check. Nobody reads the results of more, and an exponent mistyped in a
# step must not fill the memory.
MAX_COMBINATIONS = 1_000


def sweep(item: syntax.Param, kind: Type, text: str, context: Context) -> Sequence[str] | None:
    """The texts of the values that `text` lists; None where it is one value.

    Empty after E0860 (malformed) or E0861 (too many). Numbers come back as exact fractions. In a
    text parameter only `one_of("a", "b")` lists values: file names hold two dots.
    """
    listed = text.strip().startswith("one_of(")
    if not listed and (isinstance(kind, StringType) or ".." not in text):
        return None
    try:
        return _members(item, text) if listed else _steps(item, kind, text)
    except SpecError as error:
        for found in error.diagnostics:
            here = found if found.code in {"E0860", "E0861"} else _malformed(item, text)
            context.error(here.code, here.message, item.name_span, help=here.help)
        return ()


def all_different(
    item: syntax.Param, text: str, values: Sequence[Value | None], context: Context
) -> bool:
    """Whether a sweep names each value once; E0860 where two combinations would be the same."""
    repeated = next((v for i, v in enumerate(values) if v in values[:i]), None)
    if repeated is not None:
        message = f"`-D {item.name}={text}` lists {repeated} twice"
        context.error("E0860", message, item.name_span, help="name each value once")
    return repeated is None


def constant_text(expression: syntax.Expr) -> Typed | None:
    """What a text from the command line is worth; None for a value that no parameter has."""
    value = constants.scalar(evaluate(expression, {}))
    unit = expression.unit if isinstance(expression, syntax.Number) else None
    if isinstance(value, bool):
        return Typed(BOOL, value)
    if isinstance(value, str):
        return Typed(STRING if isinstance(expression, syntax.String) else NORM, value)
    if isinstance(value, Fraction):
        element = "int" if value.denominator == 1 else "real"
        return Typed(TensorType((), element, unit), value)
    return None


def limit_sweeps(context: Context) -> None:
    """Report E0861 where the sweeps have too many combinations."""
    sizes = {name: len(values) for name, values in context.session.sweeps.items()}
    total = prod(sizes.values())
    if total <= MAX_COMBINATIONS:
        return
    factors = " * ".join(f"{size} (`{name}`)" for name, size in sizes.items())
    message = (
        f"the sweeps have {factors} = {_amount(total)} combinations, more than {MAX_COMBINATIONS:,}"
    )
    help = "give fewer values, or run several times"
    context.session.diagnostics.add(diagnostic("E0861", message, help=help))


# --- one parameter -------------------------------------------------------------------------------


def _members(item: syntax.Param, text: str) -> list[str]:
    expression = parse_expression(Source(f"-D {item.name}", text))
    match expression:
        case syntax.Call(function=syntax.Name(name="one_of"), arguments=arguments) if arguments:
            texts = [argument.span.text for argument in arguments]
        case _:
            raise SpecError([_malformed(item, text)])
    _limit(item, text, len(texts))
    return texts


def _steps(item: syntax.Param, kind: Type, text: str) -> list[str]:
    ends, colon, step_text = text.partition(":")
    expression = parse_expression(Source(f"-D {item.name}", ends))
    if not isinstance(expression, syntax.Range):
        raise SpecError([_malformed(item, text)])
    first, unit = _number(expression.first, item, text)
    last, _ = _number(expression.last, item, text)
    if colon:
        step, _ = _number(parse_expression(Source(f"-D {item.name}", step_text)), item, text)
    else:
        step = _default_step(item, kind, text, (first, last))
    if step <= 0 or last < first:
        message = f"`-D {item.name}={text}` has no values: it goes up from its first end"
        help = "write the smaller end first and a step above 0"
        raise SpecError.of("E0860", message, help=help)
    count = floor((last - first) / step) + 1
    _limit(item, text, count)
    reached = first + (count - 1) * step
    if reached != last:
        message = f"`-D {item.name}={text}` does not reach {last}: its steps lead to {reached}"
        help = f"end it there: `-D {item.name}={first}..{reached}:{step}`"
        raise SpecError.of("E0860", message, help=help)
    suffix = f" `{unit}`" if unit else ""
    return [f"{first + i * step}{suffix}" for i in range(count)]


def _number(expression: syntax.Expr, item: syntax.Param, text: str) -> tuple[Fraction, str | None]:
    typed = constant_text(expression)
    if typed is None or not isinstance(typed.value, Fraction):
        raise SpecError([_malformed(item, text)])
    return typed.value, typed.type.unit if isinstance(typed.type, TensorType) else None


def _default_step(
    item: syntax.Param, kind: Type, text: str, ends: tuple[Fraction, Fraction]
) -> Fraction:
    if isinstance(kind, TensorType) and kind.element == "int":
        return Fraction(1)
    first, last = ends
    # 1/255 for 1/255..8/255: the ends are multiples of it.
    step = Fraction(gcd(first.numerator, last.numerator), lcm(first.denominator, last.denominator))
    step = (last - first) / 10 if step >= last - first else step
    message = f"`-D {item.name}={text}` has no step, which a sweep over real numbers needs"
    raise SpecError.of("E0860", message, help=f"for example `-D {item.name}={text}:{step}`")


def _limit(item: syntax.Param, text: str, count: int) -> None:
    if count > MAX_COMBINATIONS:
        message = (
            f"`-D {item.name}={text}` has {_amount(count)} values, more than {MAX_COMBINATIONS:,}"
        )
        raise SpecError.of("E0861", message, help="take larger steps, or run several times")


def _amount(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"about 10^{len(str(count)) - 1}"


def _malformed(item: syntax.Param, text: str) -> Diagnostic:
    message = f"`-D {item.name}={text}` is not a sweep"
    help = (
        f"write `-D {item.name}=first..last:step`, both ends included, or "
        f"`-D '{item.name}=one_of(1, 2, 5)'`"
    )
    return diagnostic("E0860", message, help=help)

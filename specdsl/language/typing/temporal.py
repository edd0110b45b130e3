"""Claims about a closed loop: `always`, `eventually`, `until`, `at`.

They speak about the states of a `system` at whole steps; step 0 is the initial state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from specdsl.language import syntax
from specdsl.language.types import BOOL, SetType, UnknownType
from specdsl.language.typing.logic import claim
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, Variable, quote
from specdsl.language.typing.operands import operand, text_of, whole

Apply = Callable[[syntax.Call, Sequence[syntax.Expr], Context], Typed]


def over_steps(function: str) -> Apply:
    """`always(a..b, claim)`, `eventually(a..b, claim)`, `until(a..b, claim, claim)`."""

    def apply(call: syntax.Call, arguments: Sequence[syntax.Expr], context: Context) -> Typed:
        steps, *claims = arguments
        _steps(function, steps, context)
        inner = replace(context, temporal=True)
        found = [claim(expression, inner) for expression in claims]
        if not all(typed.known for typed in found):
            return NOTHING
        variables = frozenset[Variable]().union(*(typed.variables for typed in found))
        if not _about_a_system(variables, context):
            return _timeless(function, claims[0], context)
        return Typed(BOOL, None, variables - _systems(variables, context))

    return apply


def at(call: syntax.Call, arguments: Sequence[syntax.Expr], context: Context) -> Typed:
    """`at(k, value)`: a value at one step."""
    step, value = arguments
    x = operand(step, context.type_of(step), context)
    if x is not None and (x.varying or x.tensor.shape != () or x.tensor.element != "int"):
        context.error("E0304", f"a step is a whole number, unlike {quote(step)}", step.span)
    number = whole(x.typed.value) if x is not None else None
    if number is not None and number < 0:
        message = f"there is no step {number}: step 0 is the initial state"
        context.error("E0306", message, step.span)
    typed = replace(context, temporal=True).type_of(value)
    if not typed.known:
        return NOTHING
    if not _about_a_system(typed.variables, context):
        return _timeless("at", value, context)
    return replace(typed, variables=typed.variables - _systems(typed.variables, context))


def _steps(function: str, expression: syntax.Expr, context: Context) -> None:
    typed = context.type_of(expression)
    kind = typed.type
    if isinstance(kind, UnknownType):
        return
    if not isinstance(expression, syntax.Range) or not isinstance(kind, SetType):
        context.error(
            "E0302",
            f"`{function}` begins with the steps it speaks about, not with {quote(expression)}",
            expression.span,
            help=f"write `{function}(0..{_bound(expression)}, ...)`",
        )
        return
    first = whole(context.type_of(expression.first).value)
    if first is not None and first < 0:
        message = f"there is no step {first}: step 0 is the initial state"
        context.error("E0306", message, expression.first.span)


def _bound(expression: syntax.Expr) -> str:
    return text_of(expression) if isinstance(expression, syntax.Number | syntax.Name) else "10"


def _systems(variables: frozenset[Variable], context: Context) -> frozenset[Variable]:
    def is_system(variable: Variable) -> bool:
        symbol: Symbol | None = context.session.symbols.get(variable.name)
        return symbol is not None and symbol.kind == "system" and symbol.span == variable.span

    return frozenset(variable for variable in variables if is_system(variable))


def _about_a_system(variables: frozenset[Variable], context: Context) -> bool:
    # In the body of a function its parameters are of any type yet, and hold nothing to look at.
    return bool(_systems(variables, context))


def _timeless(function: str, expression: syntax.Expr, context: Context) -> Typed:
    systems = [s.name for s in context.session.symbols.values() if s.kind == "system"]
    help = (
        f"speak about the state of `{systems[0]}`, for example `{systems[0]}.x`"
        if systems
        else "declare the loop with `system` first"
    )
    return context.error(
        "E0708",
        f"`{function}` speaks about the state of a system, but {quote(expression)} never changes",
        expression.span,
        help=help,
    )


def check_moment(expression: syntax.Attribute, base: Typed, context: Context) -> bool:
    """Whether the state of a system stands where it has a value; E0708 outside time."""
    if context.temporal or not _systems(base.variables, context):
        return True
    text = text_of(expression)
    context.error(
        "E0708",
        f"{quote(expression)} changes from step to step, and no step is named",
        expression.span,
        help=f"say when: `at(0, {text})`, or `always(0..10, ...)` around the claim",
    )
    return False

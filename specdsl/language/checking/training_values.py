"""Values of options that only training has: named attacks, networks and layers, lists of counts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from specdsl.language import syntax
from specdsl.language.checking.schedules import Weight
from specdsl.language.schemas import Table
from specdsl.language.types import NetworkType
from specdsl.language.typing.names import Context, quote
from specdsl.language.typing.operands import describe


def attack_by_name(expression: syntax.Expr, table: Table, context: Context) -> bool:
    """Whether an attack is meant that a `let` of the block names."""
    if table.noun != "attack" or not isinstance(expression, syntax.Name):
        return False
    symbol = context.locals.get(expression.name)
    return symbol is not None and symbol.kind == "attack"


def counts(name: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """`[4, 7]`: whole numbers from 1 that grow; None after E0804."""
    typed = context.type_of(expression)
    if not typed.known:
        return None
    value = typed.value
    entries = [value] if isinstance(value, Fraction) else value
    if isinstance(entries, np.ndarray):
        entries = list(entries.flat) if entries.ndim == 1 else None
    if isinstance(entries, list) and _grow(entries):
        return Weight()
    message = f"`{name}` is a list of whole numbers from 1 that grow, not {quote(expression)}"
    context.error("E0804", message, expression.span, help=f"for example `{name} = [4, 7]`")
    return None


def _grow(entries: Sequence[object]) -> bool:
    last = Fraction(0)
    for entry in entries:
        if not isinstance(entry, Fraction) or entry.denominator != 1 or entry <= last:
            return False
        last = entry
    return True


def network(name: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """A declared network; None after E0201 or E0302."""
    symbol = context.lookup(expression.name) if isinstance(expression, syntax.Name) else None
    if isinstance(expression, syntax.Name) and symbol is None:
        context.unknown_name(expression.name, expression.span)
        return None
    if symbol is not None and symbol.kind == "network":
        return Weight() if symbol.typed.known else None
    found = symbol.description if symbol else quote(expression)
    message = f"`{name}` is a network, but this is {found}"
    context.error("E0302", message, expression.span, help=f"write `{name} = net`, with its name")
    return None


def composition(name: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """A network, or several joined by `>>`, codes among them; None after E0302."""
    typed = context.type_of(expression)
    if not typed.known:
        return None
    if isinstance(typed.type, NetworkType):
        return Weight()
    message = f"`{name}` is networks joined by `>>`, but {quote(expression)} is {describe(typed)}"
    context.error("E0302", message, expression.span)
    return None


def layer(name: str, expression: syntax.Expr, context: Context) -> Weight | None:
    """The name of a layer, or of a node of a file in quotes; None after E0804.

    Which layers there are is known when the training is resolved.
    """
    if isinstance(expression, syntax.Name | syntax.String):
        return Weight()
    message = f"`{name}` is the name of a layer, not {quote(expression)}"
    help = f'write `{name} = c1` for `layer c1 = ...`, or `{name} = "relu_3"` for a node of a file'
    context.error("E0804", message, expression.span, help=help)
    return None

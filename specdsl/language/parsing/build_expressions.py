"""The nodes of expressions, one function for each rule of the grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import cast

from specdsl.diagnostics import diagnostic
from specdsl.language import syntax
from specdsl.language.parsing.parts import Parts, Rule
from specdsl.language.parsing.scan import STATEMENTS
from specdsl.language.syntax import Binder, Expr
from specdsl.source import Span

# Exact arithmetic on longer numbers would only cost time: a float64 has 17 significant digits and
# exponents of up to 308.
MAX_DIGITS = 400
MAX_EXPONENT = 400

ESCAPES: Mapping[str, str] = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


def _number(parts: Parts) -> syntax.Number:
    text = parts.text(0)
    unit = parts.optional_text(1)
    value = _exact(text)
    if value is None:
        message = f"number of more than {MAX_DIGITS} digits, or an exponent over {MAX_EXPONENT}"
        parts.diagnostics.add(diagnostic("E0108", message, parts.part(0).span))
        value = Fraction(0)
    return syntax.Number(value, text, unit[1:-1] if unit else None, span=parts.span)


def _exact(text: str) -> Fraction | None:
    """The rational a literal means, or None beyond the caps."""
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    power = exponent.lstrip("+-").lstrip("0")
    if len(mantissa) > MAX_DIGITS + 1 or len(power) > len(str(MAX_EXPONENT)):
        return None
    if sum(map(str.isdigit, mantissa)) > MAX_DIGITS or int(power or "0") > MAX_EXPONENT:
        return None
    return Fraction(f"{mantissa}e{exponent or 0}")


def _string(parts: Parts) -> syntax.String:
    return string(parts, 0)


def string(parts: Parts, index: int) -> syntax.String:
    """The string literal at `index`, its escapes resolved; unknown ones are reported."""
    span = parts.part(index).span

    def resolve(match: re.Match[str]) -> str:
        letter = match[1]
        if letter not in ESCAPES:
            start = span.start + 1 + match.start()
            place = Span(span.source, start, start + 2)
            message = f"unknown escape `{match[0]}` in a text"
            help = r"known are `\"`, `\\`, `\n` and `\t`; a backslash itself is `\\`"
            parts.diagnostics.add(diagnostic("E0109", message, place, help=help))
        return ESCAPES.get(letter, letter)

    return syntax.String(re.sub(r"\\(.)", resolve, parts.text(index)[1:-1]), span=span)


def _name(parts: Parts) -> syntax.Name:
    """A name, unless a statement was meant: the keywords of statements are names elsewhere."""
    text, start = parts.text(0), parts.span.start
    if text in STATEMENTS and start > 0 and parts.span.source.text[start - 1] == "\n":
        message = f"expected an expression, found `{text}`"
        help = (
            "at the beginning of a line this word begins a statement; indent it to use it as a name"
        )
        parts.diagnostics.add(diagnostic("E0101", message, parts.span, help=help))
    return syntax.Name(text, span=parts.span)


def _attribute(parts: Parts) -> syntax.Attribute:
    return syntax.Attribute(parts.expr(0), parts.text(1), parts.part(1).span, span=parts.span)


def _index(parts: Parts) -> syntax.Index:
    return syntax.Index(parts.expr(0), parts.exprs(1), span=parts.span)


def _slice(parts: Parts) -> syntax.Slice:
    return syntax.Slice(parts.optional_expr(0), parts.optional_expr(1), span=parts.span)


def _call(parts: Parts) -> syntax.Call:
    return syntax.Call(parts.expr(0), _tuple(parts, 1), span=parts.span)


def _tuple(parts: Parts, index: int) -> tuple[Expr, ...]:
    """A tuple that another rule made; the grammar says of what."""
    return cast(tuple[Expr, ...], parts.get(index, tuple))


def _named_argument(parts: Parts) -> syntax.NamedArgument:
    return syntax.NamedArgument(parts.text(0), parts.expr(1), span=parts.span)


def _comprehension(parts: Parts) -> syntax.Comprehension:
    return syntax.Comprehension(
        parts.expr(0), binders(parts, 1), parts.optional_expr(2), span=parts.span
    )


def binders(parts: Parts, index: int) -> tuple[Binder, ...]:
    """The binders that the rule at `index` collected."""
    return cast(tuple[Binder, ...], parts.get(index, tuple))


def _set_of(parts: Parts) -> syntax.SetOf:
    return syntax.SetOf(parts.expr(0), binders(parts, 1), parts.optional_expr(2), span=parts.span)


def _subset(parts: Parts) -> syntax.Subset:
    member = parts.expr(0)
    named = isinstance(member, syntax.Membership) and isinstance(member.element, syntax.Name)
    if not named or cast(syntax.Membership, member).negated:
        message = "a set by condition begins with a name and its set"
        help = "write `{ x in R where x[0] <= 1 }`"
        parts.diagnostics.add(diagnostic("E0118", message, parts.part(0).span, help=help))
    return syntax.Subset(member, parts.expr(1), span=parts.span)


def _unary(operator: str) -> Rule:
    return lambda parts: syntax.Unary(operator, parts.expr(0), span=parts.span)


def _binary(operator: str) -> Rule:
    return lambda parts: syntax.Binary(operator, parts.expr(0), parts.expr(1), span=parts.span)


def _comparison(parts: Parts) -> syntax.Comparison:
    operands = tuple(parts.expr(i) for i in range(0, len(parts), 2))
    operators = tuple(parts.text(i) for i in range(1, len(parts), 2))
    return syntax.Comparison(operands, operators, span=parts.span)


def _membership(negated: bool) -> Rule:
    return lambda parts: syntax.Membership(parts.expr(0), parts.expr(1), negated, span=parts.span)


def _quantifier(kind: str) -> Rule:
    return lambda parts: syntax.Quantifier(
        kind, binders(parts, 0), parts.optional_expr(1), parts.expr(2), span=parts.span
    )


EXPRESSIONS: Mapping[str, Rule] = {
    "number": _number,
    "string": _string,
    "name": _name,
    "true": lambda parts: syntax.Boolean(True, span=parts.span),
    "false": lambda parts: syntax.Boolean(False, span=parts.span),
    "attribute": _attribute,
    "index": _index,
    "slice": _slice,
    "call": _call,
    "named_argument": _named_argument,
    "comprehension": _comprehension,
    "negative": _unary("-"),
    "not": _unary("not"),
    "power": _binary("^"),
    "and": _binary("and"),
    "or": _binary("or"),
    "implies": _binary("=>"),
    "comparison": _comparison,
    "member": _membership(False),
    "not_member": _membership(True),
    "range": lambda parts: syntax.Range(parts.expr(0), parts.expr(1), span=parts.span),
    "if": lambda parts: syntax.IfThenElse(*parts.exprs(), span=parts.span),
    "forall": _quantifier("forall"),
    "exists": _quantifier("exists"),
    "tuple": lambda parts: syntax.Tuple(parts.exprs(), span=parts.span),
    "list": lambda parts: syntax.List(parts.exprs(), span=parts.span),
    "absolute": lambda parts: syntax.Absolute(parts.expr(0), span=parts.span),
    "set_of": _set_of,
    "subset": _subset,
}
"""Rule of the grammar to the function that builds its node."""

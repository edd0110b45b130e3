"""Typing expressions: one entry that sends each form to its rules."""

from __future__ import annotations

from specdsl.language import syntax
from specdsl.language.constants import LEFT_CHAINS, NORMS
from specdsl.language.types import BOOL, INT, NORM, REAL, STRING, FunctionType, SetType, TupleType
from specdsl.language.typing.access import attribute, index
from specdsl.language.typing.arguments import count
from specdsl.language.typing.binders import quantify_each
from specdsl.language.typing.builtins import BUILTINS
from specdsl.language.typing.calls import call, instantiate
from specdsl.language.typing.comprehensions import image, subset
from specdsl.language.typing.logic import (
    assuming,
    choice,
    claim,
    comparison,
    connective,
    negation,
)
from specdsl.language.typing.membership import membership
from specdsl.language.typing.names import NOTHING, Context, SetFacts, Symbol, Typed, Variable
from specdsl.language.typing.networks import composition
from specdsl.language.typing.numbers import (
    absolute,
    arithmetic,
    list_of,
    matrix_product,
    number,
    power,
    unary_minus,
)
from specdsl.language.typing.sets import intersection, range_of


def infer(expression: syntax.Expr, context: Context) -> Typed:
    """What is known of `expression` in `context`; problems are recorded in its session."""
    match expression:
        case syntax.Number():
            return number(expression, context)
        case syntax.String(value=text):
            return Typed(STRING, text, written=expression.span)
        case syntax.Boolean(value=truth):
            return Typed(BOOL, truth)
        case syntax.Name():
            return _name(expression, context)
        case syntax.Attribute():
            return attribute(expression, context)
        case syntax.Index():
            return index(expression, context)
        case syntax.Call():
            return call(expression, context)
        case syntax.Unary(operator="-"):
            return unary_minus(expression, context)
        case syntax.Unary():
            return negation(expression, context)
        case syntax.Binary():
            return _binary(expression, context)
        case syntax.Comparison():
            return comparison(expression, context)
        case _:
            return _other(expression, context)


def _chain(expression: syntax.Binary, context: Context) -> Typed:
    """`a + b + c ...` from the left, without recursion: generated files have long chains."""
    links = [expression]
    while isinstance(links[-1].left, syntax.Binary) and links[-1].left.operator in LEFT_CHAINS:
        links.append(links[-1].left)
    typed = context.type_of(links[-1].left)
    held = context
    for link in reversed(links):
        if link.operator not in {"and", "or"}:
            typed = arithmetic(link, typed, context)
            continue
        held = _held(link, held) if link.operator == "and" else context
        typed = connective(link, typed, held)
    return typed


def _held(link: syntax.Binary, held: Context) -> Context:
    """Where the right side of an `and` stands: what is left of it holds."""
    before = link.left
    if isinstance(before, syntax.Binary) and before.operator == "and":
        before = before.right  # the rest of the chain is in `held`
    return assuming(before, held)


def _binary(expression: syntax.Binary, context: Context) -> Typed:
    if expression.operator in LEFT_CHAINS:
        return _chain(expression, context)
    match expression.operator:
        case "^":
            return power(expression, context)
        case "&":
            return intersection(expression, context)
        case "@":
            return matrix_product(expression, context)
        case ">>":
            return composition(expression, context)
        case _:  # =>
            left = context.negated().type_of(expression.left)
            return connective(expression, left, assuming(expression.left, context))


def _other(expression: syntax.Expr, context: Context) -> Typed:
    match expression:
        case syntax.Membership():
            return membership(expression, context)
        case syntax.Range():
            return range_of(expression, context)
        case syntax.IfThenElse():
            return choice(expression, context)
        case syntax.Quantifier():
            return quantifier(expression, context)
        case syntax.Tuple():
            return _tuple(expression, context)
        case syntax.List():
            return list_of(expression, context)
        case syntax.Absolute():
            return absolute(expression, expression.operand, context)
        case syntax.Subset():
            return subset(expression, context)
        case syntax.SetOf():
            return image(expression, context)
        case _:  # every other form has been sent to its rules by `infer`
            raise TypeError(f"{type(expression).__name__} is no expression")


def quantifier(expression: syntax.Quantifier, context: Context) -> Typed:
    """`forall binders where condition: body`."""
    variables: set[Variable] = set()
    contexts = quantify_each(expression.kind, expression.binders, expression, context)
    for each in contexts:
        inner = each
        if expression.where is not None:
            limits = claim(
                expression.where, inner.negated() if expression.kind == "forall" else inner
            )
            if limits.value is False and len(contexts) > 1:
                continue  # one of several fields that the condition leaves out
            inner = assuming(expression.where, inner)
        body = claim(expression.body, inner)
        variables |= body.variables
    names = {name for binder in expression.binders for name in binder.names}
    return Typed(BOOL, None, frozenset(v for v in variables if v.name not in names))


def _tuple(expression: syntax.Tuple, context: Context) -> Typed:
    items = [context.type_of(item) for item in expression.items]
    if not all(item.known for item in items):
        return NOTHING
    variables = frozenset(v for item in items for v in item.variables)
    kind = TupleType(tuple((None, item.type) for item in items))
    values = tuple(item.value for item in items if item.value is not None)
    return Typed(kind, values if len(values) == len(items) else None, variables)


def _name(expression: syntax.Name, context: Context) -> Typed:
    name = expression.name
    symbol = context.lookup(name)
    if symbol is not None:
        return _declared(expression, symbol, context)
    if name in NORMS:
        return Typed(NORM, name)
    if name in {"real", "int"}:
        facts = SetFacts(unbounded=(expression.span, f"`{name}` has no bounds"))
        return Typed(SetType(INT if name == "int" else REAL), set=facts)
    if name in BUILTINS:
        signature = ", ".join(BUILTINS[name].parameters)
        message = f"`{name}` is a function and needs arguments"
        return context.error("E0307", message, expression.span, help=f"`{name}({signature})`")
    return context.unknown_name(name, expression.span, NORMS)


def _declared(expression: syntax.Name, symbol: Symbol, context: Context) -> Typed:
    if isinstance(symbol.typed.type, FunctionType):
        return _needs_arguments(expression, symbol, context)
    if symbol.function is not None:
        return instantiate(symbol, [], expression, context)
    return symbol.typed


def _needs_arguments(expression: syntax.Name, symbol: Symbol, context: Context) -> Typed:
    parameters = symbol.function.parameters if symbol.function else ()
    names = ", ".join(parameter.name for parameter in parameters)
    return context.error(
        "E0305",
        f"`{symbol.name}` needs {count(len(parameters))}",
        expression.span,
        secondary=[(symbol.span, f"{symbol.kind} declared here")],
        help=f"call it as `{symbol.name}({names})`",
    )

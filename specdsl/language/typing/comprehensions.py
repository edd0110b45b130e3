"""`body for binders where condition`: as arguments of functions, and sets in braces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from specdsl.language import syntax
from specdsl.language.types import SetType
from specdsl.language.typing.arguments import not_by_name
from specdsl.language.typing.binders import quantify, quantify_each
from specdsl.language.typing.logic import assuming, claim
from specdsl.language.typing.names import (
    NOTHING,
    Context,
    SetFacts,
    Symbol,
    Typed,
    Variable,
    quote,
)
from specdsl.language.typing.operands import text_of
from specdsl.language.typing.sets import set_of


@dataclass(frozen=True, slots=True, eq=False)
class Arguments:
    """Arguments of a function that takes any number: each with its type and where it stands.

    `complete`: whether they are all that there are; a comprehension has more than are typed.
    """

    typed: Sequence[tuple[syntax.Expr, Typed, Context]]
    complete: bool


def each_argument(call: syntax.Call, name: str, context: Context) -> Arguments | None:
    """The arguments, with the bodies of comprehensions; None after a diagnostic."""
    found: list[tuple[syntax.Expr, Typed, Context]] = []
    complete = True
    for argument in call.arguments:
        if isinstance(argument, syntax.NamedArgument):
            not_by_name(argument, name, context)
            return None
        if isinstance(argument, syntax.Comprehension):
            complete = False
            if not _finite(argument, context):
                return None
            for inner in _members(argument, context):
                found.append((argument.body, inner.type_of(argument.body), inner))
        elif not complete and _another_binder(argument, context):
            return None
        else:
            found.append((argument, context.type_of(argument), context))
    if found or complete:
        return Arguments(found, complete)
    context.error("E0403", f"`{name}` is given nothing: no member is left", call.span)
    return None


def _another_binder(argument: syntax.Expr, context: Context) -> bool:
    """Report `f(i, j) for i in A, j in B`, which reads as a second argument."""
    match argument:
        case syntax.Membership(element=syntax.Name(name=name)) if context.lookup(name) is None:
            text = text_of(argument)
            context.error(
                "E0305",
                f"{quote(argument)} begins a new argument here",
                argument.span,
                help=f"each variable has its own `for`: `... for {text}`, without a comma",
            )
            return True
        case _:
            return False


def _members(argument: syntax.Comprehension, context: Context) -> Iterator[Context]:
    """Where the body stands: once, or once for each field that its condition leaves."""
    for inner in quantify_each("forall", argument.binders, argument, context, conditioned=True):
        if argument.where is None:
            yield inner
            continue
        kept = claim(argument.where, inner)
        if kept.variables:
            context.later(
                "a condition that varies, on what a function is given, is",
                argument.where.span,
                f"weigh it instead: `if {text_of(argument.where)} then ... else 0`",
            )
        if kept.value is not False:
            yield assuming(argument.where, inner)


def _finite(argument: syntax.Comprehension, context: Context) -> bool:
    """Whether all sets are finite; those of later binders may depend on earlier variables."""
    names = {name: binder.span for binder in argument.binders for name in binder.names}
    unread = context.bind(Symbol(n, "variable", span, NOTHING) for n, span in names.items())
    finite = True
    for binder in argument.binders:
        typed = set_of(binder.set, unread)
        if not isinstance(typed.type, SetType) or typed.type.finite:
            continue
        finite = False
        help = "finite are ranges `0..9`, `one_of(...)`, enums, `fields(S)` and slices of data"
        if isinstance(binder.set, syntax.List):
            items = ", ".join(text_of(item) for item in binder.set.items)
            help = f"`[...]` after `in` is an interval; the set of both ends is `one_of({items})`"
        context.error(
            "E0302",
            f"what is taken together comes from a finite set, but {quote(binder.set)} is a "
            f"{typed.type}",
            binder.set.span,
            help=help,
        )
    return finite


# --- sets in braces ------------------------------------------------------------------------------


def _alone(context: Context) -> Context:
    """Where the variables of a set stand: under no quantifier but the set's own."""
    return replace(context, quantifier=None, positive=True)


def _inside(inner: Context, context: Context) -> Context:
    return replace(inner, quantifier=context.quantifier, positive=context.positive)


def subset(expression: syntax.Subset, context: Context) -> Typed:
    """`{ x in R where condition }`."""
    member = expression.member
    if not isinstance(member, syntax.Membership) or not isinstance(member.element, syntax.Name):
        return context.error(
            "E0302",
            f"a set by condition names its elements, unlike {quote(member)}",
            member.span,
            help="write `{ x in R where condition }`",
        )
    binder = syntax.Binder((member.element.name,), member.set, span=member.span)
    whole = set_of(member.set, context)
    if not isinstance(whole.type, SetType):
        return NOTHING
    if whole.set.image:
        return context.later(
            "a condition on the values of an expression is",
            expression.span,
            "put the condition on its variables: `{ f(t) for t in T where ... }`",
        )
    inner = _inside(
        quantify("forall", [binder], member, _alone(context), conditioned=True), context
    )
    condition = claim(expression.condition, inner)
    bound = inner.locals[binder.names[0]].typed.variables
    variables = whole.variables | (condition.variables - bound)
    facts = whole.set
    if facts.unbounded is not None:
        facts = replace(facts, unbounded=None)  # the condition may bound it: elaboration looks
    return Typed(whole.type, None, variables, set=facts)


def image(expression: syntax.SetOf, context: Context) -> Typed:
    """`{ body for binders where condition }`."""
    inner = _inside(quantify("forall", expression.binders, expression, _alone(context)), context)
    if expression.where is not None:
        claim(expression.where, inner)
        inner = assuming(expression.where, inner)
    body = inner.type_of(expression.body)
    if not body.known:
        return NOTHING
    names = [name for binder in expression.binders for name in binder.names]
    own = frozenset(Variable(name, expression.span) for name in names)
    finite = not any(own & inner.locals[name].typed.variables for name in names)
    variables = body.variables - own
    return Typed(SetType(body.type, finite), None, variables, set=SetFacts(image=not finite))

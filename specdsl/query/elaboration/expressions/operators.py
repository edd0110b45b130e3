"""Operators, comparisons and membership: what they mean, given what their operands mean."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration.expressions.arithmetic import (
    arithmetic,
    minus,
    numeric,
    place_at,
    power,
)
from specdsl.query.elaboration.expressions.comparisons import compared
from specdsl.query.elaboration.values import regions
from specdsl.query.elaboration.values.environment import Environment
from specdsl.query.elaboration.values.formula import (
    Formula,
    conjunction,
    disjunction,
    negate,
    truth,
)
from specdsl.query.elaboration.values.meaning import Claim, Meaning, Meanings, Truths, misfit
from specdsl.query.elaboration.values.membership import contains
from specdsl.query.elaboration.values.regions import FiniteSet, Region

LARGEST_POWER = 16
"""Higher powers multiply too often to be bounded well."""


def operation(
    expression: syntax.Unary | syntax.Binary, environment: Environment, meanings: Meanings
) -> Meaning:
    """Unary and binary operators on numbers, claims and sets."""
    if isinstance(expression, syntax.Unary):
        if expression.operator == "not":
            return Claim(negate(meanings.formula(expression.operand, environment)))
        return minus(meanings.meaning(expression.operand, environment), meanings.scene)
    operator = expression.operator
    if operator in {"and", "or", "=>"}:
        return Claim(_connective(expression, environment, meanings))
    if operator == "&":
        return _intersection(expression, environment, meanings)
    left, right = (meanings.meaning(s, environment) for s in (expression.left, expression.right))
    if operator == "^":
        return _power(expression, left, environment, meanings)
    return arithmetic(operator, left, right, meanings.scene, expression)


def _power(
    expression: syntax.Binary, base: Meaning, environment: Environment, meanings: Meanings
) -> Meaning:
    exponent = meanings.integer(expression.right, environment)
    tensor = numeric(base, meanings.scene)
    if tensor is None:
        raise misfit("a number", expression.left)
    if abs(exponent) > LARGEST_POWER and tensor.constant is None:
        text = f"powers above {LARGEST_POWER} of varying values are not supported"
        raise SpecError.of("E0901", text, expression.right.span)
    place = place_at(expression, tensor, meanings.scene)
    return power(tensor, exponent, meanings.scene, place)


def _intersection(
    expression: syntax.Binary, environment: Environment, meanings: Meanings
) -> Meaning:
    left, right = (meanings.set(s, environment) for s in (expression.left, expression.right))
    if isinstance(left, Region) and isinstance(right, Region):
        return regions.intersect(left, right)
    if isinstance(right, FiniteSet):
        left, right = right, left
    if isinstance(left, FiniteSet):
        return _kept(left, right, expression, meanings)
    raise SpecError.of("E0901", "intersections of images are not supported yet")


def _kept(
    finite: FiniteSet, other: object, expression: syntax.Binary, meanings: Meanings
) -> FiniteSet:
    """The members of a finite set that lie in another set."""
    kept: list[regions.Member] = []
    for member in finite.members:
        value = meanings.resolve(member.value)
        inside = _inside(value, other, expression, meanings)
        if inside not in (truth(True), truth(False)):
            raise SpecError.of("E0901", "this intersection depends on quantified variables")
        if inside == truth(True):
            kept.append(member)
    return replace(finite, members=tuple(kept))


def _connective(expression: syntax.Binary, environment: Environment, meanings: Meanings) -> Formula:
    left = meanings.formula(expression.left, environment)
    if expression.operator == "=>":
        left = negate(left)
    # What the left side decides alone needs no right side: it may not even make sense.
    decisive = truth(expression.operator != "and")
    if left == decisive:
        return left
    right = meanings.formula(expression.right, environment)
    join = conjunction if expression.operator == "and" else disjunction
    return join((left, right))


# --- comparisons ---------------------------------------------------------------------------------


def comparison(
    expression: syntax.Comparison | syntax.Membership,
    environment: Environment,
    meanings: Meanings,
) -> Meaning:
    """Chains of comparisons, entry by entry, and membership in sets."""
    if isinstance(expression, syntax.Membership):
        inside = _membership(expression, environment, meanings)
        return Claim(negate(inside) if expression.negated else inside)
    sides = [meanings.meaning(operand, environment) for operand in expression.operands]
    parts = [
        compared(operator, a, b, meanings.scene, expression)
        for operator, (a, b) in zip(expression.operators, pairwise(sides), strict=True)
    ]
    count = max(len(part) for part in parts)
    wide = [part * count if len(part) == 1 else part for part in parts]
    if any(len(part) != count for part in wide):
        raise SpecError.of("E0752", "the comparisons have different shapes")
    joined = tuple(conjunction(each) for each in zip(*wide, strict=True))
    return Truths(joined) if count > 1 else Claim(joined[0])


def _membership(
    expression: syntax.Membership, environment: Environment, meanings: Meanings
) -> Formula:
    element = meanings.meaning(expression.element, environment)
    found = meanings.set(expression.set, environment)
    return _inside(element, found, expression, meanings)


def _inside(
    element: Meaning, found: object, expression: syntax.Expr, meanings: Meanings
) -> Formula:
    if isinstance(found, Region):
        tensor = numeric(element, meanings.scene)
        if tensor is None:
            raise misfit("a tensor", expression)
        return contains(found, tensor, meanings.scene)
    if isinstance(found, FiniteSet):
        options = (meanings.resolve(member.value) for member in found.members)
        return disjunction(
            conjunction(compared("==", element, option, meanings.scene, expression))
            for option in options
        )
    raise SpecError.of(
        "E0705",
        "membership in an image asks whether some value exists: an alternation of quantifiers",
        expression.span,
        help="name the value with `let` and compare with it",
    )

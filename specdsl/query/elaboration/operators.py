"""Operators, comparisons and membership: what they mean, given what their operands mean."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration import regions
from specdsl.query.elaboration.environment import Environment
from specdsl.query.elaboration.formula import Formula, conjunction, disjunction, negate, truth
from specdsl.query.elaboration.meaning import (
    Claim,
    Meaning,
    Meanings,
    Truths,
    arithmetic,
    compared,
    minus,
    misfit,
)
from specdsl.query.elaboration.regions import Region
from specdsl.query.elaboration.symbolic import Tensor, absolute, constant


def operation(
    expression: syntax.Unary | syntax.Binary, environment: Environment, meanings: Meanings
) -> Meaning:
    """Unary and binary operators on numbers, claims and sets."""
    if isinstance(expression, syntax.Unary):
        if expression.operator == "not":
            return Claim(negate(meanings.formula(expression.operand, environment)))
        return minus(meanings.meaning(expression.operand, environment))
    operator = expression.operator
    if operator in {"and", "or", "=>"}:
        return Claim(_connective(expression, environment, meanings))
    if operator == "&":
        left, right = (meanings.set(s, environment) for s in (expression.left, expression.right))
        if isinstance(left, Region) and isinstance(right, Region):
            return regions.intersect(left, right)
        raise SpecError.of("E0901", "intersections of finite sets are not supported yet")
    if operator == "^":
        base = meanings.number(expression.left, environment)
        power = meanings.integer(expression.right, environment)
        if base == 0 and power < 0:
            raise SpecError.of("E0404", "division by zero")
        return constant(Fraction(base**power))
    sides = (meanings.meaning(s, environment) for s in (expression.left, expression.right))
    return arithmetic(operator, *sides)


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


def magnitude(tensor: Tensor) -> Meaning:
    """`|x|`: exact for constants; of one varying number known by comparisons only."""
    known = tensor.constant
    if known is not None:
        return Tensor(np.asarray(np.abs(known), dtype=object))
    if tensor.scalar is None:
        raise SpecError.of("E0901", "absolute values of tensors are not supported yet")
    return absolute([tensor.scalar])


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
        compared(operator, a, b, expression)
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
    if isinstance(found, Region):
        if isinstance(element, Tensor):
            return regions.contains(found, element)
        raise misfit("a tensor", expression.element)
    options = (meanings.resolve(member.value) for member in found.members)
    return disjunction(
        conjunction(compared("==", element, option, expression)) for option in options
    )

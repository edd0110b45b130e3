"""Maxima and steps in exact arithmetic: cases over linear forms, whole numbers for roundings."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import z3

from specdsl.backends.smt.encoder import Encoder
from specdsl.backends.smt.forms import ExactRange, LinearForm
from specdsl.backends.smt.terms import Formula, Term, number
from specdsl.graph import ops


def encode_maximum(name: str, members: Sequence[LinearForm], encoder: Encoder) -> LinearForm:
    """The largest of some forms. One that another always reaches is left out; the only one left is
    the maximum itself.
    """
    encoder.check_time()
    ranges = [encoder.range_of(member) for member in members]
    floor = max(known.lower for known in ranges)
    surest = next(i for i, known in enumerate(ranges) if known.lower == floor)
    kept = [i for i, known in enumerate(ranges) if i == surest or known.upper > floor]
    if len(kept) == 1:
        return members[surest]
    highest = max(ranges[i].upper for i in kept)
    y = encoder.variable(name, ExactRange(floor, highest).outward())
    encoder.know_between(members[surest], LinearForm({}, highest))
    at_y, values = encoder.expression(y), [encoder.expression(members[i]) for i in kept]
    encoder.assertions += [at_y >= value for value in values]
    encoder.assertions.append(z3.Or([at_y <= value for value in values]))
    return y


def encode_threshold(name: str, op: ops.Threshold, x: LinearForm, encoder: Encoder) -> LinearForm:
    """One of three values by the sign of x; a constant where one is left."""
    encoder.check_time()
    known = encoder.range_of(x)
    values = [
        Fraction(value)
        for value, reached in (
            (op.below, known.lower < 0),
            (op.at, known.lower <= 0 <= known.upper),
            (op.above, known.upper > 0),
        )
        if reached
    ]
    if len(set(values)) == 1:
        return LinearForm({}, values[0])
    y = encoder.variable(name, ExactRange(min(values), max(values)))
    at_x, below, at, above = (
        encoder.expression(x),
        *(number(Fraction(value)) for value in (op.below, op.at, op.above)),
    )
    if op.at == op.below:
        value = z3.If(at_x > 0, above, at)
    else:
        value = z3.If(at_x < 0, below, at if op.at == op.above else z3.If(at_x > 0, above, at))
    encoder.assertions.append(encoder.expression(y) == value)
    return y


def encode_rounding(name: str, op: ops.Rounding, x: LinearForm, encoder: Encoder) -> LinearForm:
    """A whole number beside x; a constant where the range leaves one."""
    encoder.check_time()
    known = encoder.range_of(x)
    first, last = op.exact(known.lower), op.exact(known.upper)
    if first == last:
        return LinearForm({}, first)
    y = encoder.variable(name, ExactRange(first, last), whole=True)
    at_x, at_y = encoder.expression(x), encoder.expression(y)
    floor, ceil = z3.And(at_y <= at_x, at_x < at_y + 1), z3.And(at_y - 1 < at_x, at_x <= at_y)
    match op:
        case ops.Floor():
            relation = floor
        case ops.Ceil():
            relation = ceil
        case ops.Truncate():
            relation = z3.If(at_x >= 0, floor, ceil)
        case ops.Round():
            evens = ExactRange(Fraction(first // 2), Fraction(-(-last // 2)))
            even = encoder.variable(f"{name}.half", evens, whole=True).scaled(TWO, Fraction(0))
            relation = _nearest(at_x, at_y, encoder.expression(even))
        case _:
            raise TypeError(f"no rule for the rounding {type(op).__name__}")
    encoder.assertions.append(relation)
    return y


TWO = Fraction(2)


def _nearest(x: Term, y: Term, even: Term) -> Formula:
    """That whole y is nearest to x, and on the border between two whole numbers the even one."""
    half = number(Fraction(1, 2))
    inside = z3.And(y - half < x, x < y + half)
    return z3.Or(inside, z3.And(y - half <= x, x <= y + half, y == even))

"""Whole-number entries of the input: their intervals shrink to whole ends before anything else."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from specdsl.query.sets import Box, CutBox, EmptySet, IndexArray, InputSet


def round_inward(inputs: InputSet, integers: IndexArray) -> InputSet:
    """The set with whole ends where `integers` says so, rounded exactly: no whole point is lost.

    Raises EmptySet where some interval holds no whole number.
    """
    if not integers.size:
        return inputs
    lower, upper = inputs.box.lower.copy(), inputs.box.upper.copy()
    for i in integers.tolist():
        lower[i], upper[i] = Fraction(ceil(lower[i])), Fraction(floor(upper[i]))
        if lower[i] > upper[i]:
            raise EmptySet(f"no whole number between the ends of entry {i}")
    box = Box(lower, upper)
    return CutBox(box, inputs.balls) if inputs.balls else box

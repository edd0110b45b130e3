"""Divisors that are 0 somewhere, arguments outside a domain: refused before anything is solved.

An argument that is linear in the inputs has an exact range over the box of a case. Where the
function has no value on all of it, the claim means nothing there. What is computed otherwise (the
output of a network) has no range yet: whoever bounds the query says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.enclosure import smooth_range
from specdsl.query.elaboration.questions.emission import needed_steps
from specdsl.query.elaboration.questions.layout import Layout
from specdsl.query.elaboration.values.scene import OpStep, Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Linear
from specdsl.query.query import Case
from specdsl.query.sets import Box

WHOLE_LINE = (-inf, inf)


def check_domains(
    scene: Scene, layout: Layout, rows: Sequence[Linear], cases: Sequence[Case]
) -> None:
    """Raise SpecError E0405 where a function that an atom reads has no value for some input of its
    case.
    """
    if not any(_is_partial(step) for step in scene.steps):
        return
    seen: set[tuple[int, int]] = set()
    for case in cases:
        read = needed_steps(scene, [rows[atom.index] for atom in case.atoms])
        for number in sorted(read):
            step = scene.steps[number]
            key = (number, id(case.inputs))
            if isinstance(step, OpStep) and _is_partial(step) and key not in seen:
                seen.add(key)
                _check(step, layout, case.inputs.box)


def _is_partial(step: object) -> bool:
    if not isinstance(step, OpStep) or not isinstance(step.op, ops.Smooth):
        return False
    return bool(step.op.poles) or step.op.domain != WHOLE_LINE


def _check(step: OpStep, layout: Layout, box: Box) -> None:
    op = step.op
    assert isinstance(op, ops.Smooth)
    for operand in step.operands[0]:
        value = operand.renamed(layout.places) if isinstance(operand, Linear) else operand
        ends = _range(value, box)
        if ends is None:
            continue
        low, high = (np.array([_float(end)]) for end in ends)
        least, most = smooth_range(op, low, high)
        if not bool(np.isfinite(least).all() and np.isfinite(most).all()):
            raise _no_value(op, step, ends)


def _range(value: Fraction | Linear, box: Box) -> tuple[Fraction, Fraction] | None:
    """The least and largest value over the box; None where more than inputs are in it."""
    if isinstance(value, Fraction):
        return value, value
    least = most = value.constant
    for (source, position), coefficient in value.terms:
        if source != INPUT:
            return None
        ends = coefficient * box.lower[position], coefficient * box.upper[position]
        least, most = least + min(ends), most + max(ends)
    return least, most


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def _no_value(op: ops.Smooth, step: OpStep, ends: tuple[Fraction, Fraction]) -> SpecError:
    low, high = (f"{_float(end):.6g}" for end in ends)
    span = step.span
    text = " ".join(span.text.split()) if span is not None else "an argument"
    if isinstance(op, ops.Reciprocal):
        message = f"division by `{text}`, which may be 0"
        help = "leave the place out with `where`, or multiply the inequality out"
    else:
        message = f"`{text}` has no value on all of the set"
        help = "leave those places out with `where`, or narrow the set"
    where = f"is {low}" if low == high else f"its range is [{low}, {high}]"
    if not isinstance(op, ops.Reciprocal):
        where = f"its argument is {low}" if low == high else f"its argument is in [{low}, {high}]"
    return SpecError.of("E0405", message, span, label=where, help=help)

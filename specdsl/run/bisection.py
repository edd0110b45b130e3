"""Bisection between what is proven and what is refuted, where some answers may be unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Said = Literal["verified", "falsified", "unknown"]

MAX_STEPS = 200
"""No tolerance that makes sense needs more halvings of both ends."""

OFF_CENTRE = Fraction(31, 64)
"""Where an interval is cut. Halves of round numbers are round, and so are many optima: a question
asked at the optimum itself is a tie, the one that bounds in floating point never decide.
"""


@dataclass(slots=True)
class Frontier:
    """`proven`: the value nearest to the optimum that is proven; `refuted`: the nearest one that a
    witness refutes; None while there is none. `unknown`: whether some answer was unknown.
    """

    proven: Fraction | None = None
    refuted: Fraction | None = None
    unknown: bool = False
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """From `good`, where proofs are expected, to `bad`, where refutations are; `met` says whether a
    proven and a refuted end are near enough to stop.
    """

    good: Fraction
    bad: Fraction
    met: Callable[[Fraction, Fraction], bool]


def bisect(
    span: Range,
    ask: Callable[[Fraction], Said],
    go_on: Callable[[], bool],
    frontier: Frontier,
) -> None:
    """Narrow both ends until they meet, or until `go_on` says no.

    First towards the proven end, taking "unknown" for "not proven"; then, where something was
    unknown, towards the refuted end, taking it for "not refuted". `ask` may move
    `frontier.refuted` by more than the value asked about.
    """
    near = span.good if frontier.proven is None else frontier.proven
    far = span.bad if frontier.refuted is None else frontier.refuted
    while not span.met(near, far) and _going(frontier, go_on):
        middle = between(near, far)
        if _step(middle, span, ask, frontier) == "verified":
            near = middle
        else:
            far = _nearer(frontier.refuted, middle, near)
    if not frontier.unknown:
        return
    far_end = span.bad if frontier.refuted is None else frontier.refuted
    near = near if frontier.proven is None else frontier.proven
    while not span.met(near, far_end) and _going(frontier, go_on):
        middle = between(near, far_end)
        if _step(middle, span, ask, frontier) == "falsified":
            far_end = _nearer(frontier.refuted, middle, near)
        else:
            near = middle


def _step(
    value: Fraction, span: Range, ask: Callable[[Fraction], Said], frontier: Frontier
) -> Said:
    said = ask(value)
    frontier.steps += 1
    if said == "verified":
        frontier.proven = value
    elif said == "falsified":
        frontier.refuted = _nearer(frontier.refuted, value, span.good)
    frontier.unknown |= said == "unknown"
    return said


def _going(frontier: Frontier, go_on: Callable[[], bool]) -> bool:
    return frontier.steps < MAX_STEPS and go_on()


def _nearer(refuted: Fraction | None, middle: Fraction, near: Fraction) -> Fraction:
    """Of the value asked about and what its witness refutes, the one nearer to the proven end."""
    if refuted is None:
        return middle
    return min(refuted, middle, key=lambda value: abs(value - near))


def within(tolerance: Fraction) -> Callable[[Fraction, Fraction], bool]:
    """Ends at most `tolerance` apart have met."""
    return lambda first, second: abs(second - first) <= tolerance


def within_gap(gap: Fraction, least: Fraction) -> Callable[[Fraction, Fraction], bool]:
    """Ends apart by at most `gap` of the larger of them, or by `least`, have met."""
    return lambda first, second: (
        abs(second - first) <= max(gap * max(abs(first), abs(second)), least)
    )


def between(first: Fraction, second: Fraction) -> Fraction:
    """A value between two, as a float where one lies strictly between: numbers stay short."""
    middle = first + (second - first) * OFF_CENTRE
    rounded = Fraction(float(middle))
    low, high = min(first, second), max(first, second)
    return rounded if low < rounded < high else middle

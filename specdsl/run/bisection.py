"""Bisection between what is proven and what is refuted, where some answers may be unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Said = Literal["verified", "falsified", "unknown"]

MAX_STEPS = 200
"""No tolerance that makes sense needs more halvings of both ends."""


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
    """From `good`, where proofs are expected, to `bad`, where refutations are."""

    good: Fraction
    bad: Fraction
    tolerance: Fraction


def bisect(
    span: Range,
    ask: Callable[[Fraction], Said],
    go_on: Callable[[], bool],
    frontier: Frontier,
) -> None:
    """Narrow both ends down to the tolerance, or until `go_on` says no.

    First towards the proven end, taking "unknown" for "not proven"; then, where something was
    unknown, towards the refuted end, taking it for "not refuted". `ask` may move
    `frontier.refuted` by more than the value asked about.
    """
    near = span.good if frontier.proven is None else frontier.proven
    far = span.bad if frontier.refuted is None else frontier.refuted
    while _apart(near, far) > span.tolerance and _going(frontier, go_on):
        middle = between(near, far)
        if _step(middle, ask, frontier) == "verified":
            near = middle
        else:
            far = _nearer(frontier.refuted, middle, near)
    if not frontier.unknown:
        return
    far_end = span.bad if frontier.refuted is None else frontier.refuted
    near = near if frontier.proven is None else frontier.proven
    while _apart(near, far_end) > span.tolerance and _going(frontier, go_on):
        middle = between(near, far_end)
        if _step(middle, ask, frontier) == "falsified":
            far_end = _nearer(frontier.refuted, middle, near)
        else:
            near = middle


def _step(value: Fraction, ask: Callable[[Fraction], Said], frontier: Frontier) -> Said:
    said = ask(value)
    frontier.steps += 1
    if said == "verified":
        frontier.proven = value
    elif said == "falsified" and frontier.refuted is None:
        frontier.refuted = value
    frontier.unknown |= said == "unknown"
    return said


def _going(frontier: Frontier, go_on: Callable[[], bool]) -> bool:
    return frontier.steps < MAX_STEPS and go_on()


def _apart(first: Fraction, second: Fraction) -> Fraction:
    return abs(second - first)


def _nearer(refuted: Fraction | None, middle: Fraction, near: Fraction) -> Fraction:
    """Of the value asked about and what its witness refutes, the one nearer to the proven end."""
    if refuted is None:
        return middle
    return min(refuted, middle, key=lambda value: abs(value - near))


def between(first: Fraction, second: Fraction) -> Fraction:
    """The middle, as a float where one lies strictly between: numbers stay short."""
    middle = (first + second) / 2
    rounded = Fraction(float(middle))
    low, high = min(first, second), max(first, second)
    return rounded if low < rounded < high else middle

"""The Pareto front of trials: those that no other beats in one accuracy without losing the other.

Clean and certified accuracy are traded for one another, so that a sweep has no best trial but a
front of them. Larger is better in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accuracies:
    """What a trial is compared by, as parts of 1 of the same samples."""

    clean: float
    certified: float


def dominates(a: Accuracies, b: Accuracies) -> bool:
    """Whether `a` is at least as good as `b` in both, and better in one."""
    return a.clean >= b.clean and a.certified >= b.certified and a != b


def front(trials: Sequence[Accuracies]) -> tuple[int, ...]:
    """Positions of the trials that no other dominates, from the least clean accuracy up.

    Equal trials are on the front together or not at all, in their order. NaN is no accuracy:
    raises ValueError. In O(n log n): by falling clean accuracy, a trial is on the front where it
    certifies more than all before it.
    """
    if any(t.clean != t.clean or t.certified != t.certified for t in trials):
        raise ValueError("NaN is no accuracy")
    order = sorted(range(len(trials)), key=lambda i: (-trials[i].clean, -trials[i].certified, i))
    found: list[int] = []
    best: Accuracies | None = None
    for index in order:
        trial = trials[index]
        if best is None or trial.certified > best.certified or trial == best:
            best = trial
            found.append(index)
    return tuple(sorted(found, key=lambda i: (trials[i].clean, i)))


def staircase(
    trials: Sequence[Accuracies], corner: Accuracies
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The edge of what the front reaches, as clean and certified accuracies of a broken line.

    It begins at the left end, at the clean accuracy of `corner`, and ends at the bottom, at its
    certified one. A point left of and below the line is dominated by a trial. Empty without trials.
    """
    if not trials:
        return (), ()
    steps = sorted({trials[i] for i in front(trials)}, key=lambda t: t.clean)
    clean, certified = [corner.clean], [steps[0].certified]
    for here, following in zip(steps, (*steps[1:], None), strict=True):
        below = corner.certified if following is None else following.certified
        clean += [here.clean, here.clean]
        certified += [here.certified, below]
    return tuple(clean), tuple(certified)

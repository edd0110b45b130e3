"""Laws of the Pareto front: on it is exactly what nothing dominates."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.training.sweep.front import Accuracies, dominates, front, staircase

# Few values, so that there are ties in one accuracy and in both.
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
TRIALS = st.lists(st.builds(Accuracies, SHARES, SHARES), max_size=12)
CORNER = Accuracies(-1.0, -1.0)


@given(TRIALS)
def test_on_the_front_is_exactly_what_no_trial_dominates(trials: list[Accuracies]) -> None:
    found = set(front(trials))
    for index, trial in enumerate(trials):
        assert (index in found) == (not any(dominates(other, trial) for other in trials))


@given(TRIALS)
def test_every_other_trial_is_dominated_by_one_of_the_front(trials: list[Accuracies]) -> None:
    found = front(trials)
    for index in set(range(len(trials))) - set(found):
        assert any(dominates(trials[best], trials[index]) for best in found)


@given(TRIALS)
def test_the_front_falls_from_left_to_right_and_equal_trials_share_it(
    trials: list[Accuracies],
) -> None:
    points = [trials[index] for index in front(trials)]
    for left, right in pairwise(points):
        assert left == right or (left.clean < right.clean and left.certified > right.certified)


@given(TRIALS, st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(trials: list[Accuracies], random: object) -> None:
    shuffled = list(trials)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    points = [trials[index] for index in front(trials)]
    assert points == [shuffled[index] for index in front(shuffled)]


@given(TRIALS, SHARES, SHARES)
def test_below_the_line_is_exactly_what_a_trial_is_at_least_as_good_as(
    trials: list[Accuracies], clean: float, certified: float
) -> None:
    # Between the values of the trials, where no point lies on the line.
    point = Accuracies(clean - 0.125, certified - 0.125)
    xs, ys = staircase(trials, CORNER)
    heights = [y for x, y in zip(xs, ys, strict=True) if x > point.clean]
    below = bool(heights) and max(heights) > point.certified
    assert below == any(dominates(trial, point) for trial in trials)


@given(TRIALS)
def test_the_line_goes_along_the_axes_from_the_left_edge_to_the_bottom(
    trials: list[Accuracies],
) -> None:
    xs, ys = staircase(trials, CORNER)
    corners = list(zip(xs, ys, strict=True))
    for (x, y), (right, lower) in pairwise(corners):
        assert (x == right and y >= lower) or (y == lower and x <= right)
    if trials:
        assert (corners[0][0], corners[-1][1]) == (-1.0, -1.0)


def test_nan_is_no_accuracy() -> None:
    with pytest.raises(ValueError, match="NaN"):
        front([Accuracies(float("nan"), 0.5)])

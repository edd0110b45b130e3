"""Clopper and Pearson's bounds fail as seldom as they say, by exact sums over all counts."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf, log, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from specdsl.backends.sampling.binomial import (
    distance_of,
    least_probability,
    most_probability,
)

ALPHAS = (0.5, 0.05, 0.001)
TOTALS = st.integers(1, 60)
# The bounds give away a billionth; near 0 and 1 that is more of a tail, up to 60 / 0.0001 times.
NEAR = 1e-3


def mass(total: int, count: int, p: Fraction) -> Fraction:
    """Of so many successes, exactly."""
    return comb(total, count) * p**count * (1 - p) ** (total - count)


@pytest.mark.parametrize("alpha", ALPHAS)
@given(total=TOTALS, p=st.fractions(0, 1, max_denominator=1000))
def test_whatever_the_probability_is_the_bounds_fail_seldom(
    alpha: float, total: int, p: Fraction
) -> None:
    counts = range(total + 1)
    below = sum(mass(total, k, p) for k in counts if least_probability(k, total, alpha) > p)
    above = sum(mass(total, k, p) for k in counts if most_probability(k, total, alpha) < p)
    assert below <= alpha
    assert above <= alpha


@pytest.mark.parametrize("alpha", ALPHAS)
@given(total=TOTALS, data=st.data())
def test_no_better_bounds_hold(alpha: float, total: int, data: st.DataObject) -> None:
    """At the bound the tail that it leaves out has exactly the probability it may have."""
    count = data.draw(st.integers(1, total))
    least = Fraction(least_probability(count, total, alpha))
    tail = sum(mass(total, k, least) for k in range(count, total + 1))
    assert alpha * (1 - NEAR) <= tail <= alpha
    failures = total - count
    most = Fraction(most_probability(failures, total, alpha))
    tail = sum(mass(total, k, most) for k in range(failures + 1))
    assert alpha * (1 - NEAR) <= tail <= alpha


def test_the_ends_say_what_must_be() -> None:
    assert least_probability(0, 10, 0.001) == 0
    assert most_probability(10, 10, 0.001) == 1
    # None of n: alpha = (1 - p)^n.
    n = 100_000
    assert most_probability(0, n, 0.001) == pytest.approx(-log(0.001) / n, rel=1e-4)
    assert least_probability(n, n, 0.001) == pytest.approx(0.001 ** (1 / n), rel=1e-8)


@given(p=st.floats(0, 1), sigma=st.floats(1e-3, 1e3))
def test_a_distance_keeps_the_majority(p: float, sigma: float) -> None:
    """Noise that gives the class with p here gives it with more than a half nearer than that."""
    distance = distance_of(p, sigma)
    assert distance >= 0
    if distance > 0:
        assert ndtr(distance / sigma) <= p
        assert p > 0.5
    if p >= 0.5 + 1e-6:
        assert ndtr(nextafter(distance, inf) / sigma) >= p - 1e-8

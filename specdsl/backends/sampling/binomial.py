"""What counts say of a probability: Clopper-Pearson bounds, rounded to the safe side.

Clopper, Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
binomial". Exact: with `k` of `n` the bound fails with a probability of at most `alpha`, whatever
the probability is.
"""

from __future__ import annotations

from math import inf, nextafter

from scipy.special import betaincinv, ndtri

# The incomplete beta function and the normal quantile are right to within some 1e-13 of their
# values (Boost and Cephes, in scipy); 1e-9 is nothing to what n samples leave open.
SLACK = 1e-9


def least_probability(count: int, total: int, alpha: float) -> float:
    """A lower bound on the probability of what happened `count` times of `total`."""
    if count == 0:
        return 0.0
    return float(betaincinv(count, total - count + 1, alpha)) * (1 - SLACK)


def most_probability(count: int, total: int, alpha: float) -> float:
    """An upper bound on it."""
    if count == total:
        return 1.0
    # By the other side: 1 - x loses all digits of a probability near 0.
    found = float(betaincinv(count + 1, total - count, 1 - alpha))
    return min(1.0, found * (1 + SLACK))


def distance_of(probability: float, sigma: float) -> float:
    """How far from where Gaussian noise of `sigma` gives a class with at least this probability it
    gives it with more than a half, in l2: `sigma * Phi^-1(p)`, rounded down; 0 up to a half.

    Source: Cohen, Rosenfeld, Kolter 2019, arXiv:1902.02918, theorem 1 with the probabilities of
    all other classes together at most 1 - p.
    """
    if probability <= 0.5:
        return 0.0
    found = sigma * float(ndtri(probability)) * (1 - SLACK)
    return max(0.0, nextafter(found, -inf))

"""The nearest point of a ball is in it, and no other point of it is nearer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from specdsl.evidence.common_point import _FloatBall
from specdsl.query.sets import Ball, Norm, exact
from tests.strategies import generators


@given(generators())
@pytest.mark.parametrize("norm", ["l1", "l2"])
@settings(max_examples=60, deadline=None)
def test_pulled_points_are_projections(norm: Norm, rng: np.random.Generator) -> None:
    size = int(rng.integers(1, 6))
    positions = np.sort(rng.permutation(8)[:size])
    center, scale = rng.normal(size=size), rng.uniform(0.5, 2, size)
    radius = float(rng.uniform(0.1, 3))
    ball = _FloatBall(
        Ball(positions, exact(center), exact(scale), Fraction(radius), norm), part=1.0
    )

    def offsets(points: np.ndarray) -> np.ndarray:
        """In units of the radius, where the ball is one of radius 1."""
        return (points[..., positions] - center) * scale / radius

    point = rng.normal(size=8) * 3
    pulled = ball.pull(point)
    away = np.setdiff1d(np.arange(8), positions)
    assert (pulled[away] == point[away]).all()
    order = 1 if norm == "l1" else 2
    assert np.linalg.norm(offsets(pulled), order) <= 1 + 1e-12
    inside = rng.normal(size=(100, size))
    inside /= np.maximum(1, np.linalg.norm(inside, order, axis=1))[:, None]
    # The projection on a convex set: no point of it is on the other side.
    products = (inside - offsets(pulled)) @ (offsets(point) - offsets(pulled))
    assert (products <= 1e-9 * (1 + np.abs(offsets(point)).sum())).all()
    assert ball.pull(pulled) == pytest.approx(pulled, rel=1e-12, abs=1e-12)

"""Directions of steepest ascent: over the set's size, no step rises more."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import input_region
from specdsl.query.sets import Ball, Box, Norm, cut, exact


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("seed", range(3))
def test_a_direction_rises_as_much_as_any_step_of_its_size(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    where = np.array([1, 2, 4])
    scale, radius = rng.integers(1, 5, 3) / 2, Fraction(3, 4)
    ball = Ball(where, exact(np.zeros(3)), exact(scale), radius, norm)
    inputs = cut(Box(exact([-3] * 5), exact([2] * 5)), [ball])
    projector = Projector(input_region(inputs, torch.zeros(0, dtype=torch.float64)))
    gradient = torch.as_tensor(rng.normal(size=(4, 5)))
    step = projector.direction(gradient)
    assert step.shape == gradient.shape
    outside = [0, 3]
    assert torch.equal(step[:, outside], 5 * gradient[:, outside].sign())
    sizes = np.linalg.norm(step[:, where].numpy() * scale, 1 if norm == "l1" else 2, axis=1)
    assert sizes == pytest.approx(2 * float(radius))
    # By duality of norms (Hoelder): the most that a linear function rises over such a step.
    slopes = gradient[:, where].numpy() / scale
    most = 2 * float(radius) * np.linalg.norm(slopes, np.inf if norm == "l1" else 2, axis=1)
    assert (gradient[:, where] * step[:, where]).sum(1).numpy() == pytest.approx(most)


def test_l1_steps_move_a_twentieth_of_many_entries() -> None:
    inputs = cut(
        Box(exact([-3] * 60), exact([3] * 60)),
        [Ball(np.arange(60), exact([0] * 60), exact([1] * 60), Fraction(1), "l1")],
    )
    projector = Projector(input_region(inputs, torch.zeros(0, dtype=torch.float64)))
    gradient = torch.arange(60, dtype=torch.float64)[None] - 40
    step = projector.direction(gradient)
    moved = step[0].nonzero().flatten().tolist()
    assert moved == [0, 1, 2]
    assert step[0, moved].tolist() == pytest.approx([-2 / 3] * 3)

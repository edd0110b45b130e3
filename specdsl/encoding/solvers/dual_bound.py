"""A lower bound on a linear program's optimum that rests on arithmetic, not on the solver.

For any multipliers y, `b(y) + sum_j min over [lower_j, upper_j] of (cost - A^T y)_j x_j` is at most
the optimum, where b(y) takes the row's lower side where y > 0 and its upper side where y < 0. The
solver's duals make it tight; wrong duals only make it loose.

Source: Neumaier and Shcherbina 2004, doi:10.1007/s10107-003-0433-3.
"""

from __future__ import annotations

import numpy as np

from specdsl.encoding.model.linear_model import FloatArray, LinearModel

# Part of all magnitudes added up that is taken off for rounding, here and in the model's own
# coefficients and bounds: float64 rounds at 1.1e-16 a step, times several thousand terms, times
# some hundredfold cancellation on the way to the bounds.
ROUNDING_PART = 1e-10


def safe_bound(model: LinearModel, multipliers: FloatArray) -> float:
    """The bound for these row multipliers, less rounding; -inf where one is not finite.

    A multiplier that needs a missing (infinite) side of its row is taken as 0. Shape: (rows,).
    """
    if not np.isfinite(multipliers).all():
        return -np.inf
    lacks_side = ((multipliers > 0) & np.isneginf(model.row_lower)) | (
        (multipliers < 0) & np.isposinf(model.row_upper)
    )
    y = np.where(lacks_side, 0.0, multipliers)
    side = np.where(y > 0, model.row_lower, model.row_upper)
    right = np.where(y == 0, 0.0, y * np.where(y == 0, 0.0, side))
    reduced = model.cost - model.terms.transposed_times(y, model.columns)
    at_best = reduced * np.where(reduced > 0, model.lower, model.upper)
    farthest = np.maximum(np.abs(model.lower), np.abs(model.upper))
    passed = model.terms.magnitude().transposed_times(np.abs(y), model.columns)
    size = np.abs(right).sum() + ((np.abs(model.cost) + passed) * farthest).sum()
    bound = float(right.sum() + at_best.sum() - ROUNDING_PART * size)
    return bound if np.isfinite(bound) else -np.inf

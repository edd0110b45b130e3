"""Lower bounds of quadratic forms that rest on arithmetic, not on a semidefinite solver.

With `A = V diag(w) V^T + R`, the least eigenvalue of a symmetric A is at least
`min(w, 0) |V^T V| - |R|`: both norms are small where V, w come from an eigendecomposition, are
bounded here with the rounding of every product, and hold whatever V and w are.

Source: Rump 2010, Acta Numerica 19, doi:10.1017/S096249291000005X (residuals bounded a priori).
"""

from __future__ import annotations

import numpy as np

from specdsl.encoding.model.linear_model import FloatArray

# float64 rounds at half of this; a sum of n products is off by at most n + 2 of the halves.
UNIT = float(np.finfo(np.float64).eps)
# What few sums and products of numbers of either sign may lose of their magnitudes.
FEW = 1e-12
# Shifts that are tried, as parts of the largest eigenvalue: the least are best where the form is
# positive already, larger ones where the solver left it off by more.
SHIFTS = (1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1)


def least_on_cube(form: FloatArray) -> float:
    """A lower bound of `[1, s] form [1, s]^T` over all s with entries from -1 to 1.

    `form` is symmetric, of shape (n + 1, n + 1). Of `form = shifted + gamma e0 e0^T - shift I`, the
    last loses at most n shifts, and the first at most n + 1 times its least eigenvalue below 0.
    """
    inner, linear = form[1:, 1:], form[0, 1:]
    if not np.isfinite(form).all():
        return -np.inf
    if not inner.size:
        return float(form[0, 0])
    values, vectors = np.linalg.eigh(inner)
    along = (vectors.T @ linear) ** 2
    largest = max(float(np.abs(values).max()), float(np.abs(linear).max()), np.finfo(float).tiny)
    least = max(0.0, -float(values[0]))
    found = [_shifted(form, values, along, least + part * largest) for part in SHIFTS]
    return max(-float(np.abs(form).sum()) * (1 + FEW), *found)


def _shifted(form: FloatArray, values: FloatArray, along: FloatArray, shift: float) -> float:
    size = form.shape[0]
    gamma = float(form[0, 0] - (along / (values + shift)).sum())
    shifted = form + shift * np.eye(size)
    shifted[0, 0] = form[0, 0] - gamma + shift
    short = size * min(0.0, least_eigenvalue(shifted))
    lost = FEW * (float(np.abs(form).sum()) + abs(gamma) + size * shift)
    found = gamma - size * shift + short - lost
    return found if np.isfinite(found) else -np.inf


def least_eigenvalue(matrix: FloatArray) -> float:
    """A lower bound of a symmetric matrix's least eigenvalue; -inf where a number is not finite."""
    if not np.isfinite(matrix).all():
        return -np.inf
    n = matrix.shape[0]
    values, vectors = np.linalg.eigh(matrix)
    product = (vectors * values) @ vectors.T
    magnitude = (np.abs(vectors) * np.abs(values)) @ np.abs(vectors).T
    lost = (n + 4) * UNIT * (magnitude + np.abs(matrix))
    residual = _norm(np.abs(matrix - product) + lost)
    gram, size = vectors.T @ vectors, np.abs(vectors).T @ np.abs(vectors)
    apart = _norm(np.abs(gram - np.eye(n)) + (n + 4) * UNIT * (size + 1))
    return float(min(0.0, values[0]) * (1 + apart) * (1 + FEW) - residual)


def _norm(entries: FloatArray) -> float:
    """Of entries that are not negative: at least their Frobenius norm."""
    return float(np.sqrt((entries * entries).sum())) * (1 + FEW)

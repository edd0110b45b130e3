"""Bounds of quadratic forms: below every value, and close where the form is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.encoding.solvers.quadratic_bound import least_eigenvalue, least_on_cube
from tests.strategies import generators

many = settings(max_examples=200, deadline=None)


def symmetric(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    entries = rng.normal(size=(size, size)) * scale
    return entries + entries.T


def is_positive(matrix: np.ndarray, shift: float) -> bool:
    """Whether `matrix - shift I` is positive semidefinite, by elimination in rationals."""
    rows = [[Fraction(float(v)) for v in row] for row in matrix]
    size = len(rows)
    for i in range(size):
        rows[i][i] -= Fraction(shift)
    for k in range(size):
        pivot = rows[k][k]
        if pivot < 0 or (pivot == 0 and any(rows[k][k + 1 :])):
            return False
        for i in range(k + 1, size):
            part = rows[i][k] / pivot if pivot else Fraction(0)
            for j in range(k + 1, size):
                rows[i][j] -= part * rows[k][j]
    return True


@given(generators(), st.integers(1, 6), st.sampled_from([1e-8, 1.0, 1e12]))
@many
def test_no_eigenvalue_is_below(rng: np.random.Generator, size: int, scale: float) -> None:
    matrix = symmetric(rng, size, scale)
    least = least_eigenvalue(matrix)
    assert is_positive(matrix, least)
    assert least >= min(0.0, float(np.linalg.eigvalsh(matrix)[0])) - 1e-11 * size * scale


@given(generators(), st.integers(1, 5), st.integers(0, 3))
@many
def test_singular_matrices_lose_next_to_nothing(
    rng: np.random.Generator, size: int, rank: int
) -> None:
    """Zero eigenvalues are where a careless bound says 0."""
    half = np.round(rng.normal(size=(size, rank)) * 8)
    least = least_eigenvalue(half @ half.T)
    assert -1e-10 * (1 + np.abs(half).sum() ** 2) <= least <= 0
    assert is_positive(half @ half.T, least)


@given(generators(), st.integers(0, 8), st.booleans())
@many
def test_no_point_of_the_cube_is_below(rng: np.random.Generator, size: int, convex: bool) -> None:
    form = symmetric(rng, size + 1, 1.0)
    if convex:
        form = form @ form
    least = least_on_cube(form)
    points = np.concatenate(
        [rng.uniform(-1, 1, (500, size)), np.sign(rng.normal(size=(500, size)))]
    )
    lifted = np.concatenate([np.ones((1000, 1)), points], 1)
    values = np.einsum("pi,ij,pj->p", lifted, form, lifted)
    assert (values >= least - 1e-9 * np.abs(form).sum()).all()


@given(generators(), st.integers(1, 8))
@many
def test_a_square_s_least_value_is_found(rng: np.random.Generator, size: int) -> None:
    """`(a s + b)^2 + c` has the least value c where a point of the cube makes it so."""
    slopes, inside, constant = rng.normal(size=size), rng.uniform(-1, 1, size), rng.normal()
    row = np.concatenate([[-slopes @ inside], slopes])
    form = np.outer(row, row)
    form[0, 0] += constant
    assert least_on_cube(form) == pytest.approx(constant, abs=1e-5)
    assert least_on_cube(form) <= constant


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_proves_nothing(number: float) -> None:
    form = np.eye(3)
    form[0, 1] = form[1, 0] = number
    assert least_on_cube(form) == -np.inf
    assert least_eigenvalue(form) == -np.inf


def test_without_lifted_columns_the_form_is_a_number() -> None:
    assert least_on_cube(np.array([[2.5]])) == 2.5

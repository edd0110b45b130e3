"""Windows are a way of storing rows: everything done with them is what dense rows give."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.affine import affine_kernel
from specdsl.bounds.rows.windows import WindowRows, Windows, one_hot
from specdsl.graph import ops

LIKE = torch.empty(0, dtype=torch.float64)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ops.Conv, tuple[int, ...]]:
    """A convolution over one to three axes and the shape of its operand."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2]))
    inside, outside = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    sizes = st.integers(1, 3)
    kernel = tuple(draw(sizes) for _ in range(axes))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    op = ops.Conv(
        rng.normal(size=(outside, inside // groups, *kernel)),
        rng.normal(size=outside),
        tuple(draw(st.integers(1, 2)) for _ in range(axes)),
        tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes)),
        tuple(draw(st.integers(1, 2)) for _ in range(axes)),
        groups,
    )
    extents = tuple(draw(st.integers(5, 7)) for _ in range(axes))
    return op, (1, inside, *extents)


def some_rows(shape: tuple[int, ...], seed: int) -> WindowRows:
    rng = np.random.default_rng(seed)
    positions = torch.as_tensor(rng.integers(0, int(np.prod(shape)), size=4))
    rows = one_hot(positions, shape, LIKE)
    factors = torch.as_tensor(rng.normal(size=(2, 4, shape[1], *(1 for _ in shape[2:]))))
    return rows.having(rows.coefficients * factors)


@given(convolutions(), st.integers(0, 2**16))
@settings(deadline=None)
def test_through_a_convolution(case: tuple[ops.Conv, tuple[int, ...]], seed: int) -> None:
    op, operand = case
    kernel = affine_kernel(op, (operand,), LIKE)
    rows = some_rows(op.shape(operand), seed)
    found = rows.through(op, torch.as_tensor(op.weight), operand)
    expected = kernel.transpose(0, rows.dense().coefficients.flatten(0, 1)).unflatten(0, (2, 4))
    assert torch.allclose(found.dense().coefficients, expected)
    value = torch.as_tensor(np.random.default_rng(seed).normal(size=(2, *operand)))
    whole = (expected * value[:, None]).flatten(2).sum(2)
    assert torch.allclose(found.at(value), whole)
    times = found.having(found.coefficients * found.read(value))
    assert torch.allclose(times.dense().coefficients, expected * value[:, None])


@given(convolutions(), st.integers(0, 2**16))
@settings(deadline=None)
def test_sums_of_windows(
    case: tuple[ops.Conv, tuple[int, ...]],
    seed: int,
) -> None:
    _, operand = case
    rows = some_rows(operand, seed)
    found = rows.plus(rows)
    assert found is not None
    assert torch.allclose(found.dense().coefficients, 2 * rows.dense().coefficients)
    # Through a padded convolution that keeps extents, and past it, as a residual block does.
    axes = len(operand) - 2
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(operand[1], operand[1], *(3,) * axes))
    same = ops.Conv(weight, np.zeros(operand[1]), (1,) * axes, ((1, 1),) * axes, (1,) * axes)
    through = rows.through(same, torch.as_tensor(weight), operand)
    for total in (through.plus(rows), rows.plus(through)):
        assert total is not None
        expected = through.dense().coefficients + rows.dense().coefficients
        assert torch.allclose(total.dense().coefficients, expected)


def test_windows_that_lie_differently_are_no_window() -> None:
    rows = one_hot(torch.tensor([0, 7]), (1, 1, 4, 4), LIKE)
    origins = rows.windows.row_origins + torch.tensor([[0, 0], [1, 0]])
    windows = Windows(origins, torch.arange(2), (1, 1), (1, 1, 4, 4))
    moved = WindowRows(rows.coefficients, windows)
    assert rows.plus(moved) is None

"""The transpose of a convolution is the transpose, by whichever way is fastest for its shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.rows.convolve import convolve, spread
from specdsl.graph import ops


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ops.Conv, tuple[int, ...]]:
    """A convolution over one to three axes, and the extents of what it gives."""
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2]))
    small = st.integers(1, 3)
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    # Few channels and many: ways differ in what they are fast for.
    inside, outside = draw(st.sampled_from([(1, 2), (3, 16), (10, 2), (16, 3)]))
    op = ops.Conv(
        rng.normal(size=(outside * groups, inside, *kernel)),
        np.zeros(outside * groups),
        tuple(draw(small) for _ in range(axes)),
        ((0, 0),) * axes,
        tuple(draw(st.sampled_from([1, 1, 1, 2])) for _ in range(axes)),
        groups,
    )
    return op, tuple(draw(small) for _ in range(axes))


def reference(op: ops.Conv, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The convolution as torch has it."""
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(op.strides)]
    return function(x, weight, stride=op.strides, dilation=op.dilations, groups=op.groups)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(convolutions(), st.integers(0, 2**16), st.integers(0, 2))
@settings(deadline=None)
def test_convolve_and_its_gradient_are_those_of_torch(
    dtype: torch.dtype, case: tuple[ops.Conv, tuple[int, ...]], seed: int, unread: int
) -> None:
    """Entries past the last place of the kernel, which nothing reads, included."""
    op, extents = case
    weight = torch.as_tensor(op.weight, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    axes = zip(extents, op.strides, op.dilations, weight.shape[2:], strict=True)
    read = [(e - 1) * s + d * (k - 1) + 1 + min(unread, s - 1) for e, s, d, k in axes]
    x = torch.as_tensor(rng.normal(size=(3, weight.shape[1] * op.groups, *read)))
    x.requires_grad_()
    expected = reference(op, x, weight)
    towards = torch.as_tensor(rng.normal(size=expected.shape))
    (gradient,) = torch.autograd.grad((expected * towards).sum(), x)
    own = x.detach().to(dtype).requires_grad_()
    found = convolve(op, own, weight.to(dtype))
    (own_gradient,) = torch.autograd.grad((found * towards.to(dtype)).sum(), own)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(own_gradient.double(), gradient, rtol=tolerance, atol=tolerance)


@given(convolutions(), st.integers(0, 2**16))
@settings(deadline=None)
def test_the_gradient_of_spread_is_the_convolution(
    case: tuple[ops.Conv, tuple[int, ...]], seed: int
) -> None:
    op, extents = case
    weight = torch.as_tensor(op.weight, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    y = torch.as_tensor(rng.normal(size=(3, weight.shape[0], *extents))).requires_grad_()
    found = spread(op, y, weight)
    towards = torch.as_tensor(rng.normal(size=found.shape))
    (gradient,) = torch.autograd.grad((found * towards).sum(), y)
    torch.testing.assert_close(gradient, reference(op, towards, weight), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(convolutions(), st.integers(0, 2**16))
@settings(deadline=None)
def test_spread_is_the_transpose_of_convolve(
    dtype: torch.dtype, case: tuple[ops.Conv, tuple[int, ...]], seed: int
) -> None:
    """`<convolve(x), y> = <x, spread(y)>`, entry by entry as the gradient in x."""
    op, extents = case
    weight = torch.as_tensor(op.weight, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    y = torch.as_tensor(rng.normal(size=(3, weight.shape[0], *extents)))
    axes = zip(extents, op.strides, op.dilations, weight.shape[2:], strict=True)
    reached = tuple((e - 1) * s + d * (k - 1) + 1 for e, s, d, k in axes)
    x = torch.zeros(3, weight.shape[1] * op.groups, *reached, dtype=y.dtype, requires_grad=True)
    (expected,) = torch.autograd.grad((reference(op, x, weight) * y).sum(), x)
    found = spread(op, y.to(dtype), weight.to(dtype))
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spread_is_differentiable(kernel: int, dtype: torch.dtype) -> None:
    """In the coefficients and in the weights: its derivative along a direction is itself there."""
    rng = np.random.default_rng(kernel)
    shape = (4, 3, kernel, kernel)
    op = ops.Conv(rng.normal(size=shape), np.zeros(4), (2, 2), ((0, 0),) * 2, (1, 1))
    weight = torch.as_tensor(op.weight, dtype=dtype).requires_grad_()
    y = torch.as_tensor(rng.normal(size=(2, 4, 3, 3)), dtype=dtype).requires_grad_()
    found = spread(op, y, weight)
    direction = torch.as_tensor(rng.normal(size=found.shape), dtype=dtype)
    slopes = torch.autograd.grad((found * direction).sum(), (y, weight))
    # The sum is linear in either.
    for slope, argument in zip(slopes, (y, weight), strict=True):
        along = (slope * argument).sum()
        torch.testing.assert_close(along, (found * direction).sum(), rtol=1e-4, atol=1e-3)

"""Linear maps with an offset, and those that only move entries."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from specdsl.graph.ops.base import Array, Op, Shape, ShapeMismatch, broadcasts


class Affine(Op):
    """An exact linear map of each operand, summed, plus a constant offset."""


class Rearrange(Affine):
    """An affine op that only moves entries: weights are 0 or 1, the offset is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense(Affine):
    """`y = x @ weight.T + bias` on the last axis. weight: (out, in), bias: (out,)."""

    weight: Array
    bias: Array

    def shape(self, *operands: Shape) -> Shape:
        """(..., in) to (..., out)."""
        (x,) = operands
        rows, columns = self.weight.shape
        if not x or x[-1] != columns:
            raise ShapeMismatch(f"a dense layer takes {columns} entries on the last axis, not {x}")
        return (*x[:-1], rows)


@dataclass(frozen=True, slots=True, eq=False)
class Conv(Affine):
    """Cross-correlation, as ONNX `Conv`.

    weight: (out, in / groups, *kernel), bias: (out,); `pads` gives (begin, end) for each spatial
    axis, filled with zeros; operand (n, in, *spatial).
    """

    weight: Array
    bias: Array
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    groups: int = 1

    def shape(self, *operands: Shape) -> Shape:
        """(n, in, *spatial) to (n, out, *spatial')."""
        (x,) = operands
        kernel = self.weight.shape[2:]
        if len(x) != len(kernel) + 2 or x[1] != self.weight.shape[1] * self.groups:
            channels = self.weight.shape[1] * self.groups
            wanted = f"{channels} channels and {len(kernel)} spatial axes"
            raise ShapeMismatch(f"a convolution takes {wanted}, not {x}")
        spatial = tuple(
            (n + sum(pad) - dilation * (k - 1) - 1) // stride + 1
            for n, k, stride, pad, dilation in zip(
                x[2:], kernel, self.strides, self.pads, self.dilations, strict=True
            )
        )
        if min(spatial, default=1) < 1:
            raise ShapeMismatch(f"kernel {kernel} does not fit into {x[2:]}")
        return (x[0], self.weight.shape[0], *spatial)


@dataclass(frozen=True, slots=True, eq=False)
class ConvTranspose(Affine):
    """The transpose of a convolution, as ONNX `ConvTranspose`.

    weight: (in, out / groups, *kernel), bias: (out,); `pads` are cut from (begin, end) of each
    spatial axis of the full result, `output_pads` added at its end; operand (n, in, *spatial).
    """

    weight: Array
    bias: Array
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    output_pads: tuple[int, ...]
    groups: int = 1

    def shape(self, *operands: Shape) -> Shape:
        """(n, in, *spatial) to (n, out, *spatial')."""
        (x,) = operands
        kernel = self.weight.shape[2:]
        if len(x) != len(kernel) + 2 or x[1] != self.weight.shape[0]:
            wanted = f"{self.weight.shape[0]} channels and {len(kernel)} spatial axes"
            raise ShapeMismatch(f"a transposed convolution takes {wanted}, not {x}")
        spatial = tuple(
            stride * (n - 1) + extra + dilation * (k - 1) + 1 - sum(pad)
            for n, k, stride, pad, dilation, extra in zip(
                x[2:],
                kernel,
                self.strides,
                self.pads,
                self.dilations,
                self.output_pads,
                strict=True,
            )
        )
        if min(spatial, default=1) < 1:
            raise ShapeMismatch(f"pads {self.pads} leave nothing of {x[2:]}")
        return (x[0], self.weight.shape[1] * self.groups, *spatial)


@dataclass(frozen=True, slots=True, eq=False)
class Scale(Affine):
    """Elementwise `y = scale * x + shift`; both broadcast to the operand's shape, not beyond."""

    scale: Array
    shift: Array

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        (x,) = operands
        for parameter in (self.scale, self.shift):
            if not broadcasts(parameter.shape, x):
                raise ShapeMismatch(f"a constant of shape {parameter.shape} does not fit {x}")
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Sum(Affine):
    """`y = sum_i coefficients[i] * x_i`; all operands have one shape."""

    arity: ClassVar[int | None] = None
    coefficients: tuple[float, ...]

    def shape(self, *operands: Shape) -> Shape:
        """The common shape."""
        if len(operands) != len(self.coefficients) or len(set(operands)) != 1:
            raise ShapeMismatch(f"a sum takes operands of one shape, not {operands}")
        return operands[0]


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Rearrange):
    """The same entries in row-major order under another shape."""

    target: Shape

    def shape(self, *operands: Shape) -> Shape:
        """The target shape."""
        (x,) = operands
        if prod(x) != prod(self.target):
            raise ShapeMismatch(f"{prod(x)} entries {x} cannot be reshaped to {self.target}")
        return self.target


@dataclass(frozen=True, slots=True, eq=False)
class Transpose(Rearrange):
    """Axes in another order: result axis i is operand axis `axes[i]`."""

    axes: tuple[int, ...]

    def shape(self, *operands: Shape) -> Shape:
        """The permuted shape."""
        (x,) = operands
        if sorted(self.axes) != list(range(len(x))):
            raise ShapeMismatch(f"axes {self.axes} do not permute {x}")
        return tuple(x[a] for a in self.axes)


@dataclass(frozen=True, slots=True, eq=False)
class Select(Rearrange):
    """Entries picked by row-major position: slices, gathers, splits. indices: any integer shape."""

    indices: npt.NDArray[np.int64]

    def shape(self, *operands: Shape) -> Shape:
        """The shape of `indices`."""
        (x,) = operands
        if self.indices.size and not (0 <= self.indices.min() <= self.indices.max() < prod(x)):
            raise ShapeMismatch(f"positions up to {self.indices.max()} in {x}")
        return self.indices.shape


@dataclass(frozen=True, slots=True, eq=False)
class Concat(Rearrange):
    """Operands one after another along `axis` (not negative)."""

    arity: ClassVar[int | None] = None
    axis: int

    def shape(self, *operands: Shape) -> Shape:
        """The operands' shape with the extents along `axis` added."""
        rest = {(*x[: self.axis], *x[self.axis + 1 :]) for x in operands}
        if len(rest) != 1 or any(len(x) <= self.axis for x in operands):
            raise ShapeMismatch(f"cannot concatenate {operands} along axis {self.axis}")
        x = operands[0]
        return (*x[: self.axis], sum(o[self.axis] for o in operands), *x[self.axis + 1 :])


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(Affine):
    """Inference-time normalisation of axis 1: `gamma (x - mean) / sqrt(variance + epsilon) + beta`.

    All parameters: (channels,). Its real meaning is the affine map `factor * x + offset` with both
    rounded once to float64, as `factor` and `offset` give them.
    """

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        (x,) = operands
        if len(x) < 2 or x[1] != self.gamma.shape[0]:
            raise ShapeMismatch(f"batch normalisation of {self.gamma.shape[0]} channels, not {x}")
        return x

    @property
    def factor(self) -> npt.NDArray[np.float64]:
        """(channels,)."""
        variance = np.asarray(self.variance, dtype=np.float64)
        return np.asarray(self.gamma, dtype=np.float64) / np.sqrt(variance + self.epsilon)

    @property
    def offset(self) -> npt.NDArray[np.float64]:
        """(channels,)."""
        beta = np.asarray(self.beta, dtype=np.float64)
        return beta - self.factor * np.asarray(self.mean, dtype=np.float64)

"""Ops as facts: what each node of a graph computes, stated once, as data.

A method (interval bounds, relaxation, MILP encoding, SMT encoding, evaluation) registers a rule on
the *kind* of op with `functools.singledispatch`, and on an op itself only where a special rule is
better. Parameters are numpy arrays: float arrays are exact (every float is a dyadic rational);
arrays of dtype object hold `Fraction`s and are exact too (normalisation constants from a spec).

Shapes are those of the original model, its batch axis (of extent 1) included: nothing guesses which
axis is the batch. Kernels that work on many points put their own axis in front.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[np.generic]


def as_float(parameter: Array) -> npt.NDArray[np.float64]:
    """A parameter as float64: exact for float arrays, nearest for arrays of `Fraction`."""
    return np.asarray(parameter, dtype=np.float64)


def _broadcasts(shape: Shape, target: Shape) -> bool:
    """Whether a value of `shape` broadcasts to `target`, and not beyond."""
    padded = (1,) * (len(target) - len(shape)) + shape
    return len(padded) == len(target) and all(
        n in {1, m} for n, m in zip(padded, target, strict=True)
    )


class ShapeMismatch(ValueError):
    """Operands whose shapes an op cannot take; the message names both."""


class Op(ABC):
    """What a node computes from its operands."""

    arity: ClassVar[int | None] = 1
    """Number of operands; None where it varies."""

    @abstractmethod
    def shape(self, *operands: Shape) -> Shape:
        """Shape of the result. Raises ShapeMismatch where the operands do not fit."""


# --- kinds --------------------------------------------------------------------------------------


class Affine(Op):
    """An exact linear map of each operand, summed, plus a constant offset."""


class Rearrange(Affine):
    """An affine op that only moves entries: weights are 0 or 1, the offset is 0."""


class PiecewiseLinear(Op):
    """Elementwise and continuous.

    `slopes[i]` holds left of `breakpoints[i]`, `slopes[-1]` right of the last; `anchor` is the
    value at `breakpoints[0]`. Breakpoints rise strictly.
    """

    @property
    @abstractmethod
    def breakpoints(self) -> tuple[float, ...]:
        """Where the slope changes, rising."""

    @property
    @abstractmethod
    def slopes(self) -> tuple[float, ...]:
        """One more than breakpoints, from left to right."""

    @property
    @abstractmethod
    def anchor(self) -> float:
        """The value at the first breakpoint."""

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        return operands[0]


class Polynomial(Op):
    """Elementwise products of operands of one shape: linear in each, not in all together."""

    def shape(self, *operands: Shape) -> Shape:
        """The common shape."""
        if len(set(operands)) != 1:
            raise ShapeMismatch(f"a product takes operands of one shape, not {operands}")
        return operands[0]


# --- sources ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Input(Op):
    """A value from outside."""

    arity: ClassVar[int | None] = 0
    extent: Shape

    def shape(self, *operands: Shape) -> Shape:
        """The declared shape."""
        return self.extent


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Op):
    """A fixed tensor that could not be folded into its reader."""

    arity: ClassVar[int | None] = 0
    value: Array

    def shape(self, *operands: Shape) -> Shape:
        """The tensor's shape."""
        return self.value.shape


# --- affine -------------------------------------------------------------------------------------


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
class Scale(Affine):
    """Elementwise `y = scale * x + shift`; both broadcast to the operand's shape, not beyond."""

    scale: Array
    shift: Array

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        (x,) = operands
        for parameter in (self.scale, self.shift):
            if not _broadcasts(parameter.shape, x):
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


# --- piecewise linear ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LeakyRelu(PiecewiseLinear):
    """x for x >= 0, else `slope * x`."""

    slope: float

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """(0,)."""
        return (0.0,)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(slope, 1)."""
        return (self.slope, 1.0)

    @property
    def anchor(self) -> float:
        """0."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Relu(LeakyRelu):
    """max(x, 0)."""

    slope: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Abs(PiecewiseLinear):
    """|x|."""

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """(0,)."""
        return (0.0,)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(-1, 1)."""
        return (-1.0, 1.0)

    @property
    def anchor(self) -> float:
        """0."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip(PiecewiseLinear):
    """min(max(x, minimum), maximum), with minimum < maximum."""

    minimum: float
    maximum: float

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Both ends."""
        return (self.minimum, self.maximum)

    @property
    def slopes(self) -> tuple[float, ...]:
        """(0, 1, 0)."""
        return (0.0, 1.0, 0.0)

    @property
    def anchor(self) -> float:
        """The value at `minimum`."""
        return self.minimum


# --- polynomial ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Multiply(Polynomial):
    """x * y, entry by entry."""

    arity: ClassVar[int | None] = 2


@dataclass(frozen=True, slots=True, eq=False)
class Square(Polynomial):
    """x * x, entry by entry; known to be convex and not negative."""

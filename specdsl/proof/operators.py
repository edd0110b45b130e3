"""Affine ops: each applies its matrix to values, and its transpose to rows.

Values and rows carry a batch in front: (batch, *shape). `size` applies the matrix of magnitudes,
which is what rounding is measured by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.refusal import Refused

Shape = tuple[int, ...]


class Attributes(Protocol):
    """What a node's record says."""

    def tensor(self, name: str) -> Array: ...
    def whole(self, name: str) -> tuple[int, ...]: ...
    def word(self, name: str) -> str: ...


class Linear(Protocol):
    """One matrix. `terms`: of the longest sum that applying it or its transpose adds up."""

    @property
    def terms(self) -> int: ...
    def apply(self, x: Array) -> Array: ...
    def transpose(self, rows: Array) -> Array: ...
    def magnitudes(self) -> Linear: ...


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """`sum_i matrices[i] x_i + offset`. `offset`: the op's shape, or None. `hidden`: magnitudes
    that a runtime adds up besides (of a normalisation, its mean), or None. `moves`: whether entries
    are only moved, which rounds nothing.
    """

    matrices: tuple[Linear, ...]
    offset: Array | None = None
    hidden: Array | None = None
    moves: bool = False

    @property
    def terms(self) -> int:
        """Of the longest sum, the offset's included."""
        return max((m.terms for m in self.matrices), default=0) + len(self.matrices) + 1

    def size(self, sizes: Sequence[Array]) -> Array:
        """Magnitudes that values are added up from."""
        total: Any = 0
        for matrix, x in zip(self.matrices, sizes, strict=True):
            total = total + matrix.magnitudes().apply(x)
        for extra in (self.offset, self.hidden):
            total = total if extra is None else total + np.abs(extra)
        return total


Build = Callable[[Arithmetic], Affine]
Make = Callable[[Attributes, Sequence[Shape], Shape], Build]


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """`x @ weight.T` on the last axis; weight (out, in)."""

    weight: Array

    @property
    def terms(self) -> int:
        return max(self.weight.shape)

    def apply(self, x: Array) -> Array:
        return x @ self.weight.T

    def transpose(self, rows: Array) -> Array:
        return rows @ self.weight

    def magnitudes(self) -> Dense:
        return Dense(np.abs(self.weight))


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Cross-correlation as ONNX `Conv`: weight (out, in / groups, *kernel), from `source` to
    `target`, (channels, *spatial) each. `paddings`: (begin, end) of each spatial axis.
    """

    weight: Array
    source: Shape
    target: Shape
    strides: tuple[int, ...]
    paddings: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    groups: int

    @property
    def terms(self) -> int:
        return max(self.weight.shape[0], self.weight.shape[1] * self.groups) * prod(
            self.weight.shape[2:]
        )

    def apply(self, x: Array) -> Array:
        padded = np.pad(x.reshape(-1, *self.source), [(0, 0), (0, 0), *self.paddings])
        out = self._zeros(x, len(padded), self.target)
        for offset, window in self._windows():
            for own, read, group in self._channels():
                matrix = self.weight[(own, slice(None), *offset)]
                part = padded[(slice(None), read, *window)]
                flat = part.reshape(len(part), part.shape[1], -1)
                out[:, own] += (matrix @ flat).reshape(len(out), group, *self.target[1:])
        return out.reshape(len(out), *self._shape(x, self.target))

    def transpose(self, rows: Array) -> Array:
        rows = rows.reshape(-1, *self.target)
        wide = [n + sum(p) for n, p in zip(self.source[1:], self.paddings, strict=True)]
        padded = self._zeros(rows, len(rows), (self.source[0], *wide))
        for offset, window in self._windows():
            for own, read, _ in self._channels():
                matrix = self.weight[(own, slice(None), *offset)]
                flat = rows[:, own].reshape(len(rows), matrix.shape[0], -1)
                at = (slice(None), read, *window)
                padded[at] += (matrix.T @ flat).reshape(padded[at].shape)
        inner = tuple(
            slice(p[0], p[0] + n) for p, n in zip(self.paddings, self.source[1:], strict=True)
        )
        return padded[(slice(None), slice(None), *inner)]

    def magnitudes(self) -> Convolution:
        return replace(self, weight=np.abs(self.weight))

    def _windows(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Each entry of the kernel, and where in the padded source the target reads it."""
        for offset in product(*(range(k) for k in self.weight.shape[2:])):
            yield (
                offset,
                tuple(
                    slice(o * d, o * d + s * (n - 1) + 1, s)
                    for o, d, s, n in zip(
                        offset, self.dilations, self.strides, self.target[1:], strict=True
                    )
                ),
            )

    def _channels(self) -> Iterator[tuple[slice, slice, int]]:
        """Channels of the target, those of the source that they read, and how many the first."""
        out, read = self.weight.shape[0] // self.groups, self.weight.shape[1]
        for g in range(self.groups):
            yield slice(g * out, (g + 1) * out), slice(g * read, (g + 1) * read), out

    def _zeros(self, like: Array, count: int, shape: Shape) -> Array:
        return np.zeros((count, *shape), dtype=like.dtype) + self.weight.flat[0] * 0

    def _shape(self, x: Array, shape: Shape) -> Shape:
        del x
        return shape


@dataclass(frozen=True, slots=True, eq=False)
class Transposed:
    """The transpose of another matrix."""

    of: Linear

    @property
    def terms(self) -> int:
        return self.of.terms

    def apply(self, x: Array) -> Array:
        return self.of.transpose(x)

    def transpose(self, rows: Array) -> Array:
        return self.of.apply(rows)

    def magnitudes(self) -> Transposed:
        return Transposed(self.of.magnitudes())


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """Every entry times its own factor, which broadcasts."""

    factor: Array
    terms: int = 1

    def apply(self, x: Array) -> Array:
        return x * self.factor

    def transpose(self, rows: Array) -> Array:
        return rows * self.factor

    def magnitudes(self) -> Factor:
        return Factor(np.abs(self.factor))


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """Entry i of the result is entry `indices[i]` of the operand, row-major; from `source` to
    `target`. `order`: indices in rising order with where each begins, for adding up.
    """

    indices: Array
    source: Shape
    target: Shape

    @property
    def terms(self) -> int:
        counts = np.bincount(self.indices) if self.indices.size else np.zeros(1, np.int64)
        return int(counts.max())

    def apply(self, x: Array) -> Array:
        return x.reshape(len(x), -1)[:, self.indices].reshape(len(x), *self.target)

    def transpose(self, rows: Array) -> Array:
        flat = rows.reshape(len(rows), -1)
        out = np.zeros((len(rows), prod(self.source)), dtype=rows.dtype)
        if self.terms <= 1:
            out[:, self.indices] = flat
        else:
            np.add.at(out, (slice(None), self.indices), flat)  # pyright: ignore[reportArgumentType]
        return out.reshape(len(rows), *self.source)

    def magnitudes(self) -> Pick:
        return self


def _dense(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    weight, bias, (x,) = own.tensor("weight"), own.tensor("bias"), shapes
    rows, columns = weight.shape
    _require(x[-1:] == (columns,) and shape == (*x[:-1], rows) and bias.shape == (rows,), shape)

    def build(how: Arithmetic) -> Affine:
        # One offset for every entry: the same rows apply at each place of the leading axes.
        offset = np.broadcast_to(how.array(bias), shape)
        return Affine((Dense(how.array(weight)),), offset)

    return build


def _conv(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (x,) = shapes
    _require(_kernel_fits(own, x, shape, own.tensor("weight")), shape)
    bias = own.tensor("bias")
    _require(bias.shape == (shape[1],), shape)

    def build(how: Arithmetic) -> Affine:
        matrix = _convolution(own, how, x[1:], shape[1:])
        return Affine((_Batched(matrix),), _by_channel(how.array(bias), shape))

    return build


def _conv_transpose(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (x,) = shapes
    _require(_kernel_fits(own, shape, x, own.tensor("weight")), shape)
    bias = own.tensor("bias")
    _require(bias.shape == (shape[1],), shape)

    def build(how: Arithmetic) -> Affine:
        matrix = Transposed(_convolution(own, how, shape[1:], x[1:]))
        return Affine((_Batched(matrix),), _by_channel(how.array(bias), shape))

    return build


@dataclass(frozen=True, slots=True, eq=False)
class _Batched:
    """A matrix on values whose shape begins with an axis of one."""

    of: Linear

    @property
    def terms(self) -> int:
        return self.of.terms

    def apply(self, x: Array) -> Array:
        return self.of.apply(x[:, 0])[:, None]

    def transpose(self, rows: Array) -> Array:
        return self.of.transpose(rows[:, 0])[:, None]

    def magnitudes(self) -> _Batched:
        return _Batched(self.of.magnitudes())


def _convolution(own: Attributes, how: Arithmetic, source: Shape, target: Shape) -> Convolution:
    begins, ends = own.whole("begins"), own.whole("ends")
    paddings = tuple(zip(begins, ends, strict=True))
    (groups,) = own.whole("groups")
    weight = how.array(own.tensor("weight"))
    strides, dilations = own.whole("strides"), own.whole("dilations")
    return Convolution(weight, source, target, strides, paddings, dilations, groups)


def _kernel_fits(own: Attributes, x: Shape, y: Shape, weight: Array) -> bool:
    """Whether a convolution takes x (1, channels, *spatial) to y."""
    (groups,) = own.whole("groups")
    kernel, axes = weight.shape[2:], len(x) - 2
    each = [own.whole(name) for name in ("strides", "begins", "ends", "dilations")]
    if axes < 1 or len(y) != len(x) or any(len(e) != axes for e in (*each, kernel)):
        return False
    strides, begins, ends, dilations = each
    positive = groups >= 1 and min(*strides, *dilations) >= 1 and min(*begins, *ends) >= 0
    channels = x[:2] == (1, weight.shape[1] * groups) and y[:2] == (1, weight.shape[0])
    return bool(
        positive
        and channels
        and weight.shape[0] % groups == 0
        and all(
            y[2 + i] >= 1
            and (y[2 + i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1
            <= x[2 + i] + begins[i] + ends[i]
            for i in range(axes)
        )
    )


def _scale(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (x,) = shapes
    factor, shift, hidden = (own.tensor(name) for name in ("factor", "shift", "hidden"))
    _require(x == shape, shape)
    for each in (factor, shift, hidden):
        np.broadcast_to(each, shape)

    def build(how: Arithmetic) -> Affine:
        return Affine(
            (Factor(how.array(factor)),),
            np.broadcast_to(how.array(shift), shape),
            np.broadcast_to(how.array(hidden), shape),
        )

    return build


def _sum(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    factors = own.tensor("factors")
    _require(factors.shape == (len(shapes),) and set(shapes) == {shape}, shape)

    def build(how: Arithmetic) -> Affine:
        return Affine(tuple(Factor(f) for f in how.array(factors)[:, None]))

    return build


def _pick(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (x,) = shapes
    indices = own.tensor("indices").reshape(-1)
    _require(indices.dtype == np.int64 and indices.size == prod(shape), shape)
    _require(bool(indices.size) and 0 <= indices.min() <= indices.max() < prod(x), shape)
    return lambda how: Affine((Pick(indices, x, shape),), moves=True)


def _reshape(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (x,) = shapes
    _require(prod(x) == prod(shape), shape)
    return lambda how: Affine((_Reshaped(x, shape),), moves=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Reshaped:
    source: Shape
    target: Shape
    terms: int = 1

    def apply(self, x: Array) -> Array:
        return x.reshape(len(x), *self.target)

    def transpose(self, rows: Array) -> Array:
        return rows.reshape(len(rows), *self.source)

    def magnitudes(self) -> _Reshaped:
        return self


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """Where an operand goes in a concatenation along `axis`, from `start` on."""

    axis: int
    start: int
    source: Shape
    target: Shape
    terms: int = 1

    def apply(self, x: Array) -> Array:
        out = np.zeros((len(x), *self.target), dtype=x.dtype)
        out[self._place] = x
        return out

    def transpose(self, rows: Array) -> Array:
        return rows[self._place]

    def magnitudes(self) -> _Slot:
        return self

    @property
    def _place(self) -> tuple[Any, ...]:
        here = slice(self.start, self.start + self.source[self.axis])
        return (*(slice(None),) * (self.axis + 1), here)


def _concat(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    (axis,) = own.whole("axis")
    _require(0 <= axis < len(shape), shape)
    _require(all(len(x) == len(shape) for x in shapes), shape)
    rest = {(*x[:axis], *x[axis + 1 :]) for x in shapes}
    _require(rest == {(*shape[:axis], *shape[axis + 1 :])}, shape)
    starts = np.cumsum([0, *(x[axis] for x in shapes)]).tolist()
    _require(starts[-1] == shape[axis], shape)
    slots = tuple(_Slot(axis, s, x, shape) for s, x in zip(starts, shapes, strict=False))
    return lambda how: Affine(slots, moves=True)


def _constant(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    value = own.tensor("value")
    _require(not shapes and value.shape == shape, shape)
    return lambda how: Affine((), how.array(value))


def _by_channel(bias: Array, shape: Shape) -> Array:
    return np.broadcast_to(bias.reshape(-1, *(1 for _ in shape[2:])), shape)


def _require(holds: bool, shape: Shape) -> None:
    if not holds:
        raise Refused(f"a node of shape {shape} does not fit its operands or its parameters")


AFFINE: dict[str, Make] = {
    "dense": _dense,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "scale": _scale,
    "sum": _sum,
    "pick": _pick,
    "reshape": _reshape,
    "concat": _concat,
    "constant": _constant,
}

"""Networks as plain lists of layers, with a meaning of their own: what graphs, the reader of ONNX
files and all methods are compared with. Nothing of the project is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""float64 or, for exact numbers, object arrays of `Fraction`."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """`weight @ x + bias` on (1, n). All parameters, of all layers, are float32 numbers."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """Cross-correlation on (1, channels, height, width). weight: (out, in, k, k)."""

    weight: Array
    bias: Array
    stride: int = 1
    pad: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """`x + offset`, entry by entry."""

    offset: Array


@dataclass(frozen=True, slots=True)
class Pointwise:
    """One of `PIECEWISE` or `CURVES`, entry by entry; `numbers` are its parameters."""

    kind: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class AveragePool:
    """Means of windows of size x size that do not overlap."""

    size: int


@dataclass(frozen=True, slots=True)
class MaxOf:
    """The largest of each `count` neighbours: (1, n) to (1, n / count)."""

    count: int


@dataclass(frozen=True, slots=True)
class Flatten:
    """To (1, n), row-major."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """`x + body(x)`."""

    body: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parallel:
    """What two chains of layers say, one behind the other along axis 1."""

    first: tuple[Layer, ...]
    second: tuple[Layer, ...]


Layer = Dense | Conv | Shift | Pointwise | AveragePool | MaxOf | Flatten | Residual | Parallel


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers one after another on an input of this shape, its batch axis of extent 1 included."""

    shape: Shape
    layers: tuple[Layer, ...]

    @property
    def exact(self) -> bool:
        """Whether its outputs at rational points are rational."""
        layers = _inside(self.layers)
        return not any(isinstance(x, Pointwise) and x.kind in CURVES for x in layers)

    @property
    def parameters(self) -> int:
        """How many numbers its weights and offsets are."""
        return sum(
            layer.offset.size if isinstance(layer, Shift) else layer.weight.size + layer.bias.size
            for layer in _inside(self.layers)
            if isinstance(layer, Dense | Conv | Shift)
        )


def _inside(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Them, and those in their chains."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from _inside(layer.body)
        elif isinstance(layer, Parallel):
            yield from _inside(layer.first + layer.second)


RELU = Pointwise("relu")

PIECEWISE: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "relu": lambda x: np.maximum(x, 0),
        "leaky_relu": lambda x, slope: np.maximum(x, 0) + slope * np.minimum(x, 0),
        "abs": np.abs,
        "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    }
)
"""Functions that are exact in rationals. Their parameters are dyadic."""

CURVES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "sigmoid": lambda x: np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x))),
        "tanh": np.tanh,
    }
)
"""Functions that have float64 values only."""


def evaluate(network: Network, point: Array) -> Array:
    """The outputs, flat, in float64 or, of a point of `Fraction`s, exactly."""
    return run(network.layers, point.reshape(network.shape)).reshape(-1)


def run(layers: tuple[Layer, ...], value: Array) -> Array:
    """One layer after another."""
    for layer in layers:
        value = apply(layer, value)
    return value


def as_exact(values: Array) -> Array:
    """The same array of `Fraction`."""
    result = np.empty(values.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(v) for v in values.reshape(-1).tolist()]
    return result


def like(parameter: Array, value: Array) -> Array:
    """A parameter as numbers of the kind that `value` holds."""
    return as_exact(parameter) if value.dtype == object else parameter.astype(np.float64)


@singledispatch
def apply(layer: Layer, value: Array) -> Array:
    """What a layer makes of a value."""
    raise TypeError(f"{type(layer).__name__} is no layer")


@apply.register
def _(layer: Dense, value: Array) -> Array:
    result = like(layer.weight, value) @ value.reshape(-1) + like(layer.bias, value)
    return result.reshape(1, -1)


@apply.register
def _(layer: Conv, value: Array) -> Array:
    weight, pad, stride = like(layer.weight, value), layer.pad, layer.stride
    padded = np.pad(value[0], ((0, 0), (pad, pad), (pad, pad)), constant_values=0)
    size = weight.shape[-1]
    rows, columns = ((extent - size) // stride + 1 for extent in padded.shape[1:])
    result = np.zeros((len(weight), rows, columns), dtype=value.dtype)
    result = result + like(layer.bias, value)[:, None, None]
    for y in range(size):
        for x in range(size):
            seen = padded[:, y : y + rows * stride : stride, x : x + columns * stride : stride]
            seen = seen[:, :rows, :columns]
            result = result + np.tensordot(weight[:, :, y, x], seen, axes=1)
    return result[None]


@apply.register
def _(layer: Shift, value: Array) -> Array:
    return value + like(layer.offset, value)


@apply.register
def _(layer: Pointwise, value: Array) -> Array:
    if layer.kind in CURVES:
        return CURVES[layer.kind](value)
    numbers = [Fraction(n) if value.dtype == object else n for n in layer.numbers]
    return PIECEWISE[layer.kind](value, *numbers)


@apply.register
def _(layer: AveragePool, value: Array) -> Array:
    size = layer.size
    _, channels, height, width = value.shape
    windows = value.reshape(1, channels, height // size, size, width // size, size)
    area = Fraction(size * size) if value.dtype == object else size * size
    return windows.sum(axis=(3, 5)) / area


@apply.register
def _(layer: MaxOf, value: Array) -> Array:
    return value.reshape(1, -1, layer.count).max(axis=2)


@apply.register
def _(layer: Flatten, value: Array) -> Array:
    return value.reshape(1, -1)


@apply.register
def _(layer: Residual, value: Array) -> Array:
    return value + run(layer.body, value)


@apply.register
def _(layer: Parallel, value: Array) -> Array:
    return np.concatenate([run(layer.first, value), run(layer.second, value)], axis=1)

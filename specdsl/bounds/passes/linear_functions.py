"""Linear functions below and above a node, and how they pass through one op.

Source: as in `bounds.passes.forward_linear`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.affine import AffineKernel, RearrangeKernel
from specdsl.bounds.kinds.maximum import GroupRelaxation
from specdsl.bounds.kinds.relaxation import LinearRelaxation, PlaneRelaxation, Relaxation
from specdsl.graph.ops import Shape

# Columns pass through a kernel so many coefficients at a time (8 MiB of float64): what it needs on
# the way is then small beside what is carried, and stays near the cache.
MAX_AT_A_TIME = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LinearFunction:
    """`coefficients . x[columns] + constant`, for every entry of a node.

    Shapes: coefficients (batch or 1, columns, *shape), constant (batch or 1, *shape).
    """

    coefficients: Tensor
    constant: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LinearBounds:
    """`lower(x) <= node(x) <= upper(x)` on the region; one and the same function where exact."""

    lower: LinearFunction
    upper: LinearFunction

    @property
    def is_exact(self) -> bool:
        """Whether the node is that linear function."""
        return self.lower is self.upper


# --- affine ops -----------------------------------------------------------------------------------


def through_affine(kernel: AffineKernel, operands: list[LinearBounds]) -> LinearBounds:
    """Linear bounds of an affine op: `W+ lower + W- upper` below.

    With W+ and W- the positive and negative parts of W, that is `W (lower + upper) / 2 -
    |W| (upper - lower) / 2`, for which no kernel has to be taken apart. Columns are taken some at a
    time, and the constant is one more.
    """
    constants = _affine_ends(kernel, [_Ends.of_constants(o) for o in operands])
    offset = 0.0 if kernel.offset is None else kernel.offset
    columns = [_Ends.of_coefficients(o) for o in operands]
    largest = max(c.lower.numel() for c in columns)
    count = columns[0].lower.shape[1]
    at_a_time = max(1, count * MAX_AT_A_TIME // max(1, largest))
    parts = [
        _affine_ends(kernel, [c.narrow(start, min(at_a_time, count - start)) for c in columns])
        for start in range(0, count, at_a_time)
    ]
    lower = LinearFunction(_joined([p.lower for p in parts]), constants.lower[:, 0] + offset)
    if constants.is_exact:
        return LinearBounds(lower, lower)
    upper = LinearFunction(_joined([p.upper for p in parts]), constants.upper[:, 0] + offset)
    return LinearBounds(lower, upper)


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """Some columns of both functions, one tensor where exact: (batch or 1, columns, *shape)."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def of_coefficients(cls, ends: LinearBounds) -> _Ends:
        return cls(ends.lower.coefficients, ends.upper.coefficients)

    @classmethod
    def of_constants(cls, ends: LinearBounds) -> _Ends:
        lower = ends.lower.constant[:, None]
        return cls(lower, lower if ends.is_exact else ends.upper.constant[:, None])

    @property
    def is_exact(self) -> bool:
        return self.lower is self.upper

    def narrow(self, start: int, count: int) -> _Ends:
        lower = self.lower.narrow(1, start, count)
        return _Ends(lower, lower if self.is_exact else self.upper.narrow(1, start, count))


def _affine_ends(kernel: AffineKernel, operands: list[_Ends]) -> _Ends:
    lower = upper = None
    is_exact = all(ends.is_exact for ends in operands)
    for i, ends in enumerate(operands):
        below, above = _through_operand(kernel, i, ends)
        lower = below if lower is None else lower + below
        upper = lower if is_exact else above if upper is None else upper + above
    assert lower is not None
    assert upper is not None
    return _Ends(lower, upper)


def _through_operand(kernel: AffineKernel, index: int, ends: _Ends) -> tuple[Tensor, Tensor]:
    lower, upper = ends.lower, ends.upper
    if ends.is_exact:
        same = _applied(kernel.apply, index, lower)
        return same, same
    if isinstance(kernel, RearrangeKernel):
        # Entries only move: ends are exact, where halves would round.
        return _applied(kernel.apply, index, lower), _applied(kernel.apply, index, upper)
    middle = _applied(kernel.apply, index, (lower + upper) / 2)
    spread = _applied(kernel.apply_magnitude, index, (upper - lower) / 2)
    return middle - spread, middle + spread


def _applied(apply: Callable[[int, Tensor], Tensor], index: int, x: Tensor) -> Tensor:
    return apply(index, x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


# --- nonlinear ops --------------------------------------------------------------------------------


@singledispatch
def through_lines(lines: Relaxation, operands: list[LinearBounds]) -> LinearBounds:
    """Linear bounds of a nonlinear op from its relaxation: the line below at the lower function
    where its slope is positive, at the upper one where it is negative.

    Raises Unsupported for a relaxation of a form that has no rule here.
    """
    raise Unsupported("forward linear bounds", f"a {type(lines).__name__}")


@through_lines.register
def _(lines: LinearRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    (z,) = operands
    below, above = _scaled(lines.lower_slope, z), _scaled(lines.upper_slope, z)
    lower = below.lower
    if lines.lower_intercept is not None:
        lower = _raised(lower, lines.lower_intercept)
    return LinearBounds(lower, _raised(above.upper, lines.upper_intercept))


@through_lines.register
def _(lines: PlaneRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    x, y = operands
    below = _plus(_scaled(lines.lower_x, x).lower, _scaled(lines.lower_y, y).lower)
    above = _plus(_scaled(lines.upper_x, x).upper, _scaled(lines.upper_y, y).upper)
    return LinearBounds(
        _raised(below, lines.lower_intercept), _raised(above, lines.upper_intercept)
    )


@through_lines.register
def _(lines: GroupRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    (x,) = operands
    # Slopes above are not negative.
    first = _sloped(lines.first_slope, _picked(x.upper, lines.first))
    second = _sloped(lines.second_slope, _picked(x.upper, lines.second))
    above = _raised(_plus(first, second), lines.intercept)
    result = lines.groups.shape[:-1]
    return LinearBounds(_shaped(_picked(x.lower, lines.below), result), _shaped(above, result))


def _scaled(slope: Tensor, z: LinearBounds) -> LinearBounds:
    """Bounds of `slope * z`, entry by entry."""
    if z.is_exact:
        function = _sloped(slope, z.lower)
        return LinearBounds(function, function)
    positive = slope.clamp(min=0)
    lower, upper = _sloped(positive, z.lower), _sloped(positive, z.upper)
    if bool((slope < 0).any()):
        negative = slope - positive
        lower = _plus(lower, _sloped(negative, z.upper))
        upper = _plus(upper, _sloped(negative, z.lower))
    return LinearBounds(lower, upper)


def _sloped(slope: Tensor, f: LinearFunction) -> LinearFunction:
    return LinearFunction(slope[:, None] * f.coefficients, slope * f.constant)


def _raised(f: LinearFunction, intercept: Tensor) -> LinearFunction:
    return replace(f, constant=f.constant + intercept)


def _picked(f: LinearFunction, positions: Tensor) -> LinearFunction:
    """The entries at `positions` (batch or 1, groups) of the flat node, those of each region."""
    flat, constant = f.coefficients.flatten(2), f.constant.flatten(1)
    count = max(flat.shape[0], constant.shape[0], positions.shape[0])
    places = positions.expand(count, -1)
    columns = places[:, None].expand(-1, flat.shape[1], -1)
    return LinearFunction(
        flat.expand(count, -1, -1).gather(2, columns),
        constant.expand(count, -1).gather(1, places),
    )


def _shaped(f: LinearFunction, shape: Shape) -> LinearFunction:
    return LinearFunction(f.coefficients.unflatten(2, shape), f.constant.unflatten(1, shape))


def _plus(one: LinearFunction, other: LinearFunction) -> LinearFunction:
    return LinearFunction(one.coefficients + other.coefficients, one.constant + other.constant)

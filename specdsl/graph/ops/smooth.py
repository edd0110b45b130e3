"""Elementwise functions with curves: their values, slopes, and where their curvature changes.

A method needs no formula of its own for any of them: `knots` and `curvatures` say where the
function is convex and where concave, which is all that linear bounds take, and `turns` where it has
extremes, which is all that ranges take. Numbers given to 16 digits are roots of the first or second
derivative, rounded to float64.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from specdsl.graph.ops.base import Op, Shape

FloatArray = npt.NDArray[np.floating]


def expit(x: FloatArray) -> FloatArray:
    """1 / (1 + e^-x), without overflow and to full relative precision at both ends."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


class Smooth(Op):
    """Elementwise and continuous on `domain` outside `poles`.

    `knots`: where the curvature changes or the slope jumps, rising; `curvatures`: of the pieces
    between them from left to right, 1 convex, -1 concave, 0 straight. `turns`: where it changes
    from falling to rising or back. With a `period`, these lists cover one period and repeat, and
    `curvatures[i]` is that of the piece right of `knots[i]`. `steepest`: the largest magnitude of
    a slope. `domain` is open at an end where the value is infinite there.
    """

    domain: ClassVar[tuple[float, float]] = (-inf, inf)
    poles: ClassVar[tuple[float, ...]] = ()
    period: ClassVar[float | None] = None
    knots: ClassVar[tuple[float, ...]] = ()
    curvatures: ClassVar[tuple[int, ...]] = ()
    turns: ClassVar[tuple[float, ...]] = ()
    steepest: ClassVar[float] = inf

    def shape(self, *operands: Shape) -> Shape:
        """The operand's shape."""
        return operands[0]

    @abstractmethod
    def value(self, x: FloatArray) -> FloatArray:
        """f(x), in the element type of x."""

    @abstractmethod
    def slope(self, x: FloatArray) -> FloatArray:
        """f'(x); at a jump of the slope the one from the right."""


@dataclass(frozen=True, slots=True, eq=False)
class Exp(Smooth):
    """e to the x."""

    curvatures: ClassVar[tuple[int, ...]] = (1,)

    def value(self, x: FloatArray) -> FloatArray:
        """e^x."""
        return np.exp(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """e^x."""
        return np.exp(x)


@dataclass(frozen=True, slots=True, eq=False)
class Log(Smooth):
    """The natural logarithm of positive numbers."""

    domain: ClassVar[tuple[float, float]] = (0.0, inf)
    curvatures: ClassVar[tuple[int, ...]] = (-1,)

    def value(self, x: FloatArray) -> FloatArray:
        """log(x)."""
        return np.log(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """1 / x."""
        return 1 / x


@dataclass(frozen=True, slots=True, eq=False)
class Sqrt(Smooth):
    """The square root of numbers that are not negative."""

    domain: ClassVar[tuple[float, float]] = (0.0, inf)
    curvatures: ClassVar[tuple[int, ...]] = (-1,)

    def value(self, x: FloatArray) -> FloatArray:
        """sqrt(x)."""
        return np.sqrt(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """1 / (2 sqrt(x)), infinite at 0."""
        return 0.5 / np.sqrt(x)


@dataclass(frozen=True, slots=True, eq=False)
class Power(Smooth):
    """x to the exponent, of positive numbers; for exponents that are not whole."""

    exponent: float
    domain: ClassVar[tuple[float, float]] = (0.0, inf)

    @property
    def curvatures(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Concave for exponents from 0 to 1, else convex."""
        return (-1,) if 0 < self.exponent < 1 else (1,)

    def value(self, x: FloatArray) -> FloatArray:
        """x^p."""
        return x**self.exponent

    def slope(self, x: FloatArray) -> FloatArray:
        """p x^(p - 1)."""
        return self.exponent * x ** (self.exponent - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Reciprocal(Smooth):
    """1 / x on either side of 0."""

    poles: ClassVar[tuple[float, ...]] = (0.0,)
    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1)

    def value(self, x: FloatArray) -> FloatArray:
        """1 / x."""
        return 1 / x

    def slope(self, x: FloatArray) -> FloatArray:
        """-1 / x^2."""
        return -1 / (x * x)


# --- from convex to concave -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Sigmoid(Smooth):
    """1 / (1 + e^-x)."""

    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (1, -1)
    steepest: ClassVar[float] = 0.25

    def value(self, x: FloatArray) -> FloatArray:
        """Without overflow at either end."""
        return expit(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """s(x) s(-x)."""
        return expit(x) * expit(-x)


@dataclass(frozen=True, slots=True, eq=False)
class Tanh(Smooth):
    """The hyperbolic tangent."""

    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (1, -1)
    steepest: ClassVar[float] = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """tanh(x)."""
        return np.tanh(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """1 - tanh(x)^2, as a product that does not cancel."""
        return 4 * expit(2 * x) * expit(-2 * x)


@dataclass(frozen=True, slots=True, eq=False)
class Erf(Smooth):
    """The error function."""

    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (1, -1)
    steepest: ClassVar[float] = 2 / sqrt(pi)

    def value(self, x: FloatArray) -> FloatArray:
        """erf(x)."""
        from scipy.special import erf

        return erf(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """2 / sqrt(pi) e^(-x^2)."""
        return 2 / np.sqrt(np.pi).astype(x.dtype) * np.exp(-x * x)


@dataclass(frozen=True, slots=True, eq=False)
class Softsign(Smooth):
    """x / (1 + |x|)."""

    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (1, -1)
    steepest: ClassVar[float] = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """x / (1 + |x|)."""
        return x / (1 + np.abs(x))

    def slope(self, x: FloatArray) -> FloatArray:
        """1 / (1 + |x|)^2."""
        return 1 / (1 + np.abs(x)) ** 2


# --- softened ReLUs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Softplus(Smooth):
    """log(1 + e^x)."""

    curvatures: ClassVar[tuple[int, ...]] = (1,)
    steepest: ClassVar[float] = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """Without overflow."""
        return np.logaddexp(x, np.zeros((), x.dtype))

    def slope(self, x: FloatArray) -> FloatArray:
        """The sigmoid."""
        return expit(x)


@dataclass(frozen=True, slots=True, eq=False)
class Elu(Smooth):
    """x for x >= 0, else `alpha (e^x - 1)`, with alpha > 0."""

    alpha: float
    knots: ClassVar[tuple[float, ...]] = (0.0,)
    curvatures: ClassVar[tuple[int, ...]] = (1, 0)

    @property
    def steepest(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """1, or the slope just left of 0."""
        return max(1.0, self.alpha)

    def value(self, x: FloatArray) -> FloatArray:
        """Both pieces."""
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x: FloatArray) -> FloatArray:
        """1 from 0 on."""
        return np.where(x >= 0, 1, self.alpha * np.exp(np.minimum(x, 0))).astype(x.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Gelu(Smooth):
    """`x Phi(x)` with the standard normal distribution function. Hendrycks and Gimpel 2016,
    arXiv:1606.08415.
    """

    knots: ClassVar[tuple[float, ...]] = (-sqrt(2.0), sqrt(2.0))
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1, -1)
    turns: ClassVar[tuple[float, ...]] = (-0.7517915246935645,)
    steepest: ClassVar[float] = 1.13

    def value(self, x: FloatArray) -> FloatArray:
        """x Phi(x)."""
        from scipy.special import ndtr

        return x * ndtr(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """Phi(x) + x phi(x)."""
        from scipy.special import ndtr

        density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi).astype(x.dtype)
        return ndtr(x) + x * density


@dataclass(frozen=True, slots=True, eq=False)
class GeluTanh(Smooth):
    """The same by a hyperbolic tangent: `x (1 + tanh(c (x + 0.044715 x^3))) / 2` with
    `c = sqrt(2 / pi)`.
    """

    knots: ClassVar[tuple[float, ...]] = (-1.4185040087908283, 1.4185040087908283)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1, -1)
    turns: ClassVar[tuple[float, ...]] = (-0.7524614220710163,)
    steepest: ClassVar[float] = 1.13

    def value(self, x: FloatArray) -> FloatArray:
        """As a sigmoid, which is the same."""
        return x * expit(2 * self._inner(x))

    def slope(self, x: FloatArray) -> FloatArray:
        """By the product rule."""
        inner = 2 * self._inner(x)
        gate = expit(inner)
        steep = 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
        return gate + x * gate * expit(-inner) * steep

    def _inner(self, x: FloatArray) -> FloatArray:
        return sqrt(2 / pi) * (x + 0.044715 * x**3)


@dataclass(frozen=True, slots=True, eq=False)
class Silu(Smooth):
    """`x sigmoid(x)`, also called swish."""

    knots: ClassVar[tuple[float, ...]] = (-2.3993572805154675, 2.3993572805154675)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1, -1)
    turns: ClassVar[tuple[float, ...]] = (-1.2784645427610737,)
    steepest: ClassVar[float] = 1.1

    def value(self, x: FloatArray) -> FloatArray:
        """x s(x)."""
        return x * expit(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """s(x) + x s(x) s(-x)."""
        return expit(x) * (1 + x * expit(-x))


@dataclass(frozen=True, slots=True, eq=False)
class Mish(Smooth):
    """`x tanh(log(1 + e^x))`. Misra 2019, arXiv:1908.08681."""

    knots: ClassVar[tuple[float, ...]] = (-2.256376396360793, 1.4905711794854284)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1, -1)
    turns: ClassVar[tuple[float, ...]] = (-1.1924312145154952,)
    steepest: ClassVar[float] = 1.09

    def value(self, x: FloatArray) -> FloatArray:
        """x tanh(softplus(x))."""
        return x * np.tanh(Softplus().value(x))

    def slope(self, x: FloatArray) -> FloatArray:
        """By the product and chain rules."""
        soft = Softplus().value(x)
        return np.tanh(soft) + x * Tanh().slope(soft) * expit(x)


@dataclass(frozen=True, slots=True, eq=False)
class HardSwish(Smooth):
    """`x clip(x / 6 + 1 / 2, 0, 1)`: two straight ends and a parabola. Howard et al. 2019,
    arXiv:1905.02244.
    """

    knots: ClassVar[tuple[float, ...]] = (-3.0, 3.0)
    curvatures: ClassVar[tuple[int, ...]] = (0, 1, 0)
    turns: ClassVar[tuple[float, ...]] = (-1.5,)
    steepest: ClassVar[float] = 1.5

    def value(self, x: FloatArray) -> FloatArray:
        """All three pieces."""
        # `x + 3` does not cancel, as `x / 6 + 1 / 2` would.
        return x * np.clip((x + 3) / 6, 0, 1)

    def slope(self, x: FloatArray) -> FloatArray:
        """0, x / 3 + 1 / 2, 1."""
        inside = np.where(x >= 3, 1, x / 3 + 0.5)
        return np.where(x < -3, 0, inside).astype(x.dtype)


# --- periodic -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Sin(Smooth):
    """The sine of radians."""

    period: ClassVar[float | None] = 2 * pi
    knots: ClassVar[tuple[float, ...]] = (0.0, pi)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1)
    turns: ClassVar[tuple[float, ...]] = (pi / 2, 3 * pi / 2)
    steepest: ClassVar[float] = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """sin(x)."""
        return np.sin(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """cos(x)."""
        return np.cos(x)


@dataclass(frozen=True, slots=True, eq=False)
class Cos(Smooth):
    """The cosine of radians."""

    period: ClassVar[float | None] = 2 * pi
    knots: ClassVar[tuple[float, ...]] = (-pi / 2, pi / 2)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1)
    turns: ClassVar[tuple[float, ...]] = (0.0, pi)
    steepest: ClassVar[float] = 1.0

    def value(self, x: FloatArray) -> FloatArray:
        """cos(x)."""
        return np.cos(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """-sin(x)."""
        return -np.sin(x)


@dataclass(frozen=True, slots=True, eq=False)
class Tan(Smooth):
    """The tangent of radians, between two poles."""

    period: ClassVar[float | None] = pi
    poles: ClassVar[tuple[float, ...]] = (-pi / 2,)
    knots: ClassVar[tuple[float, ...]] = (-pi / 2, 0.0)
    curvatures: ClassVar[tuple[int, ...]] = (-1, 1)

    def value(self, x: FloatArray) -> FloatArray:
        """tan(x)."""
        return np.tan(x)

    def slope(self, x: FloatArray) -> FloatArray:
        """1 + tan(x)^2."""
        return 1 + np.tan(x) ** 2

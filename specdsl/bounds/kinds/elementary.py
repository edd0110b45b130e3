"""Elementary functions in torch: values and slopes of smooth ops, and how well float64 knows them.

Every formula is differentiable, and off by a few units in the last place of its result: by less
than `UNITS * eps * |f(x)|`, and for those called conditioned by as much again for every part that
the result changes by when the argument does, `|x f'(x)|`. The libraries below torch promise 1 unit
for the functions themselves; what is built of several adds up to less than 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from math import inf, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.graph import ops

# Of the element type's epsilon, which is one unit in the last place or more.
UNITS = 8.0

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Formula:
    """`value` and `slope` (from the right, where it jumps), entry by entry.

    `low`, `high`: between which all values lie. `noise`: slopes that are sums of terms of this size
    may cancel, or lose digits far from 0, and are then off by a few units of it. `conditioned`: the
    formula rounds its argument.
    """

    value: Function
    slope: Function
    low: float = -inf
    high: float = inf
    noise: float = 0.0
    conditioned: bool = False


@singledispatch
def formula(op: ops.Smooth) -> Formula:
    """How to compute a smooth op. Raises Unsupported where nothing is known about it."""
    raise Unsupported("bound propagation", f"the op {type(op).__name__}")


# --- of one curvature ----------------------------------------------------------------------------


@formula.register
def _(op: ops.Exp) -> Formula:
    return Formula(torch.exp, torch.exp, low=0.0)


@formula.register
def _(op: ops.Log) -> Formula:
    return Formula(torch.log, torch.reciprocal)


@formula.register
def _(op: ops.Sqrt) -> Formula:
    return Formula(torch.sqrt, lambda x: 0.5 / torch.sqrt(x), low=0.0)


@formula.register
def _(op: ops.Power) -> Formula:
    p = op.exponent
    # `x**(p - 1)` would be off by what rounding `p - 1` makes of a large logarithm.
    return Formula(lambda x: x**p, lambda x: p * (x**p / x), low=0.0)


@formula.register
def _(op: ops.Reciprocal) -> Formula:
    return Formula(torch.reciprocal, lambda x: -1 / (x * x))


@formula.register
def _(op: ops.Softplus) -> Formula:
    return Formula(_softplus, torch.sigmoid, low=0.0)


def _softplus(x: Tensor) -> Tensor:
    # `softplus` of torch is the identity above 20, which is off by far more than rounding.
    return torch.logaddexp(x, torch.zeros_like(x))


# --- from convex to concave ----------------------------------------------------------------------


@formula.register
def _(op: ops.Sigmoid) -> Formula:
    return Formula(_sigmoid, _sigmoid_slope, low=0.0, high=1.0)


def _sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def _sigmoid_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


@formula.register
def _(op: ops.Tanh) -> Formula:
    return Formula(torch.tanh, _tanh_slope, low=-1.0, high=1.0)


def _tanh_slope(x: Tensor) -> Tensor:
    return 4 * _sigmoid_slope(2 * x)


@formula.register
def _(op: ops.Erf) -> Formula:
    return Formula(torch.special.erf, _erf_slope, low=-1.0, high=1.0, noise=op.steepest)


def _erf_slope(x: Tensor) -> Tensor:
    return 2 / sqrt(pi) * torch.exp(-x * x)


@formula.register
def _(op: ops.Softsign) -> Formula:
    return Formula(
        lambda x: x / (1 + x.abs()), lambda x: (1 + x.abs()).square().reciprocal(), -1.0, 1.0
    )


@formula.register
def _(op: ops.Elu) -> Formula:
    alpha = op.alpha
    return Formula(
        # The argument of the branch not taken is held where its gradient is finite.
        lambda x: torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0))),
        lambda x: torch.where(x >= 0, 1.0, alpha * torch.exp(x.clamp(max=0))),
        low=-alpha,
    )


# --- from concave to convex and back -------------------------------------------------------------


@formula.register
def _(op: ops.Gelu) -> Formula:
    return Formula(lambda x: x * _normal(x), _gelu_slope, noise=op.steepest, conditioned=True)


def _normal(x: Tensor) -> Tensor:
    # `ndtr` of torch adds 1 / 2 to what is nearly -1 / 2 on the left, where nothing is left then.
    return torch.special.erfc(x * -sqrt(0.5)) / 2


def _gelu_slope(x: Tensor) -> Tensor:
    return _normal(x) + x * torch.exp(-x * x / 2) / sqrt(2 * pi)


# Hendrycks and Gimpel 2016, arXiv:1606.08415: the cubic inside the tangent.
CUBIC = 0.044715


@formula.register
def _(op: ops.GeluTanh) -> Formula:
    return Formula(
        lambda x: x * torch.sigmoid(_gelu_argument(x)),
        _gelu_tanh_slope,
        noise=op.steepest,
        conditioned=True,
    )


def _gelu_argument(x: Tensor) -> Tensor:
    """Twice the argument of the hyperbolic tangent."""
    return 2 * sqrt(2 / pi) * (x + CUBIC * x**3)


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    argument = _gelu_argument(x)
    steep = 2 * sqrt(2 / pi) * (1 + 3 * CUBIC * x * x)
    return torch.sigmoid(argument) + x * _sigmoid_slope(argument) * steep


@formula.register
def _(op: ops.Silu) -> Formula:
    return Formula(
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * (1 + x * torch.sigmoid(-x)),
        noise=op.steepest,
    )


@formula.register
def _(op: ops.Mish) -> Formula:
    return Formula(lambda x: x * torch.tanh(_softplus(x)), _mish_slope, noise=op.steepest)


def _mish_slope(x: Tensor) -> Tensor:
    soft = _softplus(x)
    return torch.tanh(soft) + x * _tanh_slope(soft) * torch.sigmoid(x)


@formula.register
def _(op: ops.HardSwish) -> Formula:
    # `relu6` of `x + 3`, which does not cancel as `x / 6 + 1 / 2` would.
    return Formula(lambda x: x * (F.relu6(x + 3) / 6), _hard_swish_slope, noise=op.steepest)


def _hard_swish_slope(x: Tensor) -> Tensor:
    inside = torch.where(x >= 3, 1.0, x / 3 + 0.5)
    return torch.where(x < -3, 0.0, inside)


# --- periodic ------------------------------------------------------------------------------------


@formula.register
def _(op: ops.Sin) -> Formula:
    return Formula(torch.sin, torch.cos, low=-1.0, high=1.0)


@formula.register
def _(op: ops.Cos) -> Formula:
    return Formula(torch.cos, lambda x: -torch.sin(x), low=-1.0, high=1.0)


@formula.register
def _(op: ops.Tan) -> Formula:
    return Formula(torch.tan, lambda x: 1 + torch.tan(x).square())

"""Linear classifiers of two classes, trained against the worst perturbation in closed form.

For a linear score the worst point of a ball is known: its margin is the score's less the radius
times the dual norm of the weights. The loss there is convex, and needs neither attack nor bound.

Source: Goodfellow et al. 2015, arXiv:1412.6572, section 5, for the infinity norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["linf", "l2", "l1"]


def dual_norm(weight: Tensor, norm: Norm) -> Tensor:
    """The most that `weight . d` reaches over the unit ball of `norm`."""
    match norm:
        case "linf":
            return weight.abs().sum()
        case "l2":
            return weight.norm()
        case "l1":
            return weight.abs().max()


def worst_margins(
    weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, radius: float, norm: Norm = "linf"
) -> Tensor:
    """`y (w . x + b) - radius |w|`: the least margin over the ball around each x, exactly.

    Shapes: weight (n,), bias (), x (batch, n), y (batch,) of -1 and 1, to (batch,).
    """
    return y * (x @ weight + bias) - radius * dual_norm(weight, norm)


def robust_logistic_loss(
    weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, radius: float, norm: Norm = "linf"
) -> Tensor:
    """The mean of `log(1 + exp(-margin))` at the worst points; convex in weight and bias."""
    return F.softplus(-worst_margins(weight, bias, x, y, radius, norm)).mean()


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """`w . x + b`; positive for class 1. Shapes: (n,) and ()."""

    weight: Tensor
    bias: Tensor
    loss: float


# Dual norms have corners, at which L-BFGS stops too early: they are rounded off over these widths,
# one after the other.
WIDTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def robust_logistic_regression(
    x: Tensor, y: Tensor, radius: float, norm: Norm = "linf", steps: int = 200
) -> LinearModel:
    """The minimiser of `robust_logistic_loss` by L-BFGS from 0; as x in dtype and device.

    The dual norm is smoothed, in rounds of at most `steps` steps that come ever closer to it.
    At radius 0 data that a plane separates have no minimiser: weights then grow with the steps.
    """
    weight = torch.zeros_like(x[0]).requires_grad_()
    bias = x.new_zeros(()).requires_grad_()
    for width in WIDTHS if radius else WIDTHS[:1]:

        def margins(at: Tensor, width: float = width) -> Tensor:
            return y * (x @ at + bias) - radius * _smooth(at, norm, width)

        _descend(weight, bias, margins, steps)
    with torch.no_grad():
        loss = robust_logistic_loss(weight, bias, x, y, radius, norm)
    return LinearModel(weight.detach(), bias.detach(), float(loss))


def _descend(weight: Tensor, bias: Tensor, margins: Callable[[Tensor], Tensor], steps: int) -> None:
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=steps,
        tolerance_grad=1e-9,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.softplus(-margins(weight)).mean()
        loss.backward()
        return loss

    optimiser.step(closure)


def _smooth(weight: Tensor, norm: Norm, width: float) -> Tensor:
    """A smooth function that differs from the dual norm by at most `width` times a constant."""
    match norm:
        case "linf":
            return (weight.square() + width**2).sqrt().sum()
        case "l2":
            return (weight.square().sum() + width**2).sqrt()
        case "l1":
            return width * torch.logsumexp(torch.cat([weight, -weight]) / width, 0)

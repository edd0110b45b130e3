"""Steps of Adam uphill, for values that bounds are differentiable in.

Source: Kingma and Ba 2015, arXiv:1412.6980.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

# The usual ones; the last keeps a value whose bound does not depend on it where it is.
MOMENTUM, SQUARES, LEAST_SIZE = 0.9, 0.999, 1e-30


class Adam:
    """`moments`: means and squares of the gradients so far, by what is moved, shaped like it."""

    def __init__(self) -> None:
        self.moments: dict[Hashable, tuple[Tensor, Tensor]] = {}

    def climb(
        self, key: Hashable, values: Tensor, gradient: Tensor, rate: float, step: int
    ) -> None:
        """Step number `step`, from 0, of the values that `key` stands for, in place."""
        # Where nothing bounds a row, there is no direction either.
        gradient = gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        if key not in self.moments:
            self.moments[key] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        mean, square = self.moments[key]
        mean.lerp_(gradient, 1 - MOMENTUM)
        square.mul_(SQUARES).addcmul_(gradient, gradient, value=1 - SQUARES)
        size = (square / (1 - SQUARES ** (step + 1))).sqrt_().add_(LEAST_SIZE)
        values.addcdiv_(mean, size, value=rate / (1 - MOMENTUM ** (step + 1)))

    def take(self, key: Hashable, index: Tensor) -> None:
        """Go on with the rows at `index`, of values (batch, rows, ...)."""
        if key in self.moments:
            mean, square = self.moments[key]
            self.moments[key] = mean[:, index], square[:, index]

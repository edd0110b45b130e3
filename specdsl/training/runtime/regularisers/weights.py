"""Sums over weights: l1 makes them sparse, l2 small. Biases and factors of channels are left out.

Sparse networks have tighter intervals and fewer terms to solve for: Xiao et al. 2019,
arXiv:1809.03008.
"""

from __future__ import annotations

from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.layers import weights_of


def l1(module: nn.Module) -> Tensor:
    """The sum of magnitudes of all weights. Raises Unsupported where there are none."""
    return _total([weight.abs().sum() for _, weight in weights_of(module)])


def l2(module: nn.Module) -> Tensor:
    """The sum of squares of all weights. Raises Unsupported where there are none."""
    return _total([weight.square().sum() for _, weight in weights_of(module)])


def _total(parts: list[Tensor]) -> Tensor:
    if not parts:
        raise Unsupported("a sum over weights", "a network without weights")
    return sum(parts[1:], start=parts[0])

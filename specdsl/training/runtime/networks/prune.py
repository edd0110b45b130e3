"""Small weights set to zero, and kept there by a mask while training goes on.

Source: Xiao et al. 2019, arXiv:1809.03008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.layers import require_plain, weights_of


@dataclass(frozen=True, slots=True, eq=False)
class WeightMask:
    """Which entries of which weights stay, by the parameter's name; of its shape, true where kept.

    It is its own state: a checkpoint holds `kept`.
    """

    kept: Mapping[str, Tensor]

    def apply(self, module: nn.Module) -> None:
        """Set what is not kept to 0, in place: after every step, which may have moved it.

        Raises KeyError for a module without one of the parameters.
        """
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, kept in self.kept.items():
                parameters[name].mul_(kept.to(parameters[name].device))

    def counts(self) -> dict[str, tuple[int, int]]:
        """By name: how many entries are 0 for good, and how many there are."""
        return {name: (int((~kept).sum()), kept.numel()) for name, kept in self.kept.items()}

    def lines(self) -> list[str]:
        """One line for the log and one for each weight."""
        counts = self.counts()
        pruned, total = (sum(c[i] for c in counts.values()) for i in (0, 1))
        head = f"prune weights: {pruned} of {total} set to 0"
        return [head, *(f"  {name}: {zero} of {size}" for name, (zero, size) in counts.items())]


class Pruning:
    """What a training has pruned so far: applied after every step, kept in a checkpoint."""

    def __init__(self) -> None:
        self.mask = WeightMask({})

    def weights(self, module: nn.Module, below: float) -> list[str]:
        """`prune_weights`; what was pruned before stays so. Lines for the log."""
        # What was pruned is 0, and so below any threshold but 0.
        before = self.mask
        self.mask = prune_weights(module, below)
        merged = {n: kept & before.kept.get(n, kept) for n, kept in self.mask.kept.items()}
        self.mask = WeightMask(merged)
        return self.mask.lines()

    def apply(self, module: nn.Module) -> None:
        """Set what was pruned to 0 again."""
        self.mask.apply(module)

    def state_dict(self) -> dict[str, Tensor]:
        """What a run that resumes has to know."""
        return dict(self.mask.kept)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        self.mask = WeightMask(dict(state))


def prune_weights(module: nn.Module, below: float) -> WeightMask:
    """Set every weight smaller than `below` in magnitude to 0; biases stay.

    Raises ValueError for a negative threshold, Unsupported for a network without weights, or with
    weights that are computed from other parameters.
    """
    if not below >= 0:
        raise ValueError(f"a threshold is 0 or more, not {below}")
    require_plain(module, "pruning")
    kept = {name: weight.detach().abs() >= below for name, weight in weights_of(module)}
    if not kept:
        raise Unsupported("pruning", "a network without weights")
    mask = WeightMask(kept)
    mask.apply(module)
    return mask

"""Which weights are kept: the best by a measure, among those that are accurate enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(slots=True, eq=False)
class Best:
    """The weights with the largest measure of all epochs whose clean accuracy was enough.

    `least_clean`: at least this clean accuracy; `patience`: epochs without a better one after which
    `exhausted` says to stop (None: never). The measure must come from samples that are neither
    trained on nor tested on.
    """

    least_clean: float | None = None
    patience: int | None = None
    epoch: int | None = None
    measure: float | None = None
    waited: int = 0
    weights: dict[str, Tensor] | None = None

    def offer(self, module: nn.Module, epoch: int, measure: float, clean: float | None) -> bool:
        """Keep a copy of these weights where they are the best so far; whether they are.

        Of equal measures the first is kept. Raises ValueError where a least clean accuracy is asked
        for and none is given.
        """
        if self.least_clean is not None and clean is None:
            raise ValueError("the clean accuracy of the epoch is needed to choose by it")
        enough = self.least_clean is None or (clean is not None and clean >= self.least_clean)
        # Comparisons with NaN are false: such an epoch is never the best.
        improved = enough and measure > (float("-inf") if self.measure is None else self.measure)
        if not improved:
            # Until an epoch qualifies there is nothing that more epochs could spoil.
            self.waited += self.epoch is not None
            return False
        self.epoch, self.measure, self.waited = epoch, measure, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}
        return True

    def clear(self) -> None:
        """Begin anew: the network has become another one, by pruning."""
        self.epoch = self.measure = self.weights = None
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether the best is as many epochs ago as `patience` allows."""
        return self.patience is not None and self.waited >= self.patience

    def restore(self, module: nn.Module) -> int | None:
        """Put the best weights back; their epoch, or None where no epoch qualified and nothing was
        changed.
        """
        if self.weights is None:
            return None
        module.load_state_dict(self.weights)
        return self.epoch

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes has to know."""
        return {
            "epoch": self.epoch,
            "measure": self.measure,
            "waited": self.waited,
            "weights": self.weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.epoch, self.measure = state["epoch"], state["measure"]
        self.waited, self.weights = state["waited"], state["weights"]

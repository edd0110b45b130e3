"""Two losses whose weights follow their sizes, from epoch to epoch.

MixTrain (Wang et al. 2018, arXiv:1811.02625) balances the certified loss of a few samples and the
clean loss by a loss function that it adapts for each epoch. The formula here is ours: weights that
would have given the first loss its share of the last epoch's weighted sum.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from specdsl.training.runtime.losses.combine import balanced_weights


class Balance:
    """The sizes of two losses in the last epoch, and the weights that come of them.

    Before the first epoch has ended the losses count as equal: the weights are the shares. `name`:
    what the weight of the first is called in the log.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight: float | None = None
        self._means = torch.ones(2, dtype=torch.float64)
        self._sums = torch.zeros(2, dtype=torch.float64)
        self._steps = 0

    def weigh(self, share: float, first: Tensor, second: Tensor) -> Tensor:
        """`w first + (1 - w) second`, with the `w` that would have given the first one `share` of
        the weighted sum in the last epoch. Raises ValueError for a share outside [0, 1].
        """
        weight, rest = balanced_weights(share, *self._means)
        self.weight = float(weight)
        self._sums += torch.stack([first.detach(), second.detach()]).to(self._sums)
        self._steps += 1
        return self.weight * first + float(rest) * second

    def update(self) -> None:
        """Take the sizes of the epoch that has ended; of none, or none that are numbers, those of
        before stay.
        """
        if self._steps and bool(self._sums.isfinite().all()):
            self._means = self._sums / self._steps
        self._sums, self._steps = torch.zeros_like(self._sums), 0

    def log(self) -> dict[str, float]:
        """The weight that the first loss had last."""
        return {} if self.weight is None else {self.name: self.weight}

    def state_dict(self) -> dict[str, Tensor]:
        """What a run that resumes has to know."""
        return {"means": self._means.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state, at the beginning of an epoch."""
        self._means = state["means"].clone()

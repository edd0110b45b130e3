"""Steps of an optimiser: made from settings, clipped, and stopped where numbers break."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from specdsl.diagnostics import SpecError

Kind = Literal["adam", "adamw", "sgd", "rmsprop"]

OPTIMIZERS: dict[Kind, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}

# cuBLAS computes the same sums in the same order only with a workspace of a fixed size.
CUBLAS_WORKSPACE = ":4096:8"


def seeded(seed: int, threads: int | None = None) -> torch.Generator:
    """Make two runs on one machine give the same weights; a generator of that seed on the CPU.

    This sets what belongs to the whole process: the seeds that layers draw their weights and
    dropout from, the number of threads (sums are split among them; None leaves it), and that
    operations are refused which have no deterministic form on a GPU. A script calls it once, first.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return torch.Generator().manual_seed(seed)


def optimizer(
    parameters: Iterable[nn.Parameter], kind: Kind, lr: float, **options: Any
) -> Optimizer:
    """An optimiser of PyTorch by its name; `options` are those of its class."""
    return OPTIMIZERS[kind](parameters, lr=lr, **options)  # type: ignore[call-arg]


class Optimisers:
    """An optimiser for each stage that begins with one of its own; it begins without a memory.

    `kinds`: by the first epoch of each stage, from 0, what makes its optimiser but the rate. It is
    a part of a checkpoint as one optimiser is.
    """

    def __init__(self, module: nn.Module, kinds: Mapping[int, tuple[Kind, dict[str, Any]]]) -> None:
        self.module = module
        self.kinds = dict(sorted(kinds.items()))
        self._first = min(self.kinds)
        self._current = self._made(self._first)

    def at(self, epoch: int) -> Optimizer:
        """That of an epoch; made anew in the first one of a stage that has its own."""
        first = max(start for start in self.kinds if start <= epoch)
        if first != self._first:
            self._first, self._current = first, self._made(first)
        return self._current

    def _made(self, first: int) -> Optimizer:
        kind, options = self.kinds[first]
        # Every step sets the rate before it is taken.
        return optimizer(self.module.parameters(), kind, lr=0.0, **options)

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes has to know."""
        return {"first": self._first, "current": self._current.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises ValueError where it is of other stages."""
        if state["first"] not in self.kinds:
            raise ValueError(f"no stage with its own optimiser begins in epoch {state['first']}")
        self._first = state["first"]
        self._current = self._made(self._first)
        self._current.load_state_dict(state["current"])


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """The learning rate of all parameters from the next step on."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def step(
    terms: Mapping[str, Tensor], optimiser: Optimizer, *, epoch: int, clip: float | None = None
) -> Tensor:
    """One step down the sum of the terms, which is returned; gradients above `clip` are shortened.

    `clip`: the largest norm of all gradients together. Nothing is changed where a term or the
    gradient is not finite: raises SpecError E1101, which names the epoch and the term. Without any
    term, because all weights are 0, no step is taken.
    """
    if not terms:
        return torch.zeros(())
    for name, value in terms.items():
        if not bool(value.detach().isfinite().all()):
            raise _broken(f"`{name}` is {float(value.detach().sum())} in epoch {epoch}")
    total = torch.stack([value.sum() for value in terms.values()]).sum()
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    norm = clip_gradients(optimiser, clip)
    if not bool(norm.isfinite()):
        names = ", ".join(f"`{name}`" for name in terms)
        raise _broken(f"the gradient of {names} is not finite in epoch {epoch}")
    optimiser.step()
    return total.detach()


def clip_gradients(optimiser: Optimizer, largest: float | None) -> Tensor:
    """The norm of all gradients together; above `largest` they are shortened to it."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if largest is not None:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


def _broken(message: str) -> SpecError:
    help_ = "lower the learning rate, set `clip`, or let the radius begin at 0 and grow more slowly"
    return SpecError.of("E1101", message, help=help_)


@dataclass(slots=True)
class Budget:
    """Wall-clock seconds that a training may take, over all runs that resume it; None is no limit.

    A script asks `passed` after each batch, and ends as if its epochs were done.
    """

    seconds: float | None
    spent: float = 0.0
    since: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds of this run and of those before it."""
        return self.spent + time.monotonic() - self.since

    @property
    def passed(self) -> bool:
        """Whether the time is used up."""
        return self.seconds is not None and self.elapsed >= self.seconds

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes has to know."""
        return {"spent": self.elapsed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Count the time of earlier runs too."""
        self.spent, self.since = float(state["spent"]), time.monotonic()

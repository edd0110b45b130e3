"""Samples as tensors, and batches of them in an order that can be taken up again.

train = samples(read_idx(images, labels), scale=1 / 255, shape=(1, 28, 28))
train, validation = split(train, 1000, generator)
for batch in Batches(train, 128, generator, augment=(shift(2),)):
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from specdsl.data import Dataset
from specdsl.diagnostics import SpecError

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Other inputs of the same labels: (batch, *shape) to the same."""

# Samples that are converted at a time: all of CIFAR-10 in float64 takes more than a gigabyte.
AT_ONCE = 1024

Order = Literal["shuffled", "balanced", "kept"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """`inputs` (n, *shape), and labels if there are any: classes (n,), or numbers (n, *target)."""

    inputs: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def targets(self) -> Tensor:
        """The labels. Raises ValueError where there are none."""
        return _known(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    def __getitem__(self, chosen: slice | Tensor) -> Samples:
        """Some of them: a slice, positions (which may repeat), or a mask."""
        labels = None if self.labels is None else self.labels[chosen]
        return Samples(self.inputs[chosen], labels)

    def to(self, device: torch.device | str) -> Samples:
        """The same samples on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Samples(self.inputs.to(device), labels)


def samples(
    data: Dataset,
    *,
    scale: float | Fraction | None = None,
    shift: float | Fraction | None = None,
    shape: tuple[int, ...] | None = None,
    target: tuple[int, ...] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Samples:
    """What was read from files, as tensors: `scale * input + shift`, in `shape` where given.

    `target`: the shape of one target that is no class; else it is that of the data. None takes the
    scale and shift that the dataset was declared with. Computed in float64 and then
    rounded. Raises SpecError E0521 (no span) where inputs have another number of entries.
    """
    if shape is not None and prod(shape) != prod(data.shape):
        message = f"inputs of shape {list(data.shape)} do not fit {list(shape)}"
        raise SpecError.of("E0521", message, help=f"they have {prod(data.shape)} entries each")
    factor, offset = (
        float(own if given is None else given)
        for given, own in ((scale, data.scale), (shift, data.shift))
    )
    inputs = torch.empty(len(data), *(shape or data.shape), dtype=dtype)
    for first in range(0, len(data), AT_ONCE):
        part = data.inputs[first : first + AT_ONCE].astype(np.float64) * factor + offset
        into = inputs[first : first + AT_ONCE]
        into.copy_(torch.from_numpy(part).reshape(into.shape))
    if data.labels is None:
        return Samples(inputs)
    labels = torch.from_numpy(np.ascontiguousarray(data.labels))
    if not labels.is_floating_point():
        return Samples(inputs, labels)
    targets = labels.to(dtype)
    return Samples(inputs, targets if target is None else targets.reshape(len(data), *target))


def _known(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise ValueError("the samples have no labels")
    return labels


def split(data: Samples, count: int, generator: torch.Generator) -> tuple[Samples, Samples]:
    """All but `count` drawn samples, and those: what is trained on, and what selects.

    Both keep the order of the data. Raises ValueError where not at least one sample is left.
    """
    if not 0 <= count < len(data):
        raise ValueError(f"{count} of {len(data)} samples cannot be set aside")
    drawn = torch.zeros(len(data), dtype=torch.bool)
    order = torch.randperm(len(data), generator=generator, device=generator.device)
    drawn[order[:count].cpu()] = True
    drawn = drawn.to(data.inputs.device)
    return data[~drawn], data[drawn]


# --- batches --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some samples. `index` (batch,): their positions in the data; `number` of batches before."""

    x: Tensor
    y: Tensor | None
    index: Tensor
    number: int

    @property
    def targets(self) -> Tensor:
        """The labels. Raises ValueError where there are none."""
        return _known(self.y)

    def __iter__(self) -> Iterator[Any]:
        """`for x, y in batches`. Labels that are missing are None."""
        yield from (self.x, self.y)


class Batches:
    """Goes through the samples once for each `for` loop over it: an epoch.

    Everything random comes from `generator`. `order`: "shuffled"; "balanced" shows every class
    equally often, repeating samples of rare classes and leaving out some of frequent ones; "kept"
    is that of the data. A loop that ends early, or a state that is loaded, is taken up where it
    stopped by the next loop, with the same batches that would have come.
    """

    def __init__(
        self,
        data: Samples,
        size: int,
        generator: torch.Generator,
        *,
        order: Order = "shuffled",
        augment: tuple[Augmentation, ...] = (),
    ) -> None:
        if size < 1 or not len(data):
            raise ValueError(f"no batches of {size} from {len(data)} samples")
        self.data = data
        self.size = size
        self.generator = generator
        self.order: Order = order
        self.augment = augment
        self.epoch = 0
        self._count = len(data) if order != "balanced" else _balanced_count(data)
        self._positions: Tensor | None = None
        self._next = 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        return ceil(self._count / self.size)

    @property
    def time(self) -> float:
        """Epochs that have passed, and the part of the one that has begun."""
        return self.epoch + self._next / len(self)

    def __iter__(self) -> Iterator[Batch]:
        if self._positions is None:
            self._positions = self._drawn()
        positions = self._positions
        parts = positions.split(self.size)
        while self._next < len(parts):
            number = self._next
            index = parts[number].to(self.data.inputs.device)
            chosen = self.data[index]
            x = chosen.inputs
            for change in self.augment:
                x = change(x, self.generator)
            # Before the batch is used: whoever saves a state afterwards has taken it into account.
            self._next += 1
            yield Batch(x, chosen.labels, index, number)
        self._positions, self._next = None, 0
        self.epoch += 1

    def _drawn(self) -> Tensor:
        if self.order == "kept":
            return torch.arange(len(self.data))
        if self.order == "shuffled":
            return _permuted(len(self.data), self.generator)
        classes = _classes(self.data)
        each = len(self.data) // len(classes)
        drawn = torch.cat([_repeated(members, each, self.generator) for members in classes])
        return drawn[_permuted(len(drawn), self.generator)]

    def state_dict(self) -> dict[str, Any]:
        """Where it is: epoch, the order of this one, position in it, and the generator's state."""
        return {
            "epoch": self.epoch,
            "positions": self._positions,
            "next": self._next,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go where a saved state was."""
        self.epoch, self._next = state["epoch"], state["next"]
        self._positions = state["positions"]
        self.generator.set_state(state["generator"].cpu())


def _permuted(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator, device=generator.device).cpu()


def _classes(data: Samples) -> list[Tensor]:
    """Positions of the samples of each class that occurs."""
    if data.labels is None or data.labels.is_floating_point():
        raise ValueError("only samples of classes can be balanced")
    labels = data.labels.cpu()
    return [(labels == label).nonzero()[:, 0] for label in labels.unique()]


def _balanced_count(data: Samples) -> int:
    classes = len(_classes(data))
    return classes * (len(data) // classes)


def _repeated(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of them in random order; all once before any comes again."""
    rounds = [_permuted(len(members), generator) for _ in range(-(-count // len(members)))]
    return members[torch.cat(rounds)[:count]] if rounds else members[:0]


# --- augmentation ---------------------------------------------------------------------------------


def shift(pixels: int, fill: float = 0.0) -> Augmentation:
    """Images moved by up to `pixels` in both directions, each on its own; `fill` comes in."""

    def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
        batch, height, width = len(x), *x.shape[-2:]
        moves = torch.randint(
            0, 2 * pixels + 1, (2, batch), generator=generator, device=generator.device
        ).to(x.device)
        padded = pad(x, (pixels,) * 4, value=fill).reshape(
            batch, -1, height + 2 * pixels, width + 2 * pixels
        )
        rows = moves[0][:, None] + torch.arange(height, device=x.device)
        columns = moves[1][:, None] + torch.arange(width, device=x.device)
        at = torch.arange(batch, device=x.device)[:, None, None]
        # Indices around a slice put their own axes first: (batch, height, width, channels).
        picked = padded[at, :, rows[:, :, None], columns[:, None, :]]
        return picked.movedim(-1, 1).reshape(x.shape)

    return shifted


def flip() -> Augmentation:
    """Every other image, about, mirrored left to right."""

    def flipped(x: Tensor, generator: torch.Generator) -> Tensor:
        coins = torch.rand(len(x), generator=generator, device=generator.device).to(x.device) < 0.5
        return x.flip(-1).where(coins.reshape(-1, *[1] * (x.ndim - 1)), x)

    return flipped

"""The open pieces of an input set: boxes with the bounds that left them open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """Boxes that may still hold a witness.

    lower, upper: (domains, inputs). `bound`: (domains,), the proven margin bound of the box or of
    the box it was cut from. `open_cases`: (domains, cases), which cases of the group are open.
    `codes`: (domains, neurons), which neurons are known to be stable (`bounds.passes.reduced`).
    `numbers`: (domains,), of the boxes in a record of how they were cut.
    """

    lower: Tensor
    upper: Tensor
    bound: Tensor
    open_cases: Tensor
    codes: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return self.lower.shape[0]

    def take(self, index: Tensor | slice) -> Domains:
        """The domains at `index` (positions, a mask or a slice)."""
        return Domains(
            self.lower[index],
            self.upper[index],
            self.bound[index],
            self.open_cases[index],
            self.codes[index],
            self.numbers[index],
        )

    def join(self, other: Domains) -> Domains:
        """Both, one after the other."""
        return Domains.joined([self, other])

    @classmethod
    def joined(cls, parts: Sequence[Domains]) -> Domains:
        """All, one after the other."""
        return cls(
            torch.cat([part.lower for part in parts]),
            torch.cat([part.upper for part in parts]),
            torch.cat([part.bound for part in parts]),
            torch.cat([part.open_cases for part in parts]),
            torch.cat([part.codes for part in parts]),
            torch.cat([part.numbers for part in parts]),
        )

    def within(self, lower: Tensor, upper: Tensor) -> Domains:
        """The same domains with other boxes."""
        return Domains(lower, upper, self.bound, self.open_cases, self.codes, self.numbers)

    def numbered(self, numbers: Tensor) -> Domains:
        """The same domains with other numbers."""
        return Domains(self.lower, self.upper, self.bound, self.open_cases, self.codes, numbers)

    @property
    def fields(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the class."""
        return self.lower, self.upper, self.bound, self.open_cases, self.codes, self.numbers

    def with_room(self, count: int) -> Domains:
        """These, and behind them what is to be overwritten, `count` in all."""
        room = [field.new_empty(count, *field.shape[1:]) for field in self.fields]
        for new, own in zip(room, self.fields, strict=True):
            new[: len(self)] = own
        return Domains(*room)


class Pool:
    """Domains that wait: some are taken, their parts put back.

    They lie in tensors with room for more, in no order: taking and putting costs what is moved, not
    what is there (with 60,000 boxes of 30 inputs, copying all took most of the time).
    """

    def __init__(self, domains: Domains) -> None:
        self._room = domains.with_room(len(domains))
        self._count = len(domains)
        size = sum(field[0].numel() * field.element_size() for field in domains.fields)
        self._many = MAX_WAITING // max(1, size)

    def __len__(self) -> int:
        return self._count

    @property
    def domains(self) -> Domains:
        """All that wait; valid until the next change."""
        return self._room.take(slice(self._count))

    def put(self, domains: Domains) -> None:
        """Add some."""
        end = self._count + len(domains)
        if end > len(self._room):
            self._room = self.domains.with_room(max(end, 2 * len(self._room)))
        for own, new in zip(self._room.fields, domains.fields, strict=True):
            own[self._count : end] = new
        self._count = end

    def take_some(self, count: int) -> Domains:
        """Remove `count` domains, or all: those with the lowest bounds; where too many wait, those
        with the highest, which are closest to an end and leave few parts.
        """
        count = min(count, self._count)
        many = self._count > self._many
        chosen = self._room.bound[: self._count].topk(count, largest=many).indices
        taken = self._room.take(chosen)
        left = self._count - count
        # What lies behind those that are left fills the gaps before.
        behind = torch.ones(count, dtype=torch.bool, device=chosen.device)
        behind[chosen[chosen >= left] - left] = False
        gaps, movers = chosen[chosen < left], behind.nonzero()[:, 0] + left
        for own in self._room.fields:
            own[gaps] = own[movers]
        self._count = left
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Which inputs are whole numbers, and how boxes are cut there: between two of them.

    whole: (inputs,) mask. Beyond LARGEST_WHOLE a float64 cannot tell neighbours apart; entries that
    reach so far are cut like real ones.
    """

    whole: Tensor

    @classmethod
    def of(cls, integers: Tensor, inputs: int) -> Lattice:
        """From the positions of the whole-number inputs."""
        whole = torch.zeros(inputs, dtype=torch.bool, device=integers.device)
        whole[integers] = True
        return cls(whole)

    def _counted(self, domains: Domains) -> Tensor:
        farthest = torch.maximum(domains.lower.abs(), domains.upper.abs())
        return self.whole & (farthest < LARGEST_WHOLE)

    def cuttable(self, domains: Domains) -> Tensor:
        """Whether an edge can be cut in two smaller ones: (domains, inputs)."""
        middle = (domains.lower + domains.upper) / 2
        real = (domains.lower < middle) & (middle < domains.upper)
        if not bool(self.whole.any()):
            return real
        return real & ~(self._counted(domains) & (domains.upper - domains.lower < 1))

    def ends(self, domains: Domains) -> tuple[Tensor, Tensor]:
        """Where every edge is cut: the end of the lower half and the start of the upper one.

        They are the same number for real inputs, so that nothing between the halves is lost.
        """
        middle = (domains.lower + domains.upper) / 2
        if not bool(self.whole.any()):
            return middle, middle
        below, counted = middle.floor(), self._counted(domains)
        return below.where(counted, middle), (below + 1).where(counted, middle)

    def inward(self, domains: Domains) -> Domains:
        """The domains with whole ends where inputs are whole; where these cross, there is no point.

        Crossing ends are left to `has_point`.
        """
        if not bool(self.whole.any()):
            return domains
        counted = self._counted(domains)
        lower = domains.lower.ceil().where(counted, domains.lower)
        upper = domains.upper.floor().where(counted, domains.upper)
        return domains.within(lower, upper)


def has_point(domains: Domains) -> Tensor:
    """Whether no two ends cross: (domains,)."""
    return (domains.lower <= domains.upper).all(1)


LARGEST_WHOLE = 2.0**52
# Bytes of the domains that wait: 1 GiB, or twice that while room is made for more.
MAX_WAITING = 2**30

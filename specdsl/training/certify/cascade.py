"""Certified accuracy by a cascade: every sample goes on to the next bound until one proves it.

The cheapest bound settles most samples of a network that was trained for it, so that tight bounds
on the few that are left cost next to nothing. Computed in float64, and a bound counts only beyond
what rounding may have added. What no bound of a cascade settles is left to `specdsl check`, which
splits, and writes evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from specdsl.bounds.methods import METHODS
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rounding import region_slack
from specdsl.training.runtime.ascent import evaluated
from specdsl.training.runtime.attacks import Attack
from specdsl.training.runtime.claim import Claim, margins_at, unchanged
from specdsl.training.runtime.data import Samples
from specdsl.training.runtime.lower import Bound, crown, crown_ibp, interval, lower
from specdsl.training.runtime.network import Trainable

Point = Callable[[Tensor], Tensor]
"""From a batch of samples to what the network takes of them: normalised, where the spec says so."""

ClaimOf = Callable[[Tensor, Tensor], Claim]
"""The property of each sample of a batch: inputs and labels to a claim."""

# Samples at once. Larger batches do not fit the caches of a laptop, smaller ones pay for overhead.
BATCH = 256


def alpha_crown() -> Bound:
    """CROWN with lines that every row chooses for itself: Xu et al. 2021, arXiv:2011.13824.

    Climbs by gradients of its own: for judging networks, not for training them.
    """

    def bound(net: Trainable, region: InputRegion, rows: Tensor) -> Tensor:
        compiled = net.compiled()
        shaped = rows.reshape(*rows.shape[:2], *compiled.graph.shapes[compiled.graph.output])
        return METHODS["alpha_crown"].lower(compiled, region, shaped)

    return bound


CASCADE: Mapping[str, Bound] = MappingProxyType(
    {
        "interval": interval(),
        "crown_ibp": crown_ibp(),
        "crown": crown(),
        "alpha_crown": alpha_crown(),
    }
)
"""From cheap to tight. Every one of them is a proof; estimates have another type."""


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """What became of `count` samples.

    `clean`: classified correctly, None where targets are no classes; `adversarial`: those of them
    for which an attack found no point that violates the property, None without an attack; `by`: how
    many were certified by each bound, and by none before it. `open` (k,): positions of the samples
    that are classified correctly and withstood the attack but are not certified.
    """

    count: int
    clean: int | None
    adversarial: int | None
    by: Mapping[str, int]
    open: Tensor = field(repr=False)

    @property
    def certified(self) -> int:
        """Samples that some bound certified."""
        return sum(self.by.values())

    def __str__(self) -> str:
        parts = [f"clean {_share(self.clean, self.count)}"]
        parts.append(f"adversarial {_share(self.adversarial, self.count)}")
        parts.append(f"certified {_share(self.certified if self.by else None, self.count)}")
        counts = ", ".join(f"{name} {n}" for name, n in self.by.items())
        return f"{', '.join(parts)} of {self.count} ({counts}; open {len(self.open)})"


class BrokenBound(AssertionError):
    """An attack found a point that a bound had excluded: the bounds are wrong."""


def certify(  # noqa: PLR0913 - what may differ from the usual, by name
    net: Trainable,
    samples: Samples,
    claim_of: ClaimOf | None,
    *,
    cascade: Mapping[str, Bound] = CASCADE,
    attack: Attack | None = None,
    generator: torch.Generator | None = None,
    point: Point = unchanged,
) -> Certified:
    """Certify every sample that is classified correctly, with a copy of the network in float64.

    `attack` thins out first what bounds need not try; where one of its points contradicts a bound,
    BrokenBound is raised. Without a property only clean accuracy is counted. Raises ValueError for
    samples without labels.
    """
    if claim_of is None:
        claim_of, cascade, attack = _nothing, {}, None
    copy = Trainable.of(deepcopy(net.module).eval(), net.shape, net.name)
    copy.module.double()
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    return _Judge(copy, claim_of, cascade, attack, generator, point).all(samples)


@dataclass(slots=True, eq=False)
class _Judge:
    net: Trainable
    claim_of: ClaimOf
    cascade: Mapping[str, Bound]
    attack: Attack | None
    generator: torch.Generator
    point: Point = unchanged
    clean: int = 0
    adversarial: int = 0
    by: dict[str, int] = field(default_factory=dict[str, int])
    open: list[Tensor] = field(default_factory=list[Tensor])

    def all(self, samples: Samples) -> Certified:
        """Every sample, batch by batch."""
        if samples.labels is None:
            raise ValueError("samples without labels have no property to certify")
        like = next(self.net.module.parameters())
        self.by = dict.fromkeys(self.cascade, 0)
        for start in range(0, len(samples), BATCH):
            inputs = samples.inputs[start : start + BATCH].to(like)
            labels = samples.labels[start : start + BATCH].to(like.device)
            self.batch(inputs, labels, start)
        return Certified(
            len(samples),
            None if samples.labels.is_floating_point() else self.clean,
            None if self.attack is None else self.adversarial,
            self.by,
            torch.cat(self.open),
        )

    def batch(self, x: Tensor, y: Tensor, start: int) -> None:
        """One batch, whose first sample is number `start`."""
        correct = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if not y.is_floating_point():
            with torch.no_grad():
                correct = _classified(self.net.at(self.point(x)), y)
            self.clean += int(correct.sum())
        stands = correct & self._withstands(x, y)
        self.adversarial += int(stands.sum())
        # What an attack broke goes through the cheapest bound all the same: none may certify it.
        left = correct.nonzero()[:, 0]
        for name, bound in self.cascade.items():
            if not len(left):
                break
            proven = _proven(self.net, self.claim_of(x[left], y[left]), bound)
            if bool((proven & ~stands[left]).any()):
                raise BrokenBound(f"`{name}` certifies what an attack broke")
            self.by[name] += int(proven.sum())
            left = left[~proven & stands[left]]
        self.open.append(left.cpu() + start)

    def _withstands(self, x: Tensor, y: Tensor) -> Tensor:
        """For which samples the attack finds nothing."""
        if self.attack is None:
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        claim = self.claim_of(x, y)
        points = self.attack(self.net, claim, self.generator)
        with torch.no_grad():
            return margins_at(self.net, claim, points).amin(1) > 0


def attacked_accuracies(
    net: Trainable, samples: Samples, claim_of: ClaimOf, attack: Attack, *, point: Point = unchanged
) -> tuple[float, float]:
    """Clean accuracy, and accuracy at points of an attack, as parts of 1."""
    with evaluated(net.module):
        generator = torch.Generator().manual_seed(0)
        found = _Judge(net, claim_of, {}, attack, generator, point).all(samples)
    assert found.adversarial is not None, "there is an attack"
    clean = found.count if found.clean is None else found.clean
    return clean / found.count, found.adversarial / found.count


def clean_accuracies(
    net: Trainable, samples: Samples, *, point: Point = unchanged
) -> tuple[float, float]:
    """Clean accuracy twice: what is selected by, and what is enough."""
    if samples.labels is None or samples.labels.is_floating_point():
        raise ValueError("clean accuracy is the share of right classes")
    with evaluated(net.module), torch.no_grad():
        right = [
            _classified(net.at(point(x)), y)
            for x, y in zip(samples.inputs.split(BATCH), samples.labels.split(BATCH), strict=True)
        ]
    share = float(torch.cat(right).float().mean())
    return share, share


def accuracies(
    net: Trainable, samples: Samples, claim_of: ClaimOf, name: str, *, point: Point = unchanged
) -> tuple[float, float]:
    """Clean and certified accuracy by intervals and one bound of the cascade, as parts of 1.

    Intervals cost next to nothing, and prove some samples that CROWN on them does not. In the
    network's own precision, where rounding is left out of account: for choosing between
    epochs, at little cost. `certify` judges.
    """
    with evaluated(net.module):
        cascade = {each: CASCADE[each] for each in dict.fromkeys(("interval", name))}
        judge = _Judge(net, claim_of, cascade, None, torch.Generator(), point)
        found = judge.all(samples)
    clean = found.certified if found.clean is None else found.clean
    return clean / found.count, found.certified / found.count


@torch.no_grad()
def _proven(net: Trainable, claim: Claim, bound: Bound) -> Tensor:
    """Which claims a bound proves, (batch,): it is positive beyond what rounding may have added.

    In float32 that is more than most margins; there rounding is left out of account, and what is
    counted is for choosing between epochs alone.
    """
    if claim.region.box.lower.dtype != torch.float64:
        return lower(net, claim, bound).amin(1) > 0

    def beyond_rounding(net: Trainable, region: InputRegion, rows: Tensor) -> Tensor:
        compiled = net.compiled()
        slack = region_slack(compiled, region)[compiled.graph.output].flatten(1)
        return bound(net, region, rows) - (rows.abs() @ slack[..., None])[..., 0]

    return lower(net, claim, beyond_rounding).amin(1) > 0


def _classified(scores: Tensor, y: Tensor) -> Tensor:
    """Whether the largest score, and no other, is that of the class; one score alone: its sign."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0) == (y > 0)
    own = scores.gather(1, y[:, None])
    return (scores >= own).sum(1) == 1


def _nothing(x: Tensor, y: Tensor) -> Claim:
    raise AssertionError("without attack and bounds no property is asked for")


def _share(part: int | None, whole: int) -> str:
    return "n/a" if part is None else f"{100 * part / whole:.2f} %"

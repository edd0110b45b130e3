"""Certified accuracy by a cascade: every sample goes on to the next bound until one proves it.

The cheapest bound settles most samples of a network that was trained for it, so that tight bounds
on the few that are left cost next to nothing. Computed in float64, and a bound counts only beyond
what rounding may have added. A cascade may end in complete methods, which settle what bounds leave
open in the one way or the other; what none of its stages settles is left to `specdsl check`.
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
from specdsl.training.certify.complete import Complete
from specdsl.training.certify.queries import QuerySource
from specdsl.training.runtime.attacks.ascent import evaluated
from specdsl.training.runtime.attacks.attacks import Attack
from specdsl.training.runtime.bounds.lower import Bound, crown, crown_ibp, interval, lower
from specdsl.training.runtime.claims.claim import Claim, margins_at, unchanged
from specdsl.training.runtime.loop.data import Samples
from specdsl.training.runtime.loop.log import CpuSeconds
from specdsl.training.runtime.networks.network import Trainable
from specdsl.verdict import Falsified, Verified

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

Stage = Bound | Complete
"""What settles samples: bounds of a whole batch, or a backend that is asked about one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """What became of `count` samples.

    `clean`: classified correctly, None where targets are no classes; `adversarial`: those of them
    for which an attack found no point that violates the property, None without an attack; `by`: how
    many were certified by each stage, and by none before it; `broken`: for how many of them each
    stage found such a point where the attack had found none; `seconds`: CPU time of each stage.
    `open` (k,): positions of the samples that are classified correctly, and neither broken nor
    certified. What is certified, broken and open are those that withstood the attack.
    """

    count: int
    clean: int | None
    adversarial: int | None
    by: Mapping[str, int]
    open: Tensor = field(repr=False)
    broken: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def certified(self) -> int:
        """Samples that some stage certified."""
        return sum(self.by.values())

    @property
    def shares(self) -> str:
        """The accuracies: clean, under attack, and certified."""
        parts = [f"clean {_share(self.clean, self.count)}"]
        parts.append(f"adversarial {_share(self.adversarial, self.count)}")
        parts.append(f"certified {_share(self.certified if self.by else None, self.count)}")
        return f"{', '.join(parts)} of {self.count}"

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {n}" for name, n in self.by.items())
        broken = sum(self.broken.values())
        left = f"broken {broken}; open" if broken else "open"
        return f"{self.shares} ({counts}; {left} {len(self.open)})"

    def report(self, text: str) -> str:
        """What was asked, the accuracies, and the table of the stages."""
        return f"{text}: {self.shares}\n{self.table()}"

    def table(self) -> str:
        """A line a stage: what it certified and broke, what it left open, and its CPU seconds."""
        width = max(len(name) for name in ("stage", *self.by))
        lines = [f"{'stage':{width}}  certified  broken    open  CPU-s"]
        left = self.certified + sum(self.broken.values()) + len(self.open)
        for name, certified in self.by.items():
            broken = self.broken.get(name, 0)
            left -= certified + broken
            seconds = f"{self.seconds.get(name, 0.0):.1f}"
            lines.append(f"{name:{width}}  {certified:9}  {broken:6}  {left:6}  {seconds:>5}")
        return "\n".join(lines)


class BrokenBound(AssertionError):
    """An attack found a point that a bound had excluded: the bounds are wrong."""


def certify(  # noqa: PLR0913 - what may differ from the usual, by name
    net: Trainable,
    samples: Samples,
    claim_of: ClaimOf | None,
    *,
    cascade: Mapping[str, Stage] = CASCADE,
    attack: Attack | None = None,
    generator: torch.Generator | None = None,
    point: Point = unchanged,
) -> Certified:
    """Certify every sample that is classified correctly, with a copy of the network in float64.

    `attack` thins out first what bounds need not try; where one of its points contradicts a bound,
    BrokenBound is raised. Without a property only clean accuracy is counted. Raises ValueError for
    samples without labels, SpecError E0855 where a backend does not take the property.
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
    cascade: Mapping[str, Stage]
    attack: Attack | None
    generator: torch.Generator
    point: Point = unchanged
    clean: int = 0
    adversarial: int = 0
    by: dict[str, int] = field(default_factory=dict[str, int])
    broken: dict[str, int] = field(default_factory=dict[str, int])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    open: list[Tensor] = field(default_factory=list[Tensor])
    source: QuerySource = field(init=False)

    def __post_init__(self) -> None:
        self.source = QuerySource(self.net)

    def all(self, samples: Samples) -> Certified:
        """Every sample, batch by batch."""
        if samples.labels is None:
            raise ValueError("samples without labels have no property to certify")
        like = next(self.net.module.parameters())
        self.by, self.broken = dict.fromkeys(self.cascade, 0), dict.fromkeys(self.cascade, 0)
        self.seconds = dict.fromkeys(self.cascade, 0.0)
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
            self.broken,
            self.seconds,
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
        for name, stage in self.cascade.items():
            if not len(left):
                break
            clock = CpuSeconds()
            if isinstance(stage, Complete):
                left = left[stands[left]]
                proven, broken = self._asked(stage, x[left], y[left], start + left)
            else:
                proven = _proven(self.net, self.claim_of(x[left], y[left]), stage)
                broken = ~stands[left]
                if bool((proven & broken).any()):
                    raise BrokenBound(f"`{name}` certifies what an attack broke")
            self.by[name] += int(proven.sum())
            self.broken[name] += int((broken & stands[left]).sum())
            left = left[~proven & ~broken]
            self.seconds[name] += clock.lap()
        self.open.append(left.cpu() + start)

    def _asked(
        self, stage: Complete, x: Tensor, y: Tensor, numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which samples a backend certifies and which it breaks, asked about one by one."""
        proven, broken = (torch.zeros(len(x), dtype=torch.bool, device=x.device) for _ in range(2))
        for k, number in enumerate(numbers.tolist()):
            claim = self.claim_of(x[k : k + 1], y[k : k + 1])
            verdict = stage.decide(self.source, claim, f"sample_{number}")
            proven[k] = isinstance(verdict, Verified)
            broken[k] = isinstance(verdict, Falsified)
        return proven, broken

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

"""Constraints on what is trained, by multipliers that grow where they are broken.

A constraint is a number that should be at most 0: an error share less its bound, for instance.
Two ways: a multiplier each (Fioretto), or weights of objective and constraints that follow the true
constraints while gradients come from differentiable stand-ins (Cotter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isnan

import torch
from torch import Tensor

from specdsl.training.runtime.losses.measures import Measured

# How much a constraint may be broken by and still count as kept: rounding of float32 means.
KEPT = 1e-6


@dataclass(slots=True, eq=False)
class Seen:
    """Sums of what was measured of each constraint since the last update, and on how many samples.

    Shapes: (constraints,) each, in float64 on the CPU.
    """

    sums: Tensor
    counts: Tensor

    @classmethod
    def nothing(cls, size: int) -> Seen:
        """Of that many constraints."""
        return cls(*(torch.zeros(size, dtype=torch.float64) for _ in range(2)))

    def add(self, values: Tensor, counts: int | Tensor) -> None:
        """Note values that were measured on `counts` samples, of all or of each."""
        weights = torch.as_tensor(counts).to(self.counts).expand_as(self.counts)
        self.sums = self.sums + weights * values.detach().to(self.sums)
        self.counts = self.counts + weights

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return bool(self.counts.any())

    def means(self) -> Tensor:
        """0 for what was not measured. Raises ValueError where nothing was, or no number."""
        if not self.any:
            raise ValueError("no constraint was measured since the last update")
        if not bool(self.sums.isfinite().all()):
            raise ValueError("a constraint is not a finite number")
        return self.sums / self.counts.clamp(min=1)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"sums": self.sums.clone(), "counts": self.counts.clone()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from there."""
        self.sums = _tensor(state, "sums", self.sums)
        self.counts = _tensor(state, "counts", self.counts)


@dataclass(slots=True, eq=False)
class Lagrangian:
    """One multiplier for each constraint, raised by how much it was broken on average.

    `names` of the constraints, for the log. `term` goes into what is minimised at every step and
    notes what it saw; `update` is called once an epoch. Multipliers never fall, and are never
    negative; one whose constraint was seen on no sample stays. With `decay`, the step of update k
    is `rate / (1 + decay * k)`.
    Source: Fioretto et al. 2020, arXiv:2001.09394, algorithm 1.
    """

    names: tuple[str, ...]
    rate: float
    initial: float = 0.0
    decay: float = 0.0
    multipliers: Tensor = field(init=False)
    _seen: Seen = field(init=False)
    _updates: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.initial < 0 or self.rate < 0 or self.decay < 0:
            raise ValueError("multipliers, their rate and its decay are not negative")
        size = len(self.names)
        self.multipliers = torch.full((size,), self.initial, dtype=torch.float64)
        self._seen = Seen.nothing(size)

    def term(
        self, constraints: Tensor, counts: int | Tensor = 1, observed: Tensor | None = None
    ) -> Tensor:
        """The sum over constraints of `multiplier * max(0, constraint)`.

        `counts`: the samples that they were measured on, of all or of each. `observed`: the true
        constraints, where what is differentiated stands in for them; multipliers follow these.
        Shapes: constraints, observed, counts (names,); a scalar comes back.
        """
        violations = constraints.clamp(min=0)
        self._seen.add(violations if observed is None else observed.clamp(min=0), counts)
        return (self.multipliers.to(violations) * violations).sum()

    def weigh(
        self, terms: Mapping[str, Tensor], found: Mapping[str, Measured]
    ) -> dict[str, Tensor]:
        """The terms, and one for each constraint that was measured on the batch: parts of `term`.

        Constraints of other names are left to their own multipliers; what was not measured counts
        as kept.
        """
        stand_ins, observed, counts = _stacked(self.names, found)
        self.term(stand_ins, counts, observed)
        parts = self.multipliers.to(stand_ins) * stand_ins.clamp(min=0)
        return {**terms, **_named(self.names, parts, found)}

    @property
    def measured(self) -> bool:
        """Whether anything was measured since the last update."""
        return self._seen.any

    def update(self) -> None:
        """Raise every multiplier by the step times its mean violation since the last update.

        Raises ValueError where nothing was measured, or something that is no number.
        """
        step = self.rate / (1 + self.decay * self._updates)
        self.multipliers = self.multipliers + step * self._seen.means()
        self._seen = Seen.nothing(len(self.names))
        self._updates += 1

    def log(self) -> dict[str, float]:
        """The multipliers by name."""
        return {n: float(v) for n, v in zip(self.names, self.multipliers, strict=True)}

    def state_dict(self) -> dict[str, object]:
        """All that varies, for a checkpoint."""
        kept: dict[str, object] = {"updates": self._updates}
        return kept | {"multipliers": self.multipliers.clone()} | self._seen.state()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what `state_dict` gave. Raises ValueError where it is of other constraints."""
        self.multipliers = _tensor(state, "multipliers", self.multipliers)
        self._seen.restore(state)
        self._updates = _count(state, "updates")


@dataclass(slots=True, eq=False)
class ProxyLagrangian:
    """Weights of the objective and of each constraint, which follow the true constraints.

    `term` mixes the objective with differentiable stand-ins of the constraints by `weights`, and
    notes the constraints themselves, which need no gradient (a share of errors). `update`
    multiplies the entries of a column-stochastic matrix whose stationary distribution the weights
    are: in the end no constraint should rather have been another. All begin with equal weights.
    Source: Cotter et al. 2019, arXiv:1804.06500, algorithm 2.
    """

    names: tuple[str, ...]
    rate: float
    _log_matrix: Tensor = field(init=False)
    _weights: Tensor = field(init=False)
    _seen: Seen = field(init=False)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("a rate is not negative")
        size = len(self.names)
        self._seen = Seen.nothing(size)
        self._set(torch.zeros(size + 1, size + 1, dtype=torch.float64))

    @property
    def weights(self) -> Tensor:
        """Of the objective first, then of each constraint: not negative, 1 in sum. (names + 1,)."""
        return self._weights

    def term(
        self, objective: Tensor, stand_ins: Tensor, observed: Tensor, counts: int | Tensor = 1
    ) -> Tensor:
        """`w_0 * objective + sum_i w_i * stand_in_i`.

        `observed`: the true constraints, measured on `counts` samples, of all or of each.
        Shapes: objective a scalar, stand_ins, observed, counts (names,); a scalar comes back.
        """
        self._seen.add(observed, counts)
        weights = self._weights.to(objective)
        return weights[0] * objective + (weights[1:] * stand_ins).sum()

    def weigh(
        self, terms: Mapping[str, Tensor], found: Mapping[str, Measured]
    ) -> dict[str, Tensor]:
        """The terms with the objective's weight, and one for each constraint that was measured on
        the batch with its own: parts of `term`. Constraints of other names are left out.
        """
        stand_ins, observed, counts = _stacked(self.names, found)
        objective = torch.stack([value.sum() for value in terms.values()]).sum()
        self.term(objective, stand_ins.to(objective), observed, counts)
        weights = self._weights.to(objective)
        weighted = {name: weights[0] * value for name, value in terms.items()}
        return {**weighted, **_named(self.names, weights[1:] * stand_ins.to(objective), found)}

    @property
    def measured(self) -> bool:
        """Whether anything was measured since the last update."""
        return self._seen.any

    def update(self) -> None:
        """Multiply the matrix by `exp(rate * constraints * weights^T)`, their means since the last.

        Raises ValueError where nothing was measured, or something that is no number.
        """
        gradient = torch.cat([self._weights.new_zeros(1), self._seen.means()])
        self._seen = Seen.nothing(len(self.names))
        self._set(self._log_matrix + self.rate * torch.outer(gradient, self._weights))

    def log(self) -> dict[str, float]:
        """The weights by name; the objective's is `objective`."""
        names = ("objective", *self.names)
        return {n: float(v) for n, v in zip(names, self._weights, strict=True)}

    def state_dict(self) -> dict[str, object]:
        """All that varies, for a checkpoint."""
        return {"log_matrix": self._log_matrix.clone(), **self._seen.state()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what `state_dict` gave. Raises ValueError where it is of other constraints."""
        self._set(_tensor(state, "log_matrix", self._log_matrix))
        self._seen.restore(state)

    def _set(self, log_matrix: Tensor) -> None:
        # Logarithms: products of many steps neither overflow nor become 0 for ever.
        self._log_matrix = log_matrix.log_softmax(0)
        self._weights = stationary(self._log_matrix.exp())


def stationary(matrix: Tensor) -> Tensor:
    """The distribution that a matrix with positive columns of sum 1 leaves as it is.

    Shapes: (n, n) to (n,).
    """
    size = matrix.shape[0]
    system = matrix - torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    # The equations add up to 0; the last one gives way to: the sum is 1.
    system[-1] = 1.0
    wanted = system.new_zeros(size)
    wanted[-1] = 1.0
    found = torch.linalg.solve(system, wanted).clamp(min=0)
    return found / found.sum()


@dataclass(frozen=True, slots=True)
class Iterate:
    """What an epoch reached: its objective and its true constraints, at most 0 where kept."""

    epoch: int
    objective: float
    constraints: tuple[float, ...]

    @property
    def violation(self) -> float:
        """The largest, at least 0; infinite where one is not a number."""
        return max((0.0, *(inf if isnan(c) else c for c in self.constraints)))


def best_iterate(iterates: list[Iterate]) -> Iterate:
    """The least objective among those that keep all constraints, else the least violation.

    Of equals the earliest. Cotter et al. return a mixture of iterates; the best one is what can be
    saved as one network, and their own heuristic. Raises ValueError where there are none.
    """
    kept = [i for i in iterates if i.violation <= KEPT and not isnan(i.objective)]
    if kept:
        return min(kept, key=lambda i: i.objective)
    return min(iterates, key=lambda i: (i.violation, inf if isnan(i.objective) else i.objective))


def _stacked(
    names: tuple[str, ...], found: Mapping[str, Measured]
) -> tuple[Tensor, Tensor, Tensor]:
    """Stand-ins, true constraints and counts in the order of names, 0 for what is not there."""
    nothing = torch.zeros(())
    each = [found.get(name, Measured(nothing, nothing, 0)) for name in names]
    stand_ins, observed = ([getattr(m, what) for m in each] for what in ("stand_in", "observed"))
    counts = torch.tensor([float(m.count) for m in each], dtype=torch.float64)
    return torch.stack(_alike(stand_ins)), torch.stack(_alike(observed)), counts


def _named(
    names: tuple[str, ...], parts: Tensor, found: Mapping[str, Measured]
) -> dict[str, Tensor]:
    """What constraints add, called so that no loss has the name."""
    return {f"constraint {n}": part for n, part in zip(names, parts, strict=True) if n in found}


def _alike(values: list[Tensor]) -> list[Tensor]:
    """On one device and of one type: those of the first value with a gradient, or of the first."""
    like = next((value for value in values if value.requires_grad), values[0])
    return [value.to(like) for value in values]


# --- state ---------------------------------------------------------------------------------------


def _tensor(state: Mapping[str, object], key: str, like: Tensor) -> Tensor:
    value = state.get(key)
    if not isinstance(value, Tensor) or value.shape != like.shape:
        raise ValueError(f"the state holds no `{key}` of shape {tuple(like.shape)}")
    return value.detach().clone().to(like)


def _count(state: Mapping[str, object], key: str) -> int:
    value = state.get(key)
    if not isinstance(value, int):
        raise ValueError(f"the state holds no `{key}`")
    return value

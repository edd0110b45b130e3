"""beta-CROWN: bounds on the part of a region where inner values lie in given intervals.

A constraint `z >= l` on an inner value takes `multiplier * (z - l)` off a row, which is not
negative where it holds; one of the other kind likewise. What is left is bounded as ever. Any
multipliers of the right sign give a sound bound; they are raised together with the places of
alpha-CROWN, by the gradient of the bound itself. On a part where no choice of pieces is left, the
best multipliers give the optimum of the linear program.

Source: Wang et al. 2021, arXiv:2103.06624, for ReLUs; here for intervals of any value that an op of
one operand reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice, Mixture, Places
from specdsl.bounds.kinds.relaxation import LinearRelaxation, Passed
from specdsl.bounds.passes.ascent import LEAST_SIZE, MOMENTUM, SQUARES, differentiable_least
from specdsl.bounds.passes.crown import LinearLower, Relaxations, linear_lower
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.bounds.rows.backward import AtInput, dense_on, unit_rows, walk
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.graph.graph import NodeId

# Of the first step, for places and for multipliers: best of 0.1 to 0.4 and of 0.02 to 0.2 on the
# networks of docs/performance.md.
PLACE_RATE, MULTIPLIER_RATE, DECAY = 0.2, 0.05, 0.98


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries of inner values that may be split, numbered through.

    Those of `nodes[i]` at `columns[i]` (row-major) have the numbers from `offsets[i]` on.
    """

    nodes: tuple[NodeId, ...]
    columns: tuple[Tensor, ...]
    offsets: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, columns: Mapping[NodeId, Tensor]) -> Entries:
        """Numbered in the order given."""
        offsets: list[int] = []
        count = 0
        for part in columns.values():
            offsets.append(count)
            count += part.numel()
        return cls(tuple(columns), tuple(columns.values()), tuple(offsets), count)

    def pick(self, bounds: Mapping[NodeId, Interval]) -> Interval:
        """The bounds of all entries: (batch or 1, entries)."""
        lower = [bounds[n].lower.flatten(1)[:, c] for n, c in self._parts()]
        upper = [bounds[n].upper.flatten(1)[:, c] for n, c in self._parts()]
        return Interval(torch.cat(lower, 1), torch.cat(upper, 1))

    def _parts(self) -> Sequence[tuple[NodeId, Tensor]]:
        return list(zip(self.nodes, self.columns, strict=True))

    def here(self, numbers: Tensor, index: int) -> Tensor:
        """Which of some numbers belong to node `index`: a mask."""
        start = self.offsets[index]
        return (numbers >= start) & (numbers < start + self.columns[index].numel())


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A batch of parts of a region: the entries `numbers` (split,) lie between `lower` and `upper`,
    (batch, split). `below`, `above`: where these are constraints, and not what is known anyway.
    """

    numbers: Tensor
    lower: Tensor
    upper: Tensor
    below: Tensor
    above: Tensor

    def take(self, index: Tensor) -> Parts:
        """Those at `index` (positions or a mask)."""
        return Parts(
            self.numbers,
            self.lower[index],
            self.upper[index],
            self.below[index],
            self.above[index],
        )

    def narrow(self, multipliers: Tensor) -> Tensor:
        """Multipliers (batch, rows, split) made sound: 0 or more where `z >= lower` alone is known,
        0 or less where `z <= upper` is, 0 where neither.
        """
        least = torch.where(self.above, -torch.inf, 0.0)[:, None]
        most = torch.where(self.below, torch.inf, 0.0)[:, None]
        return multipliers.nan_to_num(nan=0.0).clamp(least.to(multipliers), most.to(multipliers))


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the whole region: bounds of every node, for a region of batch 1, and which
    entries may be split."""

    compiled: CompiledGraph
    region: InputRegion
    bounds: Mapping[NodeId, Interval]
    entries: Entries

    def nearly(self, compiled: CompiledGraph, region: InputRegion) -> Known:
        """The same for a graph and a region in another dtype, for climbing alone: bounds are
        rounded to the nearest, and what rests on them proves nothing.
        """
        like = compiled.like
        bounds = {n: Interval(b.lower.to(like), b.upper.to(like)) for n, b in self.bounds.items()}
        return Known(compiled, region, bounds, self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class PartRows:
    """Lower bounds of rows on parts, and what gave them.

    `proven`: `linear.lower` less what rounding may have added, (batch, rows). `multipliers`:
    (batch, rows, split). `gaps`: how much each entry's relaxation takes off the bound at most,
    (batch, rows, entries).
    """

    linear: LinearLower
    proven: Tensor
    places: Mapping[NodeId, Places]
    multipliers: Tensor
    gaps: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """`coefficients . x + constant <= most` all over a part: (constraints, inputs), and twice
    (constraints,).
    """

    coefficients: Tensor
    constant: Tensor
    most: Tensor


class PartBounds:
    """Bounds rows on one batch of parts; the relaxations there are worked out once."""

    def __init__(self, known: Known, parts: Parts) -> None:
        self.known = known
        self.parts = parts
        batch = len(parts.lower)
        self.region = known.region.take(torch.zeros(batch, dtype=torch.long))
        self.choices: dict[NodeId, Choice] = {}
        self.relaxations = Relaxations()
        self.bounds = self._bounds()
        self._relax()

    def _bounds(self) -> dict[NodeId, Interval]:
        """Bounds of the nodes whose entries are split, on every part."""
        known, parts = self.known, self.parts
        found: dict[NodeId, Interval] = {}
        batch = len(parts.lower)
        for i, node in enumerate(known.entries.nodes):
            here = known.entries.here(parts.numbers, i)
            if not bool(here.any()):
                continue
            columns = known.entries.columns[i][parts.numbers[here] - known.entries.offsets[i]]
            whole = known.bounds[node]
            lower = whole.lower.flatten(1).repeat(batch, 1)
            upper = whole.upper.flatten(1).repeat(batch, 1)
            # A part that is empty may have ends that cross; one point stands for it then.
            low, high = parts.lower[:, here].to(lower), parts.upper[:, here].to(upper)
            lower[:, columns], upper[:, columns] = torch.minimum(low, high), high
            shape = (batch, *whole.lower.shape[1:])
            found[node] = Interval(lower.reshape(shape), upper.reshape(shape))
        return found

    def _relax(self) -> None:
        known = self.known
        graph = known.compiled.graph
        for node, rule in known.compiled.rules.items():
            operands = [self.bounds.get(o, known.bounds[o]) for o in graph.operands(node)]
            if any(o in self.bounds for o in graph.operands(node)):
                batch = len(self.parts.lower)
                operands = [
                    Interval(
                        o.lower.expand(batch, *o.lower.shape[1:]),
                        o.upper.expand(batch, *o.upper.shape[1:]),
                    )
                    for o in operands
                ]
            line = rule.relax(operands)
            self.relaxations.lines[node] = line
            if any(bool(rule.unstable(x).any()) for x in operands):
                choice = rule.choice(operands, line)
                if choice is not None:
                    self.choices[node] = choice

    def rows(
        self,
        rows: Tensor,
        start: Mapping[NodeId, Places],
        multipliers: Tensor,
        steps: int = 0,
        enough: float = inf,
    ) -> PartRows:
        """Bounds of `rows . output`, (batch, rows, *output), after so many steps of ascent from
        `start` and `multipliers` (batch, rows, split). Ascent ends early where a row of every part
        is above `enough`. What is given may have another dtype.
        """
        like = self.known.compiled.like
        places = {n: Places(p.values.to(like), p.columns) for n, p in start.items()}
        narrowed = self.parts.narrow(multipliers.to(like))
        ascent = _Ascent(self, rows.to(like), places, narrowed)
        if steps > 0:
            ascent.raise_all(steps, enough)
        return ascent.final()

    def constraints(self) -> Constraints:
        """What the splits of the only part say about the input, by the usual relaxations."""
        compiled, entries, parts = self.known.compiled, self.known.entries, self.parts
        inputs = self.region.box.lower.shape[1]
        like = compiled.like
        found = [Constraints(like.new_zeros(0, inputs), like.new_zeros(0), like.new_zeros(0))]

        def through(current: NodeId, passing: Rows) -> Passed:
            return self.relaxations.lines[current].through(passing)

        for sign, cut, ends in ((-1.0, parts.below, parts.lower), (1.0, parts.above, parts.upper)):
            for i, node in enumerate(entries.nodes):
                here = (entries.here(parts.numbers, i) & cut[0]).nonzero()[:, 0]
                if not len(here):
                    continue
                columns = entries.columns[i][parts.numbers[here] - entries.offsets[i]]
                start, rows = unit_rows(compiled, node, columns, like.new_full((len(here),), sign))
                line = linear_lower(walk(compiled, start, rows, through), self.region)
                most = sign * ends[0, here].to(like)
                found.append(Constraints(line.coefficients[0], line.constant[0], most))
        return Constraints(
            torch.cat([part.coefficients for part in found]),
            torch.cat([part.constant for part in found]),
            torch.cat([part.most for part in found]),
        )


@dataclass(slots=True, eq=False)
class _Ascent:
    """`mixtures` are made at the first walk. `moments`: Adam's, by node; the multipliers' own under
    None.
    """

    bounds: PartBounds
    output: Tensor
    start: dict[NodeId, Places]
    multipliers: Tensor
    mixtures: dict[NodeId, Mixture] = field(default_factory=dict[NodeId, Mixture])
    moments: dict[NodeId | None, tuple[Tensor, Tensor]] = field(
        default_factory=dict[NodeId | None, tuple[Tensor, Tensor]]
    )
    best: Tensor | None = None
    best_places: dict[NodeId, Tensor] = field(default_factory=dict[NodeId, Tensor])
    best_multipliers: Tensor | None = None

    def raise_all(self, steps: int, enough: float) -> None:
        """Adam on places and multipliers; the best of all steps is kept for each row."""
        for step in range(steps):
            self.multipliers.requires_grad_()
            with torch.enable_grad():
                found = self.walk(moves=True)
                lower = differentiable_least(found, self.bounds.region)
                total = lower.sum()
            self._note(lower.detach())
            assert self.best is not None
            if not lower.requires_grad or bool((self.best > enough).any(1).all()):
                break
            self._move(total, step)
        self.multipliers = self.multipliers.detach()

    def final(self) -> PartRows:
        """Bounds by the best places and multipliers, or those at hand if that is where it ends."""
        noted: dict[NodeId, Tensor] = {}
        with torch.no_grad():
            found = self.walk(moves=False, noted=noted)
            last = linear_lower(found, self.bounds.region)
            if self.best is not None and bool((self.best > last.lower).any()):
                self._back_to_best(last.lower)
                noted.clear()
                found = self.walk(moves=False, noted=noted)
                last = linear_lower(found, self.bounds.region)
            proven = last.lower - self._rounding(last)
            gaps = self._gaps(noted)
        places = {n: Places(m.places, m.columns) for n, m in self.mixtures.items()}
        return PartRows(last, proven, places, self.multipliers, gaps)

    def walk(self, moves: bool, noted: dict[NodeId, Tensor] | None = None) -> AtInput:
        """Rows at the input; coefficients at nonlinear ops are noted where asked for."""
        own = self.bounds
        compiled = own.known.compiled

        def through(current: NodeId, passing: Rows) -> Passed:
            if noted is not None:
                noted[current] = dense_on(passing, compiled.graph.shapes[current])
            if current not in own.choices:
                return own.relaxations.lines[current].through(passing)
            if current not in self.mixtures:
                mixture = own.choices[current].mixture(passing, own.region.batch)
                if current in self.start:
                    mixture.start_at(self.start[current])
                self.mixtures[current] = mixture
            mixture = self.mixtures[current]
            mixture.places = mixture.places.detach().requires_grad_(moves)
            return mixture.through(passing)

        return walk(
            compiled, compiled.graph.output, DenseRows(self.output), through, meet=self._meet
        )

    def _meet(self, node: NodeId, rows: Rows) -> tuple[Rows, Tensor] | None:
        """Take multiples of what is known of a node's entries off rows."""
        parts, entries = self.bounds.parts, self.bounds.known.entries
        if node not in self.bounds.bounds:
            return None
        index = entries.nodes.index(node)
        here = entries.here(parts.numbers, index)
        columns = entries.columns[index][parts.numbers[here] - entries.offsets[index]]
        own = self.multipliers[..., here]
        whole = dense_on(rows, self.bounds.known.compiled.graph.shapes[node])
        whole = whole.expand(own.shape[0], own.shape[1], *whole.shape[2:])
        flat = whole.flatten(2).index_add(2, columns, -own)
        lower, upper = (e[:, None, here].to(own) for e in (parts.lower, parts.upper))
        gained = (own * lower.where(own > 0, upper)).sum(2)
        return DenseRows(flat.reshape(whole.shape)), gained

    def _rounding(self, linear: LinearLower) -> Tensor:
        """What rounding may have added to the bounds, the multiples of constraints included."""
        parts = self.bounds.parts
        size = (linear.coefficients.abs() @ self.bounds.region.farthest[:, :, None])[..., 0]
        ends = torch.maximum(parts.lower.abs(), parts.upper.abs()).to(size)
        paid = (self.multipliers.abs().to(size) @ ends[:, :, None])[..., 0]
        return ROUNDING_PART * (size + linear.constant.abs() + paid)

    def _note(self, found: Tensor) -> None:
        found = found.masked_fill(found.isnan(), -torch.inf)
        own = self.multipliers.detach()
        if self.best is None or self.best_multipliers is None:
            self.best, self.best_multipliers = found, own.clone()
            self.best_places = {n: m.places.detach().clone() for n, m in self.mixtures.items()}
            return
        better = found > self.best
        self.best = self.best.maximum(found)
        self.best_multipliers = own.where(better[..., None], self.best_multipliers)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            known = self.best_places[node]
            self.best_places[node] = mixture.places.detach().where(mask, known)

    def _back_to_best(self, last: Tensor) -> None:
        assert self.best is not None
        assert self.best_multipliers is not None
        better = self.best > last
        self.multipliers = self.best_multipliers.where(better[..., None], self.multipliers)
        for node, mixture in self.mixtures.items():
            mask = better.reshape(*better.shape, *(1 for _ in mixture.places.shape[2:]))
            mixture.places = self.best_places[node].where(mask, mixture.places.detach())

    def _move(self, total: Tensor, step: int) -> None:
        nodes = list(self.mixtures)
        wanted = [self.mixtures[node].places for node in nodes]
        has_splits = self.multipliers.numel() > 0
        if has_splits:
            wanted.append(self.multipliers)
        gradients = torch.autograd.grad(total, wanted, allow_unused=True)
        with torch.no_grad():
            rate = DECAY**step
            for node, gradient in zip(nodes, gradients, strict=False):
                mixture = self.mixtures[node]
                places = mixture.places.detach()
                self._step(node, places, gradient, PLACE_RATE * rate, step)
                mixture.places = places.clamp_(0.0, mixture.last)
            if has_splits:
                own = self.multipliers.detach()
                self._step(None, own, gradients[-1], MULTIPLIER_RATE * rate, step)
                self.multipliers = self.bounds.parts.narrow(own)

    def _step(
        self, key: NodeId | None, values: Tensor, gradient: Tensor | None, rate: float, step: int
    ) -> None:
        """One step of Adam, in place."""
        if gradient is None:
            return
        gradient = gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        if key not in self.moments:
            self.moments[key] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        mean, square = self.moments[key]
        mean.lerp_(gradient, 1 - MOMENTUM)
        square.mul_(SQUARES).addcmul_(gradient, gradient, value=1 - SQUARES)
        size = (square / (1 - SQUARES ** (step + 1))).sqrt_().add_(LEAST_SIZE)
        values.addcdiv_(mean, size, value=rate / (1 - MOMENTUM ** (step + 1)))

    def _gaps(self, noted: Mapping[NodeId, Tensor]) -> Tensor:
        """How much the lines of ops that read an entry may be off there, times coefficients."""
        own = self.bounds
        entries, graph = own.known.entries, own.known.compiled.graph
        sizes = (own.region.batch, self.output.shape[1], entries.count)
        gaps = own.known.compiled.like.new_zeros(sizes)
        for node, coefficients in noted.items():
            operands = graph.operands(node)
            if len(operands) != 1 or operands[0] not in entries.nodes:
                continue
            line = own.relaxations.lines[node]
            if not isinstance(line, LinearRelaxation):
                continue
            index = entries.nodes.index(operands[0])
            columns, start = entries.columns[index], entries.offsets[index]
            z = own.bounds.get(operands[0], own.known.bounds[operands[0]])
            low, high = z.lower.flatten(1)[:, columns], z.upper.flatten(1)[:, columns]
            below, above = _largest_gaps(own, node, low, high, columns)
            read = coefficients.flatten(2)[..., columns]
            off = read.clamp(min=0) * below[:, None] - read.clamp(max=0) * above[:, None]
            gaps[..., start : start + columns.numel()] += off
        return gaps


# Points of an interval at which lines are held against what they bound.
SAMPLES = 9
# A gap below a function counts less than one above: places move the line there, and often close it.
BELOW_PART = 0.3


def _largest_gaps(
    bounds: PartBounds, node: NodeId, low: Tensor, high: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the usual lines are from the function at most, below and above: (batch, columns)."""
    line = bounds.relaxations.lines[node]
    assert isinstance(line, LinearRelaxation)
    rule = bounds.known.compiled.rules[node]
    shares = torch.linspace(0.0, 1.0, SAMPLES, dtype=low.dtype)
    below = above = torch.zeros_like(low)
    parts = (line.lower_slope, line.upper_slope, line.upper_intercept)
    slope, above_slope, above_intercept = (p.flatten(1)[:, columns] for p in parts)
    if line.lower_intercept is None:
        intercept = torch.zeros_like(slope)
    else:
        intercept = line.lower_intercept.flatten(1)[:, columns]
    corners = [low + share * (high - low) for share in shares]
    corners.append(torch.zeros_like(low).clamp(low, high))
    for at in corners:
        value = rule.evaluate([at])
        below = below.maximum(value - slope * at - intercept)
        above = above.maximum(above_slope * at + above_intercept - value)
    return BELOW_PART * below, above

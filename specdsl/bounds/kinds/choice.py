"""What a nonlinear op leaves to choose: between sound relaxations, any mixture is sound as well.

A `Choice` belongs to a node and holds for all rows. A `Mixture` is one way of choosing, another at
every coefficient of every row: a place between the first relaxation and the last. Whatever the
places are, the rows they give are sound, since `c f(z)` is bounded by shares of `c` times bounds of
`f(z)`, and the shares of a place are not negative and add up to 1.

Source: for the slopes below a ReLU, Xu et al. 2021, arXiv:2011.13824.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import LinearRelaxation, Passed, Relaxation
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.bounds.rows.windows import WindowRows, Windows
from specdsl.certificates.part_records import SHARES
from specdsl.graph.ops import Shape


class RowsMoved(ValueError):
    """Rows read other entries than those that a mixture was made for."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which entries rows read: those of a whole value, or those in `windows`.

    `extents`: the shape of what one row reads.
    """

    extents: Shape
    windows: Windows | None

    @classmethod
    def of(cls, rows: Rows) -> Layout:
        """That of rows."""
        extents = tuple(rows.coefficients.shape[2:])
        return cls(extents, rows.windows if isinstance(rows, WindowRows) else None)

    def take(self, index: Tensor) -> Layout:
        """That of the rows at these positions."""
        if self.windows is None:
            return self
        return Layout(self.extents, self.windows.take(index))

    def require(self, rows: Rows) -> None:
        """Raise RowsMoved unless rows lie so: what was read for other entries is not sound."""
        own, other = self, Layout.of(rows)
        if own.windows is None or other.windows is None:
            alike = own.windows is other.windows
        else:
            alike = own.windows.same_as(other.windows)
        if not alike or own.extents != other.extents:
            raise RowsMoved("rows no longer lie as they did when their mixture was made")


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the rows of one walk stand at one node, to start from again.

    `values`: (batch, rows, *what a row reads), or (batch, rows, columns) of the entries at
    `columns` (row-major, ascending) alone. `windows`: what rows read, where that is not all.
    `slopes`: those below and above that these places are, as `values`, where that was asked for and
    places do not say it by themselves. `shares`: whether they do, being shares of two slopes.
    """

    values: Tensor
    columns: Tensor | None
    windows: Windows | None = None
    slopes: tuple[Tensor, Tensor] | None = None
    shares: bool = False

    @classmethod
    def of(cls, mixture: Mixture, *, with_slopes: bool = False) -> Places:
        """Where a mixture stands."""
        slopes = mixture.both_slopes() if with_slopes else None
        own = mixture.places, mixture.columns, mixture.layout.windows
        return cls(*own, slopes, shares=mixture.is_share)

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """Of rows one after the other, at one node."""
        values, windows, slopes = torch.cat([part.values for part in parts], 1), None, None
        if parts[0].windows is not None:
            windows = Windows.joined([part.windows for part in parts if part.windows is not None])
        if all(part.slopes is not None for part in parts):
            below, above = zip(*(part.slopes for part in parts if part.slopes), strict=True)
            slopes = torch.cat(below, 1), torch.cat(above, 1)
        return cls(values, parts[0].columns, windows, slopes, parts[0].shares)

    def take(self, index: Tensor) -> Places:
        """Of the regions at `index` (positions, which may repeat, or a mask)."""
        slopes = None if self.slopes is None else (self.slopes[0][index], self.slopes[1][index])
        return replace(self, values=self.values[index], slopes=slopes)

    def rows(self, index: Tensor) -> Places:
        """Of the rows at `index` (positions)."""
        windows = None if self.windows is None else self.windows.take(index)
        slopes = None
        if self.slopes is not None:
            slopes = self.slopes[0][:, index], self.slopes[1][:, index]
        return Places(self.values[:, index], self.columns, windows, slopes, self.shares)

    def to(self, like: Tensor) -> Places:
        """In another dtype."""
        return replace(self, values=self.values.to(like))

    @property
    def rounded(self) -> Places:
        """Shares as certificates hold them; any places are sound."""
        if not self.shares:
            return self
        return replace(self, values=(self.values.detach() * SHARES).round() / SHARES)


class Mixture(ABC):
    """Places of the rows of one walk at one node, which an ascent moves.

    `places`: from 0 to `last`, and `columns`: as in Places. `layout`: how the rows lie that it was
    made for. `is_share`: whether a place is a share of the way between two slopes below.
    """

    layout: Layout
    places: Tensor
    columns: Tensor | None = None
    last: float
    is_share: bool = False

    def start_at(self, start: Places) -> None:
        """Stand where others stood; entries that they had no places for stay where they are."""
        # Outside of these, places would not be sound.
        values = start.values.detach().nan_to_num(nan=0.0).clamp(0.0, self.last)
        own, other = self.columns, start.columns
        if own is None or other is None or torch.equal(own, other):
            self.places = values.expand_as(self.places).clone()
            return
        met = torch.isin(own, other)
        at = torch.searchsorted(other, own[met])
        self.places[..., met] = values[..., at].expand_as(self.places[..., met])

    @abstractmethod
    def through(self, rows: Rows) -> Passed:
        """Pass rows on, each coefficient by the relaxation at its place; differentiable.

        Raises RowsMoved where they do not read what the mixture was made for.
        """

    @abstractmethod
    def take(self, index: Tensor) -> None:
        """Go on with these rows only."""

    def both_slopes(self) -> tuple[Tensor, Tensor] | None:
        """Of the lines below and above that each coefficient takes; None where that is more than
        lines of one operand, or where places are shares of two slopes below and say it all.
        """
        return None


class Choice(Protocol):
    """What one node leaves to choose."""

    def mixture(self, rows: Rows, batch: int) -> Mixture:
        """For rows that reach the node in a batch of regions; it starts where CROWN stands."""
        ...

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> Choice:
        """The same for a graph that is rounded outward: see `Relaxation.flattened`."""
        ...

    def size(self, *operands: Tensor) -> Tensor:
        """Magnitudes that values are added up from, of all relaxations: see `Relaxation.size`."""
        ...


# Where along an interval lines are taken besides that at the midpoint. Mixtures of neighbours stand
# in for all lines between: of two tangents an eighth of the interval apart, they are off by 1/64 of
# what the chord is.
SHARES_AROUND = (0.0, 0.125, 0.25, 0.375, 0.625, 0.75, 0.875, 1.0)


# --- any relaxations ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ChainChoice:
    """Mixtures of neighbours in a chain. Place i is member i, i + 1/2 half of it and the next one.

    `start`: the member that CROWN takes.
    """

    members: Sequence[Relaxation]
    start: int

    def mixture(self, rows: Rows, batch: int) -> Mixture:
        """As Choice says."""
        lines = [m for m in self.members if isinstance(m, LinearRelaxation) and not m.unbounded]
        if len(lines) == len(self.members):
            return LineMixture(lines, self.start, rows, batch)
        return ChainMixture(self, rows, batch)

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> ChainChoice:
        """As Choice says."""
        return replace(self, members=[m.flattened(image, drift) for m in self.members])

    def size(self, *operands: Tensor) -> Tensor:
        """As Choice says."""
        return torch.stack([m.size(*operands) for m in self.members]).amax(0)


def around(relaxation: Relaxation, others: Sequence[Relaxation]) -> ChainChoice:
    """The relaxation in the middle of an even number of others."""
    half = len(others) // 2
    return ChainChoice((*others[:half], relaxation, *others[half:]), half)


class ChainMixture(Mixture):
    """Every member takes its share of the coefficients."""

    def __init__(self, choice: ChainChoice, rows: Rows, batch: int) -> None:
        self.layout = Layout.of(rows)
        self.members = choice.members
        self.last = len(choice.members) - 1.0
        shape = (batch, *rows.coefficients.shape[1:])
        self.places = rows.coefficients.new_full(shape, float(choice.start))

    def through(self, rows: Rows) -> Passed:
        """As Mixture says."""
        self.layout.require(rows)
        passed: list[Passed] = []
        for i, member in enumerate(self.members):
            share = (1 - (self.places - i).abs()).clamp(min=0)
            passed.append(member.through(rows.having(rows.coefficients * share)))
        operands = zip(*(p.rows for p in passed), strict=True)
        # All members read alike, so their rows lie alike.
        totals = tuple(
            parts[0].having(torch.stack([part.coefficients for part in parts]).sum(0))
            for parts in operands
        )
        return Passed(totals, torch.stack([p.constant for p in passed]).sum(0))

    def take(self, index: Tensor) -> None:
        """As Mixture says."""
        self.layout = self.layout.take(index)
        self.places = self.places[:, index]


class LineMixture(Mixture):
    """Of lines: one line between two neighbours for each coefficient.

    `slopes`, `intercepts`: of the lines below, then of those above, as rows read them:
    (2 members, batch, rows or 1, *what a row reads).
    """

    def __init__(
        self, members: Sequence[LinearRelaxation], start: int, rows: Rows, batch: int
    ) -> None:
        self.layout = Layout.of(rows)
        self.count = len(members)
        self.last = self.count - 1.0
        shape = (batch, *rows.coefficients.shape[1:])
        self.places = rows.coefficients.new_full(shape, float(start))
        slopes = [*(m.lower_slope for m in members), *(m.upper_slope for m in members)]
        below = [
            torch.zeros_like(m.lower_slope) if m.lower_intercept is None else m.lower_intercept
            for m in members
        ]
        intercepts = [*below, *(m.upper_intercept for m in members)]
        self.slopes = torch.stack([rows.read(slope) for slope in slopes])
        self.intercepts = torch.stack([rows.read(intercept) for intercept in intercepts])

    def through(self, rows: Rows) -> Passed:
        """As Mixture says."""
        self.layout.require(rows)
        coefficients = rows.coefficients
        before = self.places.detach().floor().clamp(max=self.last - 1)
        first = before.long() + self.count * (coefficients < 0)
        share = self.places - before
        passed = coefficients * _between(self.slopes, first, share)
        constant = coefficients * _between(self.intercepts, first, share)
        return Passed((rows.having(passed),), constant.flatten(2).sum(2))

    def both_slopes(self) -> tuple[Tensor, Tensor]:
        """As Mixture says."""
        before = self.places.detach().floor().clamp(max=self.last - 1)
        share, first = self.places.detach() - before, before.long()
        above = _between(self.slopes, first + self.count, share)
        return _between(self.slopes, first, share), above

    def take(self, index: Tensor) -> None:
        """As Mixture says."""
        self.layout = self.layout.take(index)
        self.places = self.places[:, index]
        self.slopes, self.intercepts = (
            t if t.shape[2] == 1 else t[:, :, index] for t in (self.slopes, self.intercepts)
        )


def _between(table: Tensor, first: Tensor, share: Tensor) -> Tensor:
    """From entry `first` of the table's axis 0 so far towards the next one."""
    table = table.expand(-1, *share.shape)
    low, high = (table.gather(0, (first + i)[None])[0] for i in range(2))
    return low + share * (high - low)


# --- slopes of lines through 0 --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class SlopeChoice:
    """Below, all lines through 0 with slopes from `first` to `second`; above, one line.

    That is what a convex function leaves that has its only corner at 0. Shapes: (batch, *shape),
    with the relaxation's own slope between the two.
    """

    relaxation: LinearRelaxation
    first: Tensor
    second: Tensor

    def mixture(self, rows: Rows, batch: int) -> SlopeMixture:
        """As Choice says."""
        return SlopeMixture(self, rows, batch)

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> ChainChoice:
        """As Choice says."""
        one, two = (
            replace(self.relaxation, lower_slope=slope, lower_intercept=None)
            for slope in (self.first, self.second)
        )
        return ChainChoice((one, self.relaxation, two), 1).flattened(image, drift)

    def size(self, *operands: Tensor) -> Tensor:
        """As Choice says."""
        steepest = torch.stack([self.first.abs(), self.second.abs()]).amax(0)
        return torch.maximum(self.relaxation.size(*operands), steepest * operands[0])


class SlopeMixture(Mixture):
    """Places of rows on whole values are those of the entries that are unstable in some region:
    (batch, rows, unstable). Rows in windows see other entries each, and have places for all.

    What rows read of the slopes is kept: all steps of an ascent read the same.
    """

    is_share = True

    def __init__(self, choice: SlopeChoice, rows: Rows, batch: int) -> None:
        relaxation = choice.relaxation
        change = choice.second - choice.first
        start = (relaxation.lower_slope - choice.first) / change.where(change != 0, 1.0)
        self.layout = Layout.of(rows)
        self.last = 1.0
        self.first = rows.read(choice.first)
        self.above = rows.read(relaxation.upper_slope)
        self.intercept = rows.read(relaxation.upper_intercept)
        places, self.change = rows.read(start.clamp(0, 1)), rows.read(change)
        if isinstance(rows, DenseRows):
            self.columns = (change != 0).flatten(1).any(0).nonzero()[:, 0]
            places, self.change = self.moving(places), self.moving(self.change)
        self.places = places.expand(batch, rows.count, *places.shape[2:]).clone()

    def moving(self, read: Tensor) -> Tensor:
        """Of what rows read, the part that has places."""
        return read if self.columns is None else read.flatten(2)[..., self.columns]

    def slopes(self, positive: Tensor) -> Tensor:
        """The slope for every coefficient, given which of them are positive."""
        moved = self.places * self.change
        if self.columns is None:
            return (self.first + moved).where(positive, self.above)
        slopes = self.first.where(positive, self.above)
        moved = moved * self.moving(positive)
        return slopes.flatten(2).index_add(2, self.columns, moved).reshape(slopes.shape)

    def through(self, rows: Rows) -> Passed:
        """As Mixture says."""
        self.layout.require(rows)
        coefficients = rows.coefficients
        if self.above.requires_grad or self.first.requires_grad:
            passed = coefficients * self.slopes(coefficients > 0)
            constant = (coefficients.clamp(max=0) * self.intercept).flatten(2).sum(2)
        else:
            passed, constant = _PassSlopes.apply(coefficients, self.places, self)
        return Passed((rows.having(passed),), constant)

    def take(self, index: Tensor) -> None:
        """As Mixture says."""
        self.layout = self.layout.take(index)
        self.places = self.places[:, index]
        self.first, self.change, self.above, self.intercept = (
            t if t.shape[1] == 1 else t[:, index]
            for t in (self.first, self.change, self.above, self.intercept)
        )


class _PassSlopes(torch.autograd.Function):
    """Positive coefficients times the slope at their place, negative ones times the slope above,
    and what intercepts add to the constants.

    Written out with its derivative: in single operations it takes twice the time and thrice the
    memory, and besides convolutions no step of an ascent takes more of either.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, coefficients: Tensor, places: Tensor, mixture: SlopeMixture
    ) -> tuple[Tensor, Tensor]:
        positive = coefficients > 0
        slopes = mixture.slopes(positive)
        offset = mixture.intercept.masked_fill(positive, 0.0)
        ctx.save_for_backward(coefficients, positive, slopes, offset)
        ctx.mixture = mixture
        return coefficients * slopes, (coefficients * offset).flatten(2).sum(2)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, passed: Tensor, constant: Tensor
    ) -> tuple[Tensor | None, ...]:
        coefficients, positive, slopes, offset = ctx.saved_tensors
        mixture: SlopeMixture = ctx.mixture
        part = mixture.moving
        at_places = part(passed) * part(coefficients) * mixture.change * part(positive)
        if not ctx.needs_input_grad[0]:
            return None, at_places, None
        each = constant.reshape(*constant.shape, *(1 for _ in offset.shape[2:]))
        at_rows = torch.addcmul(passed * slopes, each, offset)
        return at_rows.sum_to_size(coefficients.shape), at_places, None

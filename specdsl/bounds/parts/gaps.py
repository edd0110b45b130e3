"""How much relaxations take off the bounds of rows, entry by entry: what splitting could give back.

Source, for ReLUs: Bunel et al. 2020, arXiv:1909.06588.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.maximum import GroupRelaxation
from specdsl.bounds.kinds.nonlinear import NonlinearRule
from specdsl.bounds.kinds.relaxation import LinearRelaxation, PlaneRelaxation, Relaxation
from specdsl.bounds.parts.known import Known, Reading
from specdsl.graph.graph import NodeId

# Points of an interval at which lines are held against what they bound.
SAMPLES = 9
# A gap below a function counts less than one above: places move the line there, and often close it.
# In full, 256x4 networks of mnist_fc are searched worse (docs/performance.md).
BELOW_PART = 0.3
# Of the largest of its ends, how wide an interval must be to be cut once more: below, halves are
# hardly distinct numbers, and what relaxations take off is rounding.
LEAST_WIDTH = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """What matters of entries to rows, (batch, rows, entries) each.

    `off`: how much relaxations take off a row at most. `spans`: widths of entries' intervals times
    the sizes of rows' coefficients where they are read; 0 where `off` is.
    """

    off: Tensor
    spans: Tensor

    @property
    def of_parts(self) -> Gaps:
        """The largest of all rows: (batch, entries)."""
        return Gaps(self.off.amax(1), self.spans.amax(1))


def gaps(
    known: Known,
    bounds: Mapping[NodeId, Interval],
    lines: Mapping[NodeId, Relaxation],
    coefficients: Mapping[NodeId, Tensor],
    like: Tensor,
) -> Gaps:
    """How far the usual lines of ops that read an entry may be off, times rows' coefficients there.

    `bounds`: of the nodes that are narrower than on the whole region; `coefficients`: of rows at
    nonlinear nodes, (batch, rows, *node). `like` (batch, rows): what results are shaped by. Where a
    relaxation depends on several entries, its gap counts for each of them: cutting any makes it
    smaller.
    """
    found = like.new_zeros(*like.shape, known.entries.count)
    read = torch.zeros_like(found)
    for node, passing in coefficients.items():
        line = lines[node]
        operands = [bounds.get(o, known.bounds[o]) for o in known.compiled.graph.operands(node)]
        for reading in known.readings.get(node, ()):
            rule = known.compiled.rules[node]
            flat = passing.flatten(2)
            places, off = _off(rule, line, operands, reading, flat)
            numbers = reading.numbers[places]
            counts = numbers >= 0
            shape = (*like.shape, numbers.shape[-1])
            off = off.masked_fill(~counts[:, None], 0.0).expand(shape)
            at = numbers.clamp(min=0)[:, None].expand(shape)
            found.scatter_add_(2, at, off)
            if flat.shape[2] == reading.numbers.numel():
                size = flat[..., (reading.numbers >= 0)].abs().expand(*like.shape, -1)
                own = reading.numbers[reading.numbers >= 0].expand(size.shape)
                read.scatter_add_(2, own, size)
    if known.entries.count == 0:
        return Gaps(found, read)
    ends = known.entries.pick({n: bounds.get(n, known.bounds[n]) for n in known.entries.nodes})
    size = torch.maximum(ends.lower.abs(), ends.upper.abs())
    width = ends.upper - ends.lower
    found = found.masked_fill((width <= LEAST_WIDTH * size)[:, None], 0.0)
    # Of maxima, whose values are not laid out as what they read, gaps are all that is known.
    spans = (read * width[:, None]).where(read > 0, found)
    return Gaps(found, spans.masked_fill(found == 0, 0.0))


def _off(
    rule: NonlinearRule,
    line: Relaxation,
    operands: list[Interval],
    reading: Reading,
    passing: Tensor,
) -> tuple[Tensor, Tensor]:
    """Places in an operand, (batch or 1, places), and what the relaxation takes off rows there:
    (batch, rows, places).
    """
    if isinstance(line, GroupRelaxation):
        return _off_maximum(line, operands[0], passing)
    places = (reading.numbers >= 0).nonzero()[:, 0]
    ends = [_at(z, places) for z in operands]
    if isinstance(line, LinearRelaxation):
        below, above = _largest(rule, line, ends[0], places)
    elif isinstance(line, PlaneRelaxation):
        below, above = _at_middles(line, ends[0], ends[1], places)
    else:
        raise AssertionError(f"no gap is known of {type(line).__name__}")
    return places[None], _taken(passing[..., places], below, above)


def _at(z: Interval, places: Tensor) -> Interval:
    return Interval(z.lower.flatten(1)[:, places], z.upper.flatten(1)[:, places])


def _taken(passing: Tensor, below: Tensor, above: Tensor) -> Tensor:
    return passing.clamp(min=0) * below[:, None] - passing.clamp(max=0) * above[:, None]


def _at_middles(
    line: PlaneRelaxation, x: Interval, y: Interval, places: Tensor
) -> tuple[Tensor, Tensor]:
    """How far planes are from a product at the middle of the rectangle, where all mixtures of the
    best planes are equally far: a quarter of both widths multiplied.
    """
    planes = (
        (line.lower_x, line.lower_y, line.lower_intercept),
        (line.upper_x, line.upper_y, line.upper_intercept),
    )
    product = x.center * y.center
    low, high = (
        along_x.flatten(1)[:, places] * x.center
        + along_y.flatten(1)[:, places] * y.center
        + intercept.flatten(1)[:, places]
        for along_x, along_y, intercept in planes
    )
    return (product - low).clamp(min=0), (high - product).clamp(min=0)


def _off_maximum(line: GroupRelaxation, x: Interval, passing: Tensor) -> tuple[Tensor, Tensor]:
    """For the member below and the two above of every group. Shapes: as of `_off`."""
    lower, upper = x.lower.flatten(1), x.upper.flatten(1)

    def at(values: Tensor, places: Tensor) -> Tensor:
        batch = max(len(values), len(places))
        return values.expand(batch, -1).gather(1, places.expand(batch, -1))

    middle = (lower + upper) / 2
    first, second = at(middle, line.first), at(middle, line.second)
    plane = line.first_slope * first + line.second_slope * second + line.intercept
    above = (plane - torch.maximum(first, second)).clamp(min=0)
    other = at(upper, line.first).where(line.below != line.first, at(upper, line.second))
    below = BELOW_PART * (other - at(lower, line.below)).clamp(min=0)
    exact = line.is_exact
    taken = _taken(passing, below.masked_fill(exact, 0.0), above.masked_fill(exact, 0.0))
    places = torch.cat([line.below, line.first, line.second], 1)
    return places, torch.cat([taken, taken, taken], 2)


def _largest(
    rule: NonlinearRule, line: LinearRelaxation, z: Interval, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the lines are from the function at most, below and above: (batch, columns)."""
    parts = (line.lower_slope, line.upper_slope, line.upper_intercept)
    slope, above_slope, above_intercept = (p.flatten(1)[:, columns] for p in parts)
    if line.lower_intercept is None:
        intercept = torch.zeros_like(slope)
    else:
        intercept = line.lower_intercept.flatten(1)[:, columns]
    shares = torch.linspace(0.0, 1.0, SAMPLES, dtype=z.lower.dtype)
    points = [z.lower + share * (z.upper - z.lower) for share in shares]
    points.append(torch.zeros_like(z.lower).clamp(z.lower, z.upper))
    below = above = torch.zeros_like(z.lower)
    for at in points:
        value = rule.evaluate([at])
        below = below.maximum(value - slope * at - intercept)
        above = above.maximum(above_slope * at + above_intercept - value)
    return BELOW_PART * below, above

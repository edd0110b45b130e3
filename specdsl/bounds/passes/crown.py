"""Backward linear bounds (CROWN), batched over input regions and over rows.

A row is a linear function of some node's value. Walking the graph backwards, every nonlinear op on
the way is replaced by the linear function below or above it that fits the sign of the coefficient,
until the row is a linear function of the input that lies below it on the whole region.

Source: Zhang et al. 2018, arXiv:1811.00866; for general graphs Xu et al. 2020, arXiv:2002.12920.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds import outward
from specdsl.bounds.compiled import CompiledGraph, picks_entries
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.kinds.relaxation import Passed, Relaxation
from specdsl.bounds.outward import Outward
from specdsl.bounds.passes.forward import interval_step
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.bounds.rows.backward import AtInput, Meet, Through, entry_bounds, least, walk
from specdsl.bounds.rows.rows import DenseRows, Rows, entries
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class LinearLower:
    """`coefficients . x + constant <= row(x)` on the region; `lower` is its least value there.

    Shapes: coefficients (batch, rows, inputs), constant and lower (batch, rows).
    """

    coefficients: Tensor
    constant: Tensor
    lower: Tensor


# Rows are bounded in chunks so that their coefficients on one value stay below this many entries
# (4 MiB of float64): beyond that, every step waits for memory.
MAX_COEFFICIENTS = 2**19


@dataclass(frozen=True, slots=True, eq=False)
class Relaxations(Mapping[NodeId, Relaxation]):
    """The relaxation of every nonlinear node on a batch of regions.

    `sizes`, of delicate graphs: of every node but the input, the magnitudes that a backward step
    through it adds up, (batch or 1, *shape). `unbounded`: where some of these are infinite.
    """

    lines: dict[NodeId, Relaxation] = field(default_factory=dict[NodeId, Relaxation])
    sizes: dict[NodeId, Tensor] = field(default_factory=dict[NodeId, Tensor])
    unbounded: set[NodeId] = field(default_factory=set[NodeId])

    def __getitem__(self, node: NodeId) -> Relaxation:
        return self.lines[node]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def rows_per_chunk(compiled: CompiledGraph, batch: int) -> int:
    """How many rows of whole values to walk back at a time."""
    widest = max(prod(shape) for shape in compiled.graph.shapes.values())
    return max(1, MAX_COEFFICIENTS // (batch * widest))


def lower_rows(
    compiled: CompiledGraph,
    node: NodeId,
    rows: Tensor,
    region: InputRegion,
    relaxations: Relaxations,
) -> LinearLower:
    """Linear lower bounds of `rows . value(node)`.

    Shapes: rows (batch or 1, rows, *shape of node). `relaxations` holds every nonlinear op between
    the input and `node`. In a delicate graph, rows are lowered by what rounding may have added, and
    one that nothing bounds gets coefficients 0 and a constant of -inf.
    """
    return linear_lower(walk_below(compiled, node, DenseRows(rows), region, relaxations), region)


def linear_lower(found: AtInput, region: InputRegion) -> LinearLower:
    """Rows at the input as linear functions of it, with their least values."""
    batch, count = region.batch, found.constant.shape[1]
    if found.rows is None:
        flat = found.constant.new_zeros(1, count, region.box.lower.shape[1])
    else:
        flat = found.rows.dense().flat
    lower = region.minimum(flat) + found.constant
    return LinearLower(flat.expand(batch, -1, -1), found.constant.expand(batch, -1), lower)


def walk_below(  # noqa: PLR0913, PLR0917 - two hooks besides what a walk is
    compiled: CompiledGraph,
    node: NodeId,
    rows: Rows,
    region: InputRegion,
    relaxations: Relaxations,
    through: Through | None = None,
    meet: Meet | None = None,
) -> AtInput:
    """Rows below, by the relaxations; in a delicate graph lowered by what rounding may add.

    Windows change nothing there: what they leave out are terms that are 0, and so is their error.
    `through`: how nonlinear ops are passed where not by the relaxations' own lines, whose `sizes`
    must cover it. `meet`: as `walk` takes it; rounding of what it adds to constants is not covered.
    """

    def by_lines(current: NodeId, passing: Rows) -> Passed:
        return relaxations.lines[current].through(passing)

    rounding = compiled.outward
    through = by_lines if through is None else through
    if rounding is None:
        return walk(compiled, node, rows, through, meet=meet)

    def toll(current: NodeId, passing: Rows) -> Tensor:
        # Entries that only move are charged where they come from, at the same values.
        if isinstance(compiled.graph.op(current), ops.Reshape | ops.Transpose):
            return passing.coefficients.new_zeros(1, 1)
        sizes = passing.having(passing.coefficients.abs())
        unbounded = current in relaxations.unbounded
        met = relaxations.sizes[current]
        return rounding.part * (sizes.at_unbounded(met) if unbounded else sizes.at(met))

    return _known(rounding, walk(compiled, node, rows, through, toll, meet), region)


def _known(rounding: Outward, found: AtInput, region: InputRegion) -> AtInput:
    """The rows, lowered by what rounding at the input may add; where nothing is known, unbounded.

    NaN and infinities come from ops without a bound on their region; neither may go any further.
    """
    constant = found.constant
    if found.rows is None:
        return replace(found, constant=constant.masked_fill(~constant.isfinite(), -torch.inf))
    flat = found.rows.dense().flat
    # The dual of a ball errs by more than sums over a box do.
    part = rounding.part if region.balls is None else ROUNDING_PART
    constant = constant - part * (flat.abs() @ region.farthest[:, :, None])[..., 0]
    # An infinite coefficient makes the sum infinite, whatever the input.
    unknown = ~(constant + flat.sum(2)).isfinite()
    flat = flat.masked_fill(unknown[..., None], 0.0)
    return AtInput(DenseRows(flat), constant.masked_fill(unknown, -torch.inf), found.size)


@dataclass(frozen=True, slots=True, eq=False)
class AffineRows:
    """Which rows are linear functions of the input, and those functions (of the others, a part).

    Shapes: coefficients (rows, inputs), constant and is_affine (rows,).
    """

    coefficients: Tensor
    constant: Tensor
    is_affine: Tensor


def affine_rows(compiled: CompiledGraph, node: NodeId, rows: Tensor) -> AffineRows:
    """The rows (1, rows, *shape of node) of `node` that no nonlinear op takes part in."""
    is_affine = torch.ones(rows.shape[1], dtype=torch.bool, device=rows.device)

    def through(_: NodeId, passing: Rows) -> Passed:
        is_affine.logical_and_(entries(passing.coefficients == 0, 2).all(2)[0])
        return Passed((), rows.new_zeros(1, 1))

    found = walk(compiled, node, DenseRows(rows), through)
    if found.rows is None:
        flat = rows.new_zeros(rows.shape[1], compiled.graph.size(compiled.graph.input))
    else:
        flat = found.rows.dense().flat[0]
    return AffineRows(flat, found.constant[0], is_affine)


@dataclass(frozen=True, slots=True, eq=False)
class Propagated:
    """Interval bounds of every node of a graph on a region, and relaxations of nonlinear nodes.

    `coarse`: the nodes that kept looser bounds because too many of their entries were unstable to
    be bounded backward, and how many were; `unraised`: those of which some entries were not raised
    any further for lack of time; `raised`: how the others were, in the order of that.
    """

    bounds: Mapping[NodeId, Interval]
    relaxations: Relaxations
    coarse: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    unraised: Mapping[NodeId, int] = field(default_factory=dict[NodeId, int])
    raised: tuple[RaisedEntries, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RaisedEntries:
    """How rows of some entries (row-major) of a node, and then of their negatives, were raised."""

    node: NodeId
    entries: Tensor
    places: Mapping[NodeId, Places]


class EntryEnds(Protocol):
    """A way of bounding some entries (row-major) of a node on each region: (batch, entries).

    `bounds` and `relaxations` are those of the nodes before.
    """

    def __call__(
        self,
        node: NodeId,
        entries: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
        /,
    ) -> Interval:
        """The ends."""
        ...


def propagate(  # noqa: PLR0913 - what varies between passes, each with a default
    compiled: CompiledGraph,
    region: InputRegion,
    *,
    tighten: bool = True,
    known: Mapping[NodeId, Interval] | None = None,
    checked: bool = False,
    deadline: Deadline = FOREVER,
    ends: EntryEnds | None = None,
) -> Propagated:
    """Bounds on every node, inputs first.

    Intervals come first; with `tighten`, pre-activations that intervals leave unstable somewhere in
    the batch are bounded backward as well, and both are intersected. `known` holds bounds that are
    valid already (from an enclosing region) and are intersected too. `ends` bounds the entries that
    are tightened, by `entry_ends` where nothing else is given.

    Raises EmptyInterval where something is NaN, Unsupported where an op may have no value (the
    logarithm of what may be negative). With `checked`, the regions are parts of one that passed
    this: bounds that are looser all the same are infinite then. Raises OutOfTime where the deadline
    passes before bounds are as tight as they were meant to be.
    """
    graph = compiled.graph
    bounds: dict[NodeId, Interval] = {}
    relaxations = Relaxations()

    def by_crown(
        node: NodeId, wanted: Tensor, _: Mapping[NodeId, Interval], relaxations: Relaxations
    ) -> Interval:
        return entry_ends(compiled, node, wanted, region, relaxations, deadline)

    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            bounds[node] = region.interval(op.extent)
            continue
        rule = compiled.rules.get(node)
        if rule is not None and not checked:
            rule.require_domain([bounds[o] for o in operands])
        bounds[node] = interval_step(compiled, node, bounds, region.batch)
        if rule is not None:
            relaxations.lines[node] = rule.relax([bounds[o] for o in operands])
        if compiled.outward is not None:
            _round_outward(compiled, compiled.outward, node, bounds, relaxations)
        if known is not None and node in known:
            bounds[node] = bounds[node].intersect(known[node])
        if node not in compiled.sources:
            continue
        # One op on the input box is bounded exactly by intervals; a box that is cut is not.
        settled = region.is_box and len(operands) == 1 and operands[0] in compiled.boxes
        if tighten and not settled:
            bounds[node] = _tighten(compiled, node, bounds, relaxations, ends or by_crown)
    return Propagated(bounds, relaxations)


def _round_outward(
    compiled: CompiledGraph,
    rounding: Outward,
    node: NodeId,
    bounds: Mapping[NodeId, Interval],
    relaxations: Relaxations,
) -> None:
    """Note what backward steps through the node add up; lines that drown in it become constant."""
    if node in compiled.constants:
        relaxations.sizes[node] = compiled.constants[node].abs()
        return
    sizes = [outward.magnitude(bounds[o]) for o in compiled.graph.operands(node)]
    rule = compiled.rules.get(node)
    if rule is None:
        found = outward.affine_size(compiled.kernels[node], sizes)
    else:
        drift = tuple(rounding.part * size for size in sizes)
        lines = relaxations.lines[node].flattened(bounds[node], drift)
        relaxations.lines[node] = lines
        found = lines.size(*sizes) if rule.is_delicate else rule.size(sizes)
    relaxations.sizes[node] = found.masked_fill(found.isnan(), torch.inf)
    if not bool(found.isfinite().all()):
        relaxations.unbounded.add(node)


def _tighten(
    compiled: CompiledGraph,
    node: NodeId,
    bounds: Mapping[NodeId, Interval],
    relaxations: Relaxations,
    ends: EntryEnds,
) -> Interval:
    """Backward bounds for the entries of `node` that are unstable somewhere in the batch."""
    known = bounds[node]
    unstable = entries(unstable_in(compiled, node, known), 1).any(0).nonzero()[:, 0]
    if unstable.numel() == 0:
        return known
    found = ends(node, unstable, bounds, relaxations)
    lower, upper = entries(known.lower, 1).clone(), entries(known.upper, 1).clone()
    lower[:, unstable], upper[:, unstable] = found.lower, found.upper
    shape = known.lower.shape
    return known.intersect(Interval(lower.reshape(shape), upper.reshape(shape)))


def entry_ends(
    compiled: CompiledGraph,
    node: NodeId,
    entries: Tensor,
    region: InputRegion,
    relaxations: Relaxations,
    deadline: Deadline = FOREVER,
) -> Interval:
    """Backward bounds of some entries (row-major) of a node: (batch, entries).

    Ends that cross by rounding alone are swapped.
    """

    def bound(start: NodeId, rows: Rows) -> tuple[Tensor, int]:
        deadline.check()
        found = walk_below(compiled, start, rows, region, relaxations)
        return least(found, region), found.size

    ends = entry_bounds(compiled, node, entries, bound, region.batch, MAX_COEFFICIENTS)
    return Interval(torch.minimum(*ends), torch.maximum(*ends))


def unstable_in(compiled: CompiledGraph, node: NodeId, bounds: Interval) -> Tensor:
    """Which entries some nonlinear op reads, itself or picked by another op, and could use tighter:
    (batch, *shape).
    """
    unstable = torch.zeros_like(bounds.lower, dtype=torch.bool)
    for reader in compiled.graph.readers(node):
        rule = compiled.rules.get(reader)
        if rule is not None:
            unstable |= rule.unstable(bounds)
        elif picks_entries(compiled.graph.op(reader)):
            kernel = compiled.kernels[reader]
            picked = Interval(kernel.apply(0, bounds.lower), kernel.apply(0, bounds.upper))
            found = unstable_in(compiled, reader, picked).to(bounds.lower.dtype)
            unstable |= kernel.transpose(0, found) > 0
    return unstable

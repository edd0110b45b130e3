"""Forward linear bounds: every node between two linear functions of the input.

Like a zonotope whose generators are the inputs: the functions below and above a node are carried
forward, through affine ops by the signs of the weights, through nonlinear ops by their linear
relaxation. What is carried grows with the number of inputs that vary, not with the depth or the
number of rows: the cheaper way where few inputs vary.

Source: Xu et al. 2020, arXiv:2002.12920, section 3.1 (forward mode); for ReLU networks Weng et al.
2018, arXiv:1804.09699.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import singledispatch

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds import outward
from specdsl.bounds.affine import AffineKernel, RearrangeKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.forward import interval_step
from specdsl.bounds.interval import Interval
from specdsl.bounds.maximum import GroupRelaxation
from specdsl.bounds.merging import interval_rows, known_or_unbounded, merge_rows, row_ends
from specdsl.bounds.outward import Outward
from specdsl.bounds.region import ROUNDING_PART, InputRegion
from specdsl.bounds.relaxation import LinearRelaxation, PlaneRelaxation, Relaxation
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape

# Coefficients at the widest node, of as many regions as are bounded at a time, stay below this many
# (128 MiB of float64) where one region alone does; so do those that balls are asked about.
MAX_COEFFICIENTS = 2**24
# Halves of sums and differences of two functions add up twice what either does.
BOTH_ENDS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LinearFunction:
    """`coefficients . x[columns] + constant`, for every entry of a node.

    Shapes: coefficients (batch or 1, columns, *shape), constant (batch or 1, *shape).
    """

    coefficients: Tensor
    constant: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LinearBounds:
    """`lower(x) <= node(x) <= upper(x)` on the region; one and the same function where exact."""

    lower: LinearFunction
    upper: LinearFunction

    @property
    def is_exact(self) -> bool:
        """Whether the node is that linear function."""
        return self.lower is self.upper


@dataclass(frozen=True, slots=True, eq=False)
class ForwardBounds:
    """Intervals of every node, and linear bounds of those that rows of the output end at.

    `columns`: the inputs that vary somewhere in the batch, which coefficients speak of.
    """

    bounds: Mapping[NodeId, Interval]
    linear: Mapping[NodeId, LinearBounds]
    columns: Tensor


def forward_bounds(
    compiled: CompiledGraph, region: InputRegion, *, checked: bool = False
) -> ForwardBounds:
    """Linear bounds node by node, inputs first, each concretised and intersected with intervals.

    Memory: (batch, varying inputs) coefficients for each entry of the nodes still to be read.
    Raises EmptyInterval where something is NaN, Unsupported where an op may have no value (not with
    `checked`, for parts of a region that passed) or its relaxation has no rule here.
    """
    step = _Pass(compiled, region, _varying(region))
    bounds: dict[NodeId, Interval] = {}
    linear: dict[NodeId, LinearBounds] = {}
    last_reader = _last_readers(compiled)
    kept = row_ends(compiled)
    for position, (node, op, operands) in enumerate(compiled.graph):
        if isinstance(op, ops.Input):
            bounds[node], linear[node] = region.interval(op.extent), step.at_input(op.extent)
            continue
        rule = compiled.rules.get(node)
        if rule is not None and not checked:
            rule.require_domain([bounds[o] for o in operands])
        bounds[node] = interval_step(compiled, node, bounds, region.batch)
        linear[node] = step.linear(node, bounds, linear)
        if not isinstance(compiled.kernels.get(node), RearrangeKernel):
            bounds[node] = bounds[node].intersect(step.concretised(linear[node], bounds[node]))
        for operand in operands:
            if last_reader[operand] == position and operand not in kept:
                linear.pop(operand, None)
    return ForwardBounds(bounds, {node: linear[node] for node in kept}, step.columns)


def forward_lower(compiled: CompiledGraph, rows: Tensor, region: InputRegion) -> Tensor:
    """Lower bounds of `rows . output`, rows merged with the last affine ops; never looser than
    intervals. Regions are taken some at a time, so that memory is bounded where one fits.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows). Raises as `forward_bounds`.
    """
    columns = _varying(region).numel()
    widest = max(compiled.graph.size(node) for node in compiled.graph.order)
    at_a_time = max(1, MAX_COEFFICIENTS // (columns * widest))
    if region.batch <= at_a_time:
        return _rows_lower(compiled, rows, region)
    places = torch.arange(region.batch, device=rows.device)
    found = [
        _rows_lower(compiled, rows if len(rows) == 1 else rows[part], region.take(part))
        for part in places.split(at_a_time)
    ]
    return torch.cat(found)


def _rows_lower(compiled: CompiledGraph, rows: Tensor, region: InputRegion) -> Tensor:
    found = forward_bounds(compiled, region)
    merged = merge_rows(compiled, rows, found.bounds)
    step = _Pass(compiled, region, found.columns)
    coefficients = rows.new_zeros(1, rows.shape[1], found.columns.numel())
    constant = merged.constant
    for node, weights in merged.coefficients.items():
        ends = found.linear[node]
        passed = _rows_of(weights, ends)
        coefficients = coefficients + passed.coefficients
        constant = constant + passed.constant
        if compiled.outward is not None:
            size = BOTH_ENDS * step.size(ends, found.bounds[node])
            constant = constant - compiled.outward.part * _times(weights.abs(), size)
    # The rows count as entries of a node.
    function = LinearFunction(coefficients.transpose(1, 2), constant)
    lower = known_or_unbounded(compiled, step.least(function))
    return torch.maximum(lower, interval_rows(compiled, rows, region, found.bounds))


def _rows_of(weights: Tensor, ends: LinearBounds) -> LinearFunction:
    """The function below `weights . node`: coefficients (batch, rows, columns)."""
    one, other = ends.lower, ends.upper
    if ends.is_exact:
        return LinearFunction(_times(weights, one.coefficients), _times(weights, one.constant))
    positive = weights.clamp(min=0)
    negative = weights - positive
    return LinearFunction(
        _times(positive, one.coefficients) + _times(negative, other.coefficients),
        _times(positive, one.constant) + _times(negative, other.constant),
    )


def _times(weights: Tensor, value: Tensor) -> Tensor:
    """(batch or 1, rows, *shape) with (batch or 1, [columns], *shape) to (batch or 1, rows,
    [columns]). What is infinite makes NaN, which `known_or_unbounded` turns into -inf.
    """
    if value.ndim == weights.ndim:
        return weights.flatten(2) @ value.flatten(2).transpose(1, 2)
    return (weights.flatten(2) @ value.flatten(1)[:, :, None])[..., 0]


def _varying(region: InputRegion) -> Tensor:
    """Positions of the inputs that vary in some region; at least one, for the shapes' sake."""
    varies = (region.box.lower < region.box.upper).any(0)
    found = varies.nonzero()[:, 0]
    return found if found.numel() else torch.zeros(1, dtype=torch.int64, device=varies.device)


def _last_readers(compiled: CompiledGraph) -> dict[NodeId, int]:
    """Position of the last node that reads each node."""
    return {
        operand: position
        for position, (_, _, operands) in enumerate(compiled.graph)
        for operand in operands
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """What all steps of one pass share."""

    compiled: CompiledGraph
    region: InputRegion
    columns: Tensor

    def at_input(self, shape: Shape) -> LinearBounds:
        """The input itself: a column for each entry that varies, the others fixed."""
        lower = self.region.box.lower
        count = self.columns.numel()
        places = torch.arange(count, device=lower.device)
        coefficients = lower.new_zeros(1, count, lower.shape[1])
        coefficients[0, places, self.columns] = 1.0
        varies = torch.zeros_like(lower[0], dtype=torch.bool)
        varies[self.columns] = True
        function = LinearFunction(
            coefficients.reshape(1, count, *shape),
            lower.masked_fill(varies, 0.0).reshape(-1, *shape),
        )
        return LinearBounds(function, function)

    def linear(
        self,
        node: NodeId,
        bounds: Mapping[NodeId, Interval],
        linear: Mapping[NodeId, LinearBounds],
    ) -> LinearBounds:
        """Linear bounds of a node (not an input) from those of its operands."""
        compiled = self.compiled
        operands = compiled.graph.operands(node)
        if node in compiled.constants:
            value = compiled.constants[node]
            count = self.columns.numel()
            function = LinearFunction(value.new_zeros(1, count, *value.shape[1:]), value)
            size, found = value.abs(), LinearBounds(function, function)
        elif node in compiled.kernels:
            kernel = compiled.kernels[node]
            found = through_affine(kernel, [linear[o] for o in operands])
            size = None
            if compiled.outward is not None:
                sizes = [self.size(linear[o], bounds[o]) for o in operands]
                size = BOTH_ENDS * outward.affine_size(kernel, sizes)
        else:
            lines = compiled.rules[node].relax([bounds[o] for o in operands])
            size = None
            if compiled.outward is not None:
                sizes = [self.size(linear[o], bounds[o]) for o in operands]
                drift = tuple(compiled.outward.part * s for s in sizes)
                lines = lines.flattened(bounds[node], drift)
                rule = compiled.rules[node]
                size = lines.size(*sizes) if rule.is_delicate else rule.size(sizes)
            found = through_lines(lines, [linear[o] for o in operands])
        if compiled.outward is None or size is None:
            return found
        return _rounded(found, compiled.outward, size, bounds[node])

    def size(self, ends: LinearBounds, bounds: Interval) -> Tensor:
        """The largest magnitudes that either function, or the interval, is added up from."""
        farthest = self.region.farthest[:, self.columns]
        functions = (ends.lower,) if ends.is_exact else (ends.lower, ends.upper)
        found = outward.magnitude(bounds)
        for function in functions:
            spread = _weighted(farthest, function.coefficients.abs()) + function.constant.abs()
            found = found.maximum(spread)
        return found

    def concretised(self, ends: LinearBounds, bounds: Interval) -> Interval:
        """The interval that linear bounds leave; ends that cross by rounding alone are swapped."""
        turned = LinearFunction(-ends.upper.coefficients, -ends.upper.constant)
        lower, upper = self.least(ends.lower), -self.least(turned)
        if self.compiled.outward is not None:
            lower = lower.maximum(bounds.lower).where(lower.isfinite(), bounds.lower)
            upper = upper.minimum(bounds.upper).where(upper.isfinite(), bounds.upper)
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))

    def least(self, function: LinearFunction) -> Tensor:
        """The least values of a function on each region, in delicate graphs less rounding."""
        coefficients, shape = function.coefficients, function.constant.shape[1:]
        if self.region.balls is None:
            box = self.region.box
            center, radius = box.center[:, self.columns], box.radius[:, self.columns]
            spread = _weighted(radius, coefficients.abs())
            lower = _weighted(center, coefficients) - spread + function.constant
        else:
            lower = self._least_in_balls(coefficients.flatten(2)).unflatten(1, shape)
            lower = lower + function.constant
        if self.compiled.outward is None:
            return lower
        part = self.compiled.outward.part if self.region.balls is None else ROUNDING_PART
        farthest = self.region.farthest[:, self.columns]
        size = _weighted(farthest, coefficients.abs()) + function.constant.abs()
        return lower - part * size

    def _least_in_balls(self, coefficients: Tensor) -> Tensor:
        """(batch or 1, columns, entries) to (batch, entries), some entries at a time."""
        inputs = self.region.box.lower.shape[1]
        at_a_time = max(1, MAX_COEFFICIENTS // (self.region.batch * inputs))
        found: list[Tensor] = []
        for part in coefficients.split(at_a_time, dim=2):
            rows = part.new_zeros(part.shape[0], part.shape[2], inputs)
            rows[..., self.columns] = part.transpose(1, 2)
            found.append(self.region.minimum(rows))
        return torch.cat(found, dim=1)


def _weighted(weights: Tensor, coefficients: Tensor) -> Tensor:
    """(batch, columns) with (batch or 1, columns, *shape) to (batch, *shape)."""
    total = weights[:, None] @ coefficients.flatten(2)
    return total[:, 0].unflatten(1, coefficients.shape[2:])


def _rounded(
    found: LinearBounds, rounding: Outward, size: Tensor, bounds: Interval
) -> LinearBounds:
    """Both functions moved apart by what the step may have rounded; the interval's ends where one
    is not finite.
    """
    error = rounding.part * size
    below = replace(found.lower, constant=found.lower.constant - error)
    above = replace(found.upper, constant=found.upper.constant + error)
    return LinearBounds(_finite(below, bounds.lower), _finite(above, bounds.upper))


def _finite(function: LinearFunction, end: Tensor) -> LinearFunction:
    known = (function.coefficients.sum(1) + function.constant).isfinite()
    if bool(known.all()):
        return function
    return LinearFunction(
        function.coefficients.where(known[:, None], torch.zeros_like(end)[:, None]),
        function.constant.where(known, end),
    )


# --- affine ops -----------------------------------------------------------------------------------


def through_affine(kernel: AffineKernel, operands: list[LinearBounds]) -> LinearBounds:
    """Linear bounds of an affine op: `W+ lower + W- upper` below.

    With W+ and W- the positive and negative parts of W, that is `W (lower + upper) / 2 -
    |W| (upper - lower) / 2`, for which no kernel has to be taken apart.
    """
    lower = upper = None
    for i, ends in enumerate(operands):
        below, above = _through_operand(kernel, i, ends)
        lower = below if lower is None else _plus(lower, below)
        if all(o.is_exact for o in operands):
            upper = lower
        else:
            upper = above if upper is None else _plus(upper, above)
    assert lower is not None
    assert upper is not None
    if kernel.offset is not None:
        is_exact = upper is lower
        lower = replace(lower, constant=lower.constant + kernel.offset)
        upper = lower if is_exact else replace(upper, constant=upper.constant + kernel.offset)
    return LinearBounds(lower, upper)


def _through_operand(
    kernel: AffineKernel, index: int, ends: LinearBounds
) -> tuple[LinearFunction, LinearFunction]:
    if ends.is_exact:
        same = _applied(kernel.apply, index, ends.lower)
        return same, same
    if isinstance(kernel, RearrangeKernel):
        # Entries only move: ends are exact, where halves would round.
        return _applied(kernel.apply, index, ends.lower), _applied(kernel.apply, index, ends.upper)
    middle = _applied(kernel.apply, index, _half(_plus(ends.lower, ends.upper)))
    spread = _applied(kernel.apply_magnitude, index, _half(_plus(ends.upper, _turned(ends.lower))))
    return _plus(middle, _turned(spread)), _plus(middle, spread)


def _applied(
    apply: Callable[[int, Tensor], Tensor], index: int, f: LinearFunction
) -> LinearFunction:
    """A linear map of the node, of every column and of the constant alike."""
    stacked = apply(index, f.coefficients.flatten(0, 1))
    return LinearFunction(stacked.unflatten(0, f.coefficients.shape[:2]), apply(index, f.constant))


def _plus(one: LinearFunction, other: LinearFunction) -> LinearFunction:
    return LinearFunction(one.coefficients + other.coefficients, one.constant + other.constant)


def _turned(f: LinearFunction) -> LinearFunction:
    return LinearFunction(-f.coefficients, -f.constant)


def _half(f: LinearFunction) -> LinearFunction:
    return LinearFunction(f.coefficients / 2, f.constant / 2)


# --- nonlinear ops --------------------------------------------------------------------------------


@singledispatch
def through_lines(lines: Relaxation, operands: list[LinearBounds]) -> LinearBounds:
    """Linear bounds of a nonlinear op from its relaxation: the line below at the lower function
    where its slope is positive, at the upper one where it is negative.

    Raises Unsupported for a relaxation of a form that has no rule here.
    """
    raise Unsupported("forward linear bounds", f"a {type(lines).__name__}")


@through_lines.register
def _(lines: LinearRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    (z,) = operands
    below, above = _scaled(lines.lower_slope, z), _scaled(lines.upper_slope, z)
    lower = below.lower
    if lines.lower_intercept is not None:
        lower = _raised(lower, lines.lower_intercept)
    return LinearBounds(lower, _raised(above.upper, lines.upper_intercept))


@through_lines.register
def _(lines: PlaneRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    x, y = operands
    below = _plus(_scaled(lines.lower_x, x).lower, _scaled(lines.lower_y, y).lower)
    above = _plus(_scaled(lines.upper_x, x).upper, _scaled(lines.upper_y, y).upper)
    return LinearBounds(
        _raised(below, lines.lower_intercept), _raised(above, lines.upper_intercept)
    )


@through_lines.register
def _(lines: GroupRelaxation, operands: list[LinearBounds]) -> LinearBounds:
    (x,) = operands
    # Slopes above are not negative.
    first = _sloped(lines.first_slope, _picked(x.upper, lines.first))
    second = _sloped(lines.second_slope, _picked(x.upper, lines.second))
    above = _raised(_plus(first, second), lines.intercept)
    return LinearBounds(
        _shaped(_picked(x.lower, lines.below), lines.result), _shaped(above, lines.result)
    )


def _scaled(slope: Tensor, z: LinearBounds) -> LinearBounds:
    """Bounds of `slope * z`, entry by entry."""
    if z.is_exact:
        function = _sloped(slope, z.lower)
        return LinearBounds(function, function)
    positive = slope.clamp(min=0)
    lower, upper = _sloped(positive, z.lower), _sloped(positive, z.upper)
    if bool((slope < 0).any()):
        negative = slope - positive
        lower = _plus(lower, _sloped(negative, z.upper))
        upper = _plus(upper, _sloped(negative, z.lower))
    return LinearBounds(lower, upper)


def _sloped(slope: Tensor, f: LinearFunction) -> LinearFunction:
    return LinearFunction(slope[:, None] * f.coefficients, slope * f.constant)


def _raised(f: LinearFunction, intercept: Tensor) -> LinearFunction:
    return replace(f, constant=f.constant + intercept)


def _picked(f: LinearFunction, positions: Tensor) -> LinearFunction:
    """The entries at `positions` (batch or 1, groups) of the flat node, those of each region."""
    flat, constant = f.coefficients.flatten(2), f.constant.flatten(1)
    count = max(flat.shape[0], constant.shape[0], positions.shape[0])
    places = positions.expand(count, -1)
    columns = places[:, None].expand(-1, flat.shape[1], -1)
    return LinearFunction(
        flat.expand(count, -1, -1).gather(2, columns),
        constant.expand(count, -1).gather(1, places),
    )


def _shaped(f: LinearFunction, shape: Shape) -> LinearFunction:
    return LinearFunction(f.coefficients.unflatten(2, shape), f.constant.unflatten(1, shape))

"""CROWN of a graph cut down to what is left of it on a batch of boxes.

On a small box most neurons are stable: they are one linear function there. Merged with the affine
ops around them, they leave every value as an affine function of the inputs that vary and of the few
neurons that are unstable somewhere in the batch. Rows walk back over these alone, and only such
neurons are bounded. The bounds are CROWN's: what is merged is exact.

What was merged once stays so in all parts of a box: codes say which piece each neuron was found on,
and the parts of a box inherit them.

Source of the bounds: Zhang et al. 2018, arXiv:1811.00866; of skipping stable neurons: Xu et al.
2021, arXiv:2011.13824, section 3.3. The form (affine ops substituted away, a variable for each
unstable neuron) is that of symbolic intervals: Wang et al. 2018, arXiv:1809.08098.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.bounds.passes.crown import LinearLower
from specdsl.bounds.passes.forward_linear import last_readers
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Codes of neurons: unstable, on one piece of the two that a ReLU has, or curved everywhere.
OPEN, LEFT, RIGHT, CURVED = 0, 1, 2, 3
REDUCIBLE = ops.LeakyRelu | ops.Smooth
# Coefficients of a chunk of rows: 1 MiB of float64, which stays in the cache.
MAX_COEFFICIENTS = 2**17


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """Where the entries of nonlinear nodes stand in one flat list of all: `starts`.

    `blank`: codes (neurons,) of which nothing is known yet.
    """

    starts: Mapping[NodeId, int]
    blank: Tensor

    @classmethod
    def of(cls, compiled: CompiledGraph) -> Neurons | None:
        """None where some nonlinear op does not take single entries, or rounding is followed node
        by node: such graphs cannot be reduced.
        """
        if compiled.outward is not None:
            return None
        starts: dict[NodeId, int] = {}
        codes: list[int] = []
        for node in compiled.rules:
            op = compiled.graph.op(node)
            if not isinstance(op, REDUCIBLE):
                return None
            starts[node] = len(codes)
            code = OPEN if isinstance(op, ops.LeakyRelu) else CURVED
            codes += [code] * compiled.graph.size(node)
        blank = torch.tensor(codes, dtype=torch.int8, device=compiled.like.device)
        return cls(starts, blank)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """The neurons of one node that are variables.

    `entries`: their positions among all neurons; `weights`: (neurons, columns), their arguments as
    affine functions of the variables before them, whose number is that of the columns.
    """

    node: NodeId
    entries: Tensor
    weights: Tensor

    @property
    def start(self) -> int:
        return self.weights.shape[1]

    @property
    def stop(self) -> int:
        return sum(self.weights.shape)


@dataclass(frozen=True, slots=True, eq=False)
class ReducedGraph:
    """A graph as affine functions of a constant, the inputs that vary and its unstable neurons.

    Variables are counted in that order: 1 for the constant, one for each of `columns` (positions
    of inputs), then layer by layer. `output`: (outputs, variables).
    """

    compiled: CompiledGraph
    columns: Tensor
    layers: tuple[_Layer, ...]
    output: Tensor

    @property
    def variables(self) -> int:
        """How many there are."""
        return self.output.shape[1]


def with_bounds(
    compiled: CompiledGraph, neurons: Neurons, codes: Tensor, bounds: Mapping[NodeId, Interval]
) -> Tensor:
    """The codes (batch, neurons) with what bounds of every node tell of those that are open."""
    found = codes.clone()
    for node, start in neurons.starts.items():
        if not isinstance(compiled.graph.op(node), ops.LeakyRelu):
            continue
        ends = bounds[compiled.graph.operands(node)[0]]
        flat = Interval(ends.lower.flatten(1), ends.upper.flatten(1))
        part = found[:, start : start + flat.lower.shape[1]]
        part.copy_(part.where(part != OPEN, _codes(flat)))
    return found


def count_open(codes: Tensor) -> int:
    """How many neurons are open for a batch with these codes (batch, neurons), but may be stable on
    parts of the boxes.
    """
    return int((_agreed(codes) == OPEN).sum())


def reduce_graph(
    compiled: CompiledGraph, neurons: Neurons, box: Interval, codes: Tensor
) -> ReducedGraph:
    """What is left of the graph on boxes (batch, inputs) with codes (batch, neurons) of neurons.

    Inputs that do not vary in any box, and are the same in all of them, become constants.
    """
    build = _Building(compiled, neurons, _agreed(codes), last_readers(compiled))
    columns = (box.lower[0] < box.upper).any(0) | (box.lower[0] != box.lower).any(0)
    return build.graph(box.lower[0], columns.nonzero()[:, 0])


def _agreed(codes: Tensor) -> Tensor:
    """The codes that hold in the whole batch: (neurons,)."""
    return codes[0].where((codes == codes[0]).all(0), torch.full_like(codes[0], OPEN))


@dataclass(frozen=True, slots=True, eq=False)
class _Building:
    compiled: CompiledGraph
    neurons: Neurons
    codes: Tensor
    last_reader: Mapping[NodeId, int]

    def graph(self, point: Tensor, columns: Tensor) -> ReducedGraph:
        graph = self.compiled.graph
        layers: list[_Layer] = []
        # Coefficients of variables on each node's value: (variables so far, *shape).
        values: dict[NodeId, Tensor] = {}
        count = 1 + columns.numel()
        for position, (node, op, operands) in enumerate(graph):
            if isinstance(op, ops.Input):
                values[node] = _at_input(point, columns).reshape(count, *op.extent)
            elif node in self.compiled.constants:
                values[node] = self.compiled.constants[node]
            elif node in self.compiled.kernels:
                values[node] = self._affine(node, [values[o] for o in operands])
            else:
                layer, values[node] = self._nonlinear(node, op, values[operands[0]], count)
                if layer is not None:
                    layers.append(layer)
                    count = layer.stop
            for operand in operands:
                if self.last_reader[operand] == position:
                    values.pop(operand, None)
        output = _widened(values[graph.output].flatten(1), count).T.contiguous()
        return ReducedGraph(self.compiled, columns, tuple(layers), output)

    def _affine(self, node: NodeId, operands: list[Tensor]) -> Tensor:
        kernel = self.compiled.kernels[node]
        count = max(len(x) for x in operands)
        total = sum(
            (_widened(kernel.apply(i, x), count) for i, x in enumerate(operands)),
            start=self.compiled.like.new_zeros(()),
        )
        if kernel.offset is not None:
            total[0] += kernel.offset
        return total

    def _nonlinear(
        self, node: NodeId, op: ops.Op, argument: Tensor, count: int
    ) -> tuple[_Layer | None, Tensor]:
        start = self.neurons.starts[node]
        flat = argument.flatten(1)
        codes = self.codes[start : start + flat.shape[1]]
        is_open = ((codes == OPEN) | (codes == CURVED)).nonzero()[:, 0]
        slopes = op.slopes if isinstance(op, ops.LeakyRelu) else (0.0, 0.0)
        slope = flat.new_tensor((0.0, *slopes, 0.0))[codes.long()]
        shape = self.compiled.graph.shapes[node]
        value = flat * slope
        if not is_open.numel():
            return None, value.reshape(-1, *shape)
        layer = _Layer(node, start + is_open, _widened(flat[:, is_open], count).T.contiguous())
        value = _widened(value, layer.stop)
        own = torch.arange(layer.start, layer.stop, device=value.device)
        value[own, is_open] = 1.0
        return layer, value.reshape(-1, *shape)


def _at_input(point: Tensor, columns: Tensor) -> Tensor:
    """The input itself: a constant where it is fixed, a variable elsewhere."""
    value = point.new_zeros(1 + columns.numel(), point.numel())
    value[0] = point
    value[0, columns] = 0.0
    value[torch.arange(columns.numel(), device=point.device) + 1, columns] = 1.0
    return value


def _widened(value: Tensor, count: int) -> Tensor:
    """The same with zeros for variables that it does not depend on."""
    missing = count - len(value)
    return torch.cat([value, value.new_zeros(missing, *value.shape[1:])]) if missing else value


@dataclass(frozen=True, slots=True, eq=False)
class ReducedBounds:
    """`linear`: lower bounds of rows of the output, on whole inputs. `codes`: (batch, neurons), of
    the batch and so of every part of its boxes.
    """

    linear: LinearLower
    codes: Tensor


def bound_reduced(
    reduced: ReducedGraph,
    rows: Tensor,
    box: Interval,
    codes: Tensor,
    deadline: Deadline = FOREVER,
) -> ReducedBounds:
    """CROWN bounds of `rows . output` on the boxes (batch, inputs) that the graph was reduced for.

    rows: (rows, outputs); codes: (batch, neurons), those it was reduced by. Every layer's bounds
    are intersected with those by intervals over the variables before it. Raises OutOfTime.
    """
    step = _Pass.of(reduced, box, deadline)
    codes = codes.clone()
    for layer in reduced.layers:
        ends = step.ends(layer.weights)
        step.add(layer, ends)
        if isinstance(reduced.compiled.graph.op(layer.node), ops.LeakyRelu):
            known = codes[:, layer.entries]
            codes[:, layer.entries] = known.where(known != OPEN, _codes(ends))
    found = step.substituted((rows @ reduced.output)[None])
    coefficients = found.new_zeros(*found.shape[:2], box.lower.shape[1])
    coefficients[:, :, reduced.columns] = found[:, :, 1:]
    return ReducedBounds(LinearLower(coefficients, found[:, :, 0], step.least(found)), codes)


def _codes(ends: Interval) -> Tensor:
    """The piece that a ReLU is on, by bounds of its argument."""
    right = (ends.lower >= 0).to(torch.int8)
    left = (ends.upper <= 0).to(torch.int8) * (1 - right)
    return RIGHT * right + LEFT * left


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """`passed`: the layers so far, `lines` their relaxations; `images`: intervals of all variables
    but the constant so far. `center`, `radius`: (batch, columns, 1).
    """

    reduced: ReducedGraph
    deadline: Deadline
    center: Tensor
    radius: Tensor
    passed: list[_Layer]
    lines: list[LinearRelaxation]
    images: list[Interval]

    @classmethod
    def of(cls, reduced: ReducedGraph, box: Interval, deadline: Deadline) -> _Pass:
        columns = reduced.columns
        inputs = Interval(box.lower[:, columns], box.upper[:, columns])
        center, radius = inputs.center[:, :, None], inputs.radius[:, :, None]
        return cls(reduced, deadline, center, radius, [], [], [inputs])

    def add(self, layer: _Layer, ends: Interval) -> None:
        """One layer more, with bounds of its arguments."""
        rule = self.reduced.compiled.rules[layer.node]
        lines = rule.relax([ends])
        assert isinstance(lines, LinearRelaxation)
        self.passed.append(layer)
        self.lines.append(lines)
        self.images.append(rule.image([ends]))

    def least(self, rows: Tensor) -> Tensor:
        """The least values of rows (batch or 1, rows, 1 + columns): (batch, rows)."""
        slopes = rows[:, :, 1:]
        return (slopes @ self.center - slopes.abs() @ self.radius)[..., 0] + rows[:, :, 0]

    def ends(self, weights: Tensor) -> Interval:
        """Bounds of functions (functions, variables) of the variables so far: (batch, functions)"""
        known = self._by_intervals(weights)
        if not self.passed:
            return known
        size = max(1, MAX_COEFFICIENTS // (2 * weights.shape[1] * len(self.center)))
        parts = [self._by_crown(part) for part in weights.split(size)]
        lower = torch.cat([low for low, _ in parts], 1)
        upper = torch.cat([high for _, high in parts], 1)
        # Ends that cross by rounding alone are swapped.
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper)).intersect(known)

    def _by_intervals(self, weights: Tensor) -> Interval:
        center = torch.cat([image.center for image in self.images], 1) @ weights[:, 1:].T
        radius = torch.cat([image.radius for image in self.images], 1) @ weights[:, 1:].abs().T
        center = center + weights[:, 0]
        return Interval(center - radius, center + radius)

    def _by_crown(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        self.deadline.check()
        least = self.least(self.substituted(torch.cat([weights, -weights])[None]))
        count = len(weights)
        return least[:, :count], -least[:, count:]

    def substituted(self, rows: Tensor) -> Tensor:
        """Rows (1, rows, variables) on the variables so far, as functions of the inputs that lie
        below: (batch, rows, 1 + columns).
        """
        found = rows
        for layer, lines in zip(reversed(self.passed), reversed(self.lines), strict=True):
            own = found[:, :, layer.start : layer.stop]
            negative = own.clamp(max=0)
            constant = _times(negative, lines.upper_intercept)
            if lines.lower_intercept is not None:
                constant = constant + _times(own - negative, lines.lower_intercept)
            # `positive * lower + negative * upper`, with one product less.
            passed = own * lines.lower_slope[:, None]
            passed.addcmul_(negative, (lines.upper_slope - lines.lower_slope)[:, None])
            before = passed @ layer.weights
            before += found[:, :, : layer.start]
            before[:, :, 0] += constant
            found = before
        return found.expand(len(self.center), -1, -1)


def _times(rows: Tensor, intercepts: Tensor) -> Tensor:
    return (rows @ intercepts[:, :, None])[..., 0]

"""How tight a linear relaxation of a ReLU network is: two gaps that training can close.

The relaxation's minimiser is an input and, at every unstable neuron, the line that is taken. Run
through the true network, the same input gives another value: the difference d is what the
relaxation loses. It is 0 where every unstable neuron lies where its line touches the ReLU; r is the
distance from there.

Source: Zhu et al. 2020, arXiv:2002.09766, equation 2, proposition 1 and the equation after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.passes.merging import dot
from specdsl.bounds.passes.wong_kolter import Layer, chain_of
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Tightness:
    """Of each row: its lower bound, and how far the relaxation is from tight. (batch, rows) each.

    `output_gap`: d, the row at the relaxation's minimiser, less the bound; never negative.
    `pre_activation_gap`: r, the mean over all hidden neurons of how far the pre-activation at the
    minimiser lies from where the line taken touches the ReLU; stable neurons count as 0. Where it
    is 0, so is d, and the bound is the row's least value.
    """

    lower: Tensor
    output_gap: Tensor
    pre_activation_gap: Tensor


def tightness(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Mapping[NodeId, Interval]
) -> Tightness:
    """Both gaps of `rows . output`, from bounds of all pre-activations; differentiable.

    The lines are those of the compiled graph: CROWN's, or Fast-Lin's after `with_parallel_lines`.
    No gradient flows through the choice of the minimiser. Shapes: rows (batch or 1, rows, *output).
    Raises Unsupported where the graph is no chain of affine layers and ReLUs.
    """
    walk = _walk(compiled, rows, region, bounds)
    points = region.minimiser(walk.coefficients.detach())
    values = node_values(compiled, points.flatten(0, 1))
    shape = points.shape[:2]
    output = values[compiled.graph.output].unflatten(0, shape)
    at_point = (rows * output).flatten(2).sum(2)
    gaps = walk.lower.new_zeros(shape)
    neurons = 0
    for node, takes_upper in walk.takes_upper.items():
        gap = _distance(bounds[node], values[node].unflatten(0, shape), takes_upper)
        gaps = gaps + gap.flatten(2).sum(2)
        neurons += compiled.graph.size(node)
    return Tightness(walk.lower, at_point - walk.lower, gaps / max(1, neurons))


@dataclass(frozen=True, slots=True, eq=False)
class _Walked:
    """Rows at the input (batch, rows, inputs), their bound, and where the line above is taken, by
    pre-activation: (batch, rows, *shape).
    """

    coefficients: Tensor
    lower: Tensor
    takes_upper: Mapping[NodeId, Tensor]


def _walk(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Mapping[NodeId, Interval]
) -> _Walked:
    layers: tuple[Layer, ...] = chain_of(compiled)
    coefficients, constant = rows, rows.new_zeros(1, rows.shape[1])
    takes_upper: dict[NodeId, Tensor] = {}
    for layer in reversed(layers):
        if layer.kernel is not None:
            offset = layer.kernel.offset
            if offset is not None:
                constant = constant + dot(coefficients, offset.expand(coefficients.shape[2:])[None])
            passed = layer.kernel.transpose(0, coefficients.flatten(0, 1))
            coefficients = passed.unflatten(0, coefficients.shape[:2])
            continue
        (before,) = compiled.graph.operands(layer.node)
        lines = compiled.rules[layer.node].relax([bounds[before]])
        assert isinstance(lines, LinearRelaxation)
        takes_upper[before] = coefficients < 0
        positive = coefficients.clamp(min=0)
        negative = coefficients - positive
        constant = constant + dot(negative, lines.upper_intercept)
        if lines.lower_intercept is not None:
            constant = constant + dot(positive, lines.lower_intercept)
        coefficients = positive * lines.lower_slope[:, None] + negative * lines.upper_slope[:, None]
    flat = coefficients.flatten(2).expand(region.batch, -1, -1)
    return _Walked(flat, region.minimum(flat) + constant, takes_upper)


def _distance(z: Interval, at: Tensor, takes_upper: Tensor) -> Tensor:
    """How far pre-activations lie from where a line touches: above at both ends, below at 0."""
    lower, upper = z.lower[:, None], z.upper[:, None]
    to_end = torch.minimum((at - lower).abs(), (upper - at).abs())
    distance = to_end.where(takes_upper, at.abs())
    return distance * ((lower < 0) & (upper > 0))

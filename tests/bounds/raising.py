"""What the tests of alpha-CROWN share: efforts, regions and small networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.alpha_crown import Effort
from specdsl.bounds.passes.ascent import Limits
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder

seeds = st.integers(0, 10**6)
SHORT = Limits(steps=6)
QUICK = Effort(SHORT, SHORT)
NONE = Limits(steps=0)
# Of the sums of products that a bound and a sampled value are computed from.
ROUNDING = {torch.float64: 1e-9, torch.float32: 2e-4}


def two_sided(compiled: CompiledGraph) -> Tensor:
    """Every output from below and from above."""
    size = compiled.graph.size(compiled.graph.output)
    unit = torch.eye(size, dtype=compiled.like.dtype)
    shape = compiled.graph.shapes[compiled.graph.output]
    return torch.cat([unit, -unit]).reshape(1, 2 * size, *shape)


def box_region(seed: int, batch: int, inputs: int, radius: float) -> InputRegion:
    random = np.random.default_rng(seed)
    center = torch.as_tensor(random.normal(size=(batch, inputs)))
    width = torch.as_tensor(random.random((batch, inputs)) * radius)
    return InputRegion(Interval(center - width, center + width))


def in_dtype(region: InputRegion, dtype: torch.dtype) -> InputRegion:
    return InputRegion(Interval(region.box.lower.to(dtype), region.box.upper.to(dtype)))


def relu_network(seed: int, hidden: Sequence[int]) -> Graph:
    """Dense layers from three inputs to two outputs, ReLU between them."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x, width = builder.add(ops.Input((3,))), 3
    for count in hidden:
        weight, bias = random.normal(size=(count, width)), random.normal(size=count) / 2
        x, width = builder.add(ops.Relu(), builder.add(ops.Dense(weight, bias), x)), count
    return builder.build(builder.add(ops.Dense(random.normal(size=(2, width)), np.zeros(2)), x))

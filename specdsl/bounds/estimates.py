"""Estimates of bounds by name, for training only: they may lie on the wrong side of the bound.

A registry of their own, whose results are no bounds by type and whose names no method has: neither
`specdsl.bound` nor a backend takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.random_projections import Estimate, estimate_bounds, estimate_rows
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True)
class Estimator:
    """Estimates over balls of one norm, by so many random vectors for each norm of a row.

    Differentiable in the weights (`bounds.parameters.with_parameters`) and in the center. Raises
    Unsupported where the graph is no chain of affine layers and ReLUs. `radius`: a number, or one
    for each entry (batch or 1, inputs).
    """

    norm: Literal["linf", "l2"]
    count: int = 50

    def rows(
        self,
        compiled: CompiledGraph,
        center: Tensor,
        radius: float | Tensor,
        rows: Tensor,
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """Of `rows . output`: center (batch, inputs), rows (batch or 1, rows, *output) to ends
        (batch, rows).
        """
        return estimate_rows(
            compiled, center, radius, rows, norm=self.norm, count=self.count, generator=generator
        )

    def inside(
        self,
        compiled: CompiledGraph,
        center: Tensor,
        radius: float | Tensor,
        generator: torch.Generator | None = None,
    ) -> Mapping[NodeId, Estimate]:
        """Of every pre-activation and the output: center (batch, inputs) to ends (batch, *node)."""
        return estimate_bounds(
            compiled, center, radius, norm=self.norm, count=self.count, generator=generator
        )


ESTIMATES: Mapping[str, Estimator] = MappingProxyType(
    {
        # The Wong-Kolter dual over linf balls, its l1 norms by Cauchy variables.
        "cauchy_projections": Estimator("linf"),
        # The same over l2 balls, the input's norm by Gaussian variables.
        "gaussian_projections": Estimator("l2"),
    }
)

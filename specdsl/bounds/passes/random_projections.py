"""Estimates of the Wong-Kolter bounds by random projections: for training, never for a proof.

A bound of n neurons takes norms of n rows that run back to the input. Cauchy variables are 1-stable
and Gaussian ones 2-stable: for a random vector r with such entries, `v . r` is distributed as the
norm of v times one such variable. A few random vectors sent *forward* through the linearised
network give `v . r` for all n rows at once, and the medians of their magnitudes estimate all norms.

Source: Wong et al. 2018, Scaling provable adversarial defenses, arXiv:1805.12514, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import torch
from torch import Tensor

from specdsl.bounds.affine import AffineKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.wong_kolter import Layer, chain_of, relu_slopes
from specdsl.graph.graph import NodeId

# The median of |X| is 1 for a standard Cauchy variable; the mean of |X| is this for a Gaussian.
GAUSSIAN_MEAN = sqrt(2 / pi)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Estimated ends of every entry of a value, `lower <= upper` only if luck would have it.

    No `Interval`, on purpose: nothing that takes bounds takes an estimate. Shapes: (batch, *shape).
    """

    lower: Tensor
    upper: Tensor


def estimate_bounds(
    compiled: CompiledGraph,
    center: Tensor,
    radius: float | Tensor,
    *,
    norm: Literal["linf", "l2"] = "linf",
    count: int = 50,
    generator: torch.Generator | None = None,
) -> Mapping[NodeId, Estimate]:
    """Estimates for every pre-activation and the output, over balls around `center`.

    Shapes: center (batch, inputs); radius a number, or of every entry, (batch or 1, inputs): boxes,
    and balls in a weighted norm. `count`: random vectors for each norm; the error falls with its
    square root. Differentiable in the weights, but for the choice of crossing neurons. Raises
    Unsupported where the graph is no chain of affine layers and ReLUs.
    """
    return _Walk(chain_of(compiled), center, radius, norm, count, generator).run(compiled)


def estimate_rows(  # noqa: PLR0913 - what `estimate_bounds` takes, and rows
    compiled: CompiledGraph,
    center: Tensor,
    radius: float | Tensor,
    rows: Tensor,
    *,
    norm: Literal["linf", "l2"] = "linf",
    count: int = 50,
    generator: torch.Generator | None = None,
) -> Estimate:
    """Estimates of `rows . output`, such as differences of two outputs; the rest as
    `estimate_bounds`.

    Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    walk = _Walk(chain_of(compiled), center, radius, norm, count, generator)
    walk.run(compiled)
    return walk.ends_of(rows)


class _Walk:
    def __init__(
        self,
        layers: tuple[Layer, ...],
        center: Tensor,
        radius: float | Tensor,
        norm: Literal["linf", "l2"],
        count: int,
        generator: torch.Generator | None,
    ) -> None:
        self.layers = layers
        self.center = center
        self.radius = radius
        self.gaussian = norm == "l2"
        self.count = count
        self.generator = generator
        # As far as the walk has come. What the input may add, and every ReLU that crosses: at
        # random signs and sizes, and in one sum.
        self.value = center
        self.carried: list[Tensor] = []
        self.charges: list[Tensor] = []

    def run(self, compiled: CompiledGraph) -> dict[NodeId, Estimate]:
        graph = compiled.graph
        batch = self.center.shape[0]
        value = self.center.reshape(batch, *graph.shapes[graph.input])
        # Of the input first, then of every ReLU that crosses: what it may add, at random signs and
        # sizes, and in one sum.
        reach = torch.as_tensor(self.radius, dtype=value.dtype, device=value.device)
        reach = reach.expand(self.center.shape).reshape(value.shape)
        carried = [self._draw(value, gaussian=self.gaussian) * reach[:, None]]
        charges: list[Tensor] = []
        found: dict[NodeId, Estimate] = {}
        for position, layer in enumerate(self.layers):
            if layer.kernel is not None:
                value = layer.kernel.apply(0, value)
                if layer.kernel.offset is not None:
                    value = value + layer.kernel.offset
                carried = [self._through(layer.kernel, c) for c in carried]
                charges = [layer.kernel.apply(0, c) for c in charges]
                last = position == len(self.layers) - 1
                if last or self.layers[position + 1].kernel is None:
                    found[layer.node] = self._ends(value, carried, charges)
                continue
            ends = found[self.layers[position - 1].node]
            low, high = ends.lower, ends.upper
            z = Interval(torch.minimum(low, high), torch.maximum(low, high))
            slopes = relu_slopes(z)
            value = value * slopes
            carried = [c * slopes[:, None] for c in carried]
            charges = [c * slopes for c in charges]
            # A neuron that crosses is an adversary of its own: it adds from 0 to -slope lower.
            added = (-slopes * z.lower.clamp(max=0)).where(z.upper > 0, torch.zeros_like(slopes))
            carried.append(self._draw(value, gaussian=False) * added[:, None])
            charges.append(added)
        self.value, self.carried, self.charges = value, carried, charges
        return found

    def ends_of(self, rows: Tensor) -> Estimate:
        """Of rows of the output, once the walk is done."""
        last = rows.flatten(2).transpose(1, 2)
        value, *charges = (
            (v.flatten(1)[:, None] @ last)[:, 0] for v in (self.value, *self.charges)
        )
        return self._ends(value, [c.flatten(2) @ last for c in self.carried], charges)

    def _draw(self, like: Tensor, *, gaussian: bool) -> Tensor:
        shape = (like.shape[0], self.count, *like.shape[1:])
        drawn = torch.empty(shape, dtype=like.dtype, device=like.device)
        if gaussian:
            return drawn.normal_(generator=self.generator)
        # PyTorch's own draw takes six times as long, and that is half of a training step.
        return drawn.uniform_(-pi / 2, pi / 2, generator=self.generator).tan_()

    @staticmethod
    def _through(kernel: AffineKernel, vectors: Tensor) -> Tensor:
        return kernel.apply(0, vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])

    def _ends(self, value: Tensor, carried: list[Tensor], charges: list[Tensor]) -> Estimate:
        spread = self._norm(carried[0], gaussian=self.gaussian)
        lower, upper = value - spread, value + spread
        for vectors, total in zip(carried[1:], charges, strict=True):
            # With coefficients w on what is added, least is sum min(w, 0) = sum (w - |w|) / 2.
            size = self._norm(vectors, gaussian=False)
            lower, upper = lower + (total - size) / 2, upper + (total + size) / 2
        return Estimate(lower, upper)

    @staticmethod
    def _norm(vectors: Tensor, *, gaussian: bool) -> Tensor:
        size = vectors.abs()
        return size.mean(1) / GAUSSIAN_MEAN if gaussian else size.median(1).values

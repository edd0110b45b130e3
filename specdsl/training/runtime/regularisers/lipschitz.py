"""Lipschitz constants of a network: globally from spectral norms, locally from signs of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.affine import (
    AffineKernel,
    ConvKernel,
    ConvTransposeKernel,
    DenseKernel,
    RearrangeKernel,
    ScaleKernel,
    SumKernel,
)
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.wong_kolter import chain_of
from specdsl.graph.graph import NodeId
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.regularisers.intervals import Bounds, Ends

# Where a layer maps everything to 0, it has no direction to follow.
LEAST = 1e-12

# Rounds of power iteration: each costs two passes of one image, and 30 come within about 1 % of the
# largest singular value. The seed of where they start: the same norm for the same weights.
ROUNDS = 30
START = 0


def spectral_norms(compiled: CompiledGraph, rounds: int = ROUNDS) -> Mapping[NodeId, Tensor]:
    """The largest singular value of every layer with weights, by node; differentiable.

    Of convolutions as maps of whole images, not of their kernels as matrices: by power iteration
    from a fixed start, an estimate from below. Of the others exact.
    """
    graph = compiled.graph
    found: dict[NodeId, Tensor] = {}
    for node, kernel in compiled.kernels.items():
        match kernel:
            case DenseKernel():
                found[node] = torch.linalg.matrix_norm(kernel.weight, ord=2)
            case ScaleKernel():
                found[node] = kernel.magnitude.max()
            case ConvKernel() | ConvTransposeKernel():
                (before,) = graph.operands(node)
                start = _start(graph.shapes[before], compiled.like)
                direction = _followed(kernel, start, rounds)
                found[node] = kernel.apply(0, direction).norm()
            case _:
                pass
    return found


def spectral_product(net: Trainable) -> Tensor:
    """The product of the largest singular values of all layers.

    Of a chain of layers and ReLUs it is about a bound of how much l2 distances grow (an estimate
    where there are convolutions): to train with, not to prove. Raises Unsupported for a network
    without weights. Source: Szegedy et al. 2014, arXiv:1312.6199, section 4.3; power iteration as
    in Miyato et al. 2018, arXiv:1802.05957.
    """
    norms = list(spectral_norms(net.compiled()).values())
    if not norms:
        raise Unsupported("a Lipschitz constant", "a network without weights")
    return torch.stack(norms).prod()


def _start(shape: tuple[int, ...], like: Tensor) -> Tensor:
    drawn = torch.randn((1, *shape), generator=torch.Generator().manual_seed(START))
    return drawn.to(dtype=like.dtype, device=like.device)


def _followed(kernel: AffineKernel, direction: Tensor, rounds: int) -> Tensor:
    """The direction after some rounds of multiplying with `A^T A`, of length 1."""
    with torch.no_grad():
        direction = direction / direction.norm()
        for _ in range(rounds):
            longer = kernel.transpose(0, kernel.apply(0, direction))
            size = longer.norm()
            # A direction that is lost stays where it was.
            direction = torch.where(size > LEAST, longer / size.clamp(min=LEAST), direction)
    return direction


def local_lipschitz(
    compiled: CompiledGraph,
    rows: Tensor,
    bounds: Bounds,
    norm: Literal["linf", "l2", "l1"] = "linf",
) -> Tensor:
    """How fast `rows . output` can change over a region, per unit of the norm of the input.

    Bounds every slope of the network over the region: stable ReLUs have slope 0 or 1, unstable ones
    any slope between, and intervals of slopes are carried from the output to the input. `bounds`:
    of all pre-activations over the region, which must be convex; the constant is the largest dual
    norm of the slopes. Sound, and differentiable in weights.
    Shapes: rows (batch or 1, rows, *output), the result (batch or 1, rows). Raises Unsupported
    where the graph is no chain of affine layers and ReLUs.
    Source: Weng et al. 2018, arXiv:1804.09699 (Fast-Lip), with intervals for signs;
    as a regulariser Hein and Andriushchenko 2017, arXiv:1705.08475.
    """
    center, radius = rows, torch.zeros_like(rows)
    for layer in reversed(chain_of(compiled)):
        if layer.kernel is not None:
            shape = center.shape[:2]
            radius = _transposed_magnitude(layer.kernel, radius.flatten(0, 1)).unflatten(0, shape)
            center = layer.kernel.transpose(0, center.flatten(0, 1)).unflatten(0, shape)
            continue
        (before,) = compiled.graph.operands(layer.node)
        center, radius = _through_relu(center, radius, bounds[before])
    largest = (center.abs() + radius).flatten(2)
    match norm:
        case "linf":
            return largest.sum(2)
        case "l2":
            return largest.square().sum(2).clamp(min=LEAST**2).sqrt()
        case "l1":
            return largest.amax(2)


def _through_relu(center: Tensor, radius: Tensor, z: Ends) -> tuple[Tensor, Tensor]:
    """Slopes times 1 where a neuron is active, 0 where it is not, anything between elsewhere."""
    active, inactive = (z.lower >= 0)[:, None], (z.upper <= 0)[:, None]
    lower, upper = center - radius, center + radius
    nothing = torch.zeros_like(lower)
    lower = torch.where(inactive, nothing, torch.where(active, lower, lower.clamp(max=0)))
    upper = torch.where(inactive, nothing, torch.where(active, upper, upper.clamp(min=0)))
    return (lower + upper) / 2, (upper - lower) / 2


def _transposed_magnitude(kernel: AffineKernel, radius: Tensor) -> Tensor:
    """`|A|^T radius`: the transpose of a kernel that holds magnitudes."""
    match kernel:
        case DenseKernel() | ConvKernel() | ConvTransposeKernel():
            return replace(kernel, weight=kernel.magnitude).transpose(0, radius)
        case ScaleKernel():
            return replace(kernel, scale=kernel.magnitude).transpose(0, radius)
        case SumKernel():
            return radius * abs(kernel.coefficients[0])
        case RearrangeKernel():
            return kernel.transpose(0, radius)
        case _:
            what = f"an affine op of kind {type(kernel).__name__}"
            raise Unsupported("a local Lipschitz constant", what)

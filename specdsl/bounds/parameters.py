"""Weights that carry gradients: the kernels of a compiled graph with tensors of one's own.

Bounds are functions of what kernels hold. To train for them, compile once, take the parameters as
leaves, and put them (or what a network holds) into a copy of the compiled graph at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from specdsl.bounds.affine import (
    AffineKernel,
    ConvolutionKernel,
    DenseKernel,
    ScaleKernel,
)
from specdsl.bounds.compiled import CompiledGraph
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """The weight of an affine op and what it adds, in the shapes of its op; `offset` None keeps
    the kernel's own. For batch normalisation: the merged factor and offset.
    """

    weight: Tensor
    offset: Tensor | None = None


def parameters_of(compiled: CompiledGraph) -> dict[NodeId, Parameters]:
    """Copies of all weights and offsets, by node, that require gradients.

    Sums and ops that only move entries have none.
    """
    found: dict[NodeId, Parameters] = {}
    for node, kernel in compiled.kernels.items():
        weight = _weight(kernel)
        if weight is not None:
            offset = kernel.offset
            found[node] = Parameters(_leaf(weight), None if offset is None else _leaf(offset))
    return found


def with_parameters(
    compiled: CompiledGraph, parameters: Mapping[NodeId, Parameters]
) -> CompiledGraph:
    """The same graph computed with these tensors, through which gradients flow.

    `graph` keeps its numbers of old: for bounds and values only. What is to be proven of a trained
    network is compiled from the network. Raises ValueError where a node has no weights or shapes
    differ.
    """
    kernels = dict(compiled.kernels)
    for node, own in parameters.items():
        kernels[node] = _with_own(node, kernels.get(node), own)
    changed = replace(compiled, kernels=kernels)
    if compiled.outward is None:
        return changed
    # Signs of the weights of old do not hold; 0 says nothing of them.
    unsigned = {node: (0,) for node in parameters}
    signs = {**compiled.outward.signs, **unsigned}
    return replace(changed, outward=replace(compiled.outward, signs=signs))


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def _weight(kernel: AffineKernel | None) -> Tensor | None:
    match kernel:
        case DenseKernel() | ConvolutionKernel():
            return kernel.weight
        case ScaleKernel():
            return kernel.scale
        case _:
            return None


def _with_own(node: NodeId, kernel: AffineKernel | None, own: Parameters) -> AffineKernel:
    before = _weight(kernel)
    if kernel is None or before is None:
        raise ValueError(f"`{node}` has no weights")
    if own.weight.shape != before.shape:
        raise ValueError(
            f"the weight of `{node}` has shape {tuple(before.shape)}, not {tuple(own.weight.shape)}"
        )
    offset = kernel.offset
    if own.offset is not None:
        offset = _reshaped(node, own.offset, offset)
    magnitude = own.weight.abs()
    match kernel:
        case DenseKernel() | ConvolutionKernel():
            return replace(kernel, weight=own.weight, magnitude=magnitude, offset=offset)
        case ScaleKernel():
            return replace(kernel, scale=own.weight, magnitude=magnitude, offset=offset)
        case _:
            raise AssertionError("kernels with weights are those above")


def _reshaped(node: NodeId, own: Tensor, before: Tensor | None) -> Tensor:
    """A bias of a convolution is one number a channel, the kernel's broadcasts over places."""
    if before is None or own.numel() != before.numel():
        raise ValueError(f"`{node}` adds no tensor of shape {tuple(own.shape)}")
    return own.reshape(before.shape)

"""The layers of a module that hold a weight, by name."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from specdsl.backend import Unsupported

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

AffineLayer = (
    nn.Linear
    | nn.Conv1d
    | nn.Conv2d
    | nn.Conv3d
    | nn.ConvTranspose1d
    | nn.ConvTranspose2d
    | nn.ConvTranspose3d
)


class Normalize(nn.Module):
    """`(x - mean) / std`, one number or one a channel; nothing of it is trained or saved."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | list[float], std: float | list[float]) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to the same shape."""
        mean, std = (value.reshape(_beside(value, x)) for value in (self.mean, self.std))
        return (x - mean) / std


def _beside(value: Tensor, x: Tensor) -> tuple[int, ...]:
    """A shape in which values of channels stand beside (batch, channels, ...)."""
    return (-1, *(1 for _ in x.shape[2:])) if value.ndim else ()


def affine_layers(module: nn.Module) -> Iterator[tuple[str, AffineLayer]]:
    """Linear layers and convolutions with their dotted names, each once, as registered."""
    for name, part in module.named_modules():
        if isinstance(part, AffineLayer):
            yield name, part


def weights_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters with two axes or more: weights, and neither biases nor factors of channels.

    Of a weight that is computed from other parameters, what is computed.
    """
    for path, part in module.named_modules():
        named = dict(part.named_parameters(path, recurse=False))
        if isinstance(part, ParametrizationList):
            continue
        if is_parametrized(part):
            before = f"{path}." if path else ""
            named |= {before + name: getattr(part, name) for name in _computed(part)}
        for name, weight in named.items():
            if weight.ndim > 1 and name.rpartition(".")[2] != "bias":
                yield name, weight


def require_plain(module: nn.Module, who: str) -> None:
    """Raises Unsupported where a weight is computed from other parameters, as in weight norm.

    For those who write into weights: there it would have no effect.
    """
    for path, part in module.named_modules():
        names = [*_computed(part)] if is_parametrized(part) else []
        # Weight norm of old keeps its parts beside the weight.
        names += [n[:-2] for n in part._parameters if n.endswith("_g")]
        if names:
            name = f"{path}.{names[0]}" if path else names[0]
            advice = "remove the parametrisation first"
            raise Unsupported(who, f"`{name}`, which is computed from other parameters", advice)


def _computed(part: nn.Module) -> list[str]:
    parametrizations = part.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    return list(parametrizations)


def fan_in(layer: AffineLayer) -> float:
    """How many entries of its input one entry of a layer's output reads.

    Of a transposed convolution with strides: on average, since its output lies denser.
    """
    if isinstance(layer, nn.Linear):
        return float(layer.in_features)
    reads = layer.in_channels // layer.groups * prod(layer.kernel_size)
    return reads / prod(layer.stride) if isinstance(layer, TRANSPOSED) else float(reads)

"""The smallest singular values of layers, scaled down or to zero.

Directions that a layer hardly uses carry perturbations all the same; without them the layer is of
lower rank. Whether robustness gains by that is what the certified accuracy says.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.layers import TRANSPOSED, affine_layers, require_plain


@dataclass(frozen=True, slots=True)
class ScaledLayer:
    """How many of a layer's singular values were scaled, and the largest of these before.

    `kept` is the smallest that was not scaled, None where all were.
    """

    layer: str
    scaled: int
    values: int
    largest_scaled: float
    kept: float | None


def scale_singular_values(
    module: nn.Module, share: float, factor: float, layers: Collection[str] | None = None
) -> tuple[ScaledLayer, ...]:
    """Multiply the smallest `share` of every layer's singular values by `factor`, in place.

    The number is rounded down. A convolution counts as the matrix from what a window reads to
    channels. `layers`: names of those to change, all if not given. Raises Unsupported for a name
    that no layer has and for a network without plain layers, ValueError for a
    share outside [0, 1] or a negative factor.
    """
    if not 0 <= share <= 1 or factor < 0:
        raise ValueError(f"a share in [0, 1] and a factor of at least 0, not {share} and {factor}")
    require_plain(module, "scaling singular values")
    found = dict(affine_layers(module))
    if not found:
        raise Unsupported("scaling singular values", "a network without affine layers")
    for name in layers or ():
        if name not in found:
            advice = "layers are " + ", ".join(f"`{n}`" for n in found)
            raise Unsupported("scaling singular values", f"`{name}`, which is no layer", advice)
    done: list[ScaledLayer] = []
    for name, layer in found.items():
        if layers is not None and name not in layers:
            continue
        first = isinstance(layer, TRANSPOSED)
        done.append(_scale(name, layer.weight, share, factor, transposed=first))
    return tuple(done)


def _scale(
    name: str, weight: Tensor, share: float, factor: float, *, transposed: bool
) -> ScaledLayer:
    with torch.no_grad():
        # The first axes of a transposed convolution are the input's channels.
        ordered = weight.transpose(0, 1) if transposed else weight
        matrix = ordered.flatten(1).double()
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        count = int(share * len(values) + 1e-9)
        changed = values.clone()
        changed[len(values) - count :] *= factor
        matrix = (left * changed) @ right
        new = matrix.to(weight.dtype).reshape(ordered.shape)
        weight.copy_(new.transpose(0, 1) if transposed else new)
    largest = float(values[-count]) if count else 0.0
    kept = float(values[-count - 1]) if count < len(values) else None
    return ScaledLayer(name, count, len(values), largest, kept)

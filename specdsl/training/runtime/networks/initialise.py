"""Weights to begin with: kept, PyTorch's own, or small enough for intervals to stay tight.

Nothing is re-initialised silently: each function says what it did, for the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.layers import AffineLayer, fan_in, require_plain

# A seed of PyTorch's generators is drawn below this.
SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class LayerStart:
    """How the weight of one layer was drawn, and its standard deviation before and after.

    `drawn`: `as PyTorch does`, or the distribution.
    """

    layer: str
    drawn: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Initialisation:
    """What was done: the scheme, and the layers whose weights were drawn anew (none for `keep`)."""

    scheme: Literal["keep", "default", "ibp"]
    layers: tuple[LayerStart, ...] = ()

    def lines(self) -> list[str]:
        """One line for the log and one for each layer."""
        if not self.layers:
            return ["init keep: weights are as given"]
        head = f"init {self.scheme}: {len(self.layers)} layers drawn anew"
        return [head, *(_line(layer) for layer in self.layers)]


def _line(start: LayerStart) -> str:
    change = f"deviation {start.before:.4g} -> {start.after:.4g}"
    return f"  {start.layer or 'network'}: {start.drawn}, {change}"


def keep(module: nn.Module) -> Initialisation:
    """Nothing is changed."""
    return Initialisation("keep")


def default(module: nn.Module, generator: torch.Generator) -> Initialisation:
    """Every layer as PyTorch initialises it, statistics of batch normalisation included.

    Repeatable from the generator alone; PyTorch's own generators are left as they were. Raises
    Unsupported for a parameter that no layer draws anew, and for weights that are computed.
    """
    layers = _resettable(module)
    before = {name: _deviation(layer) for name, layer in layers.items()}
    _reset(layers.values(), module, generator)
    starts = (
        LayerStart(name, "as PyTorch does", before[name], _deviation(layer))
        for name, layer in layers.items()
    )
    return Initialisation("default", tuple(starts))


def ibp(module: nn.Module, shape: tuple[int, ...], generator: torch.Generator) -> Initialisation:
    """Weights from N(0, 2 pi / n^2), n the entries that are read, but for the last layer.

    With these the expected width of an interval neither grows nor shrinks from layer to layer.
    Biases, the last layer and all other parameters are as `default` draws them. The last layer is
    the one that runs last on an input of this shape (without the batch axis).
    Raises Unsupported as `default` does, and where a network has no affine layer.
    Source: Shi et al. 2021, arXiv:2103.17268.
    """
    last = _last_layer(module, shape)
    starts = {start.layer: start for start in default(module, generator).layers}
    for name, start in starts.items():
        layer = module.get_submodule(name)
        if not isinstance(layer, AffineLayer) or layer is last:
            continue
        deviation = sqrt(2 * pi) / fan_in(layer)
        _draw_normal(layer.weight, deviation, generator)
        drawn = f"normal with deviation {deviation:.4g}"
        starts[name] = LayerStart(name, drawn, start.before, _deviation(layer))
    return Initialisation("ibp", tuple(starts.values()))


# --- parts ---------------------------------------------------------------------------------------


def _resettable(module: nn.Module) -> dict[str, nn.Module]:
    """The layers that draw their own parameters, which must be all parameters."""
    require_plain(module, "initialisation")
    found = {
        name: part
        for name, part in module.named_modules()
        if callable(getattr(part, "reset_parameters", None))
        and any(True for _ in (*part.parameters(False), *part.buffers(False)))
    }
    drawn = {id(p) for part in found.values() for p in part.parameters(recurse=False)}
    for name, parameter in module.named_parameters():
        if id(parameter) not in drawn:
            advice = "keep its values with `init = keep`, or give its layer `reset_parameters`"
            raise Unsupported("initialisation", f"the parameter `{name}`", advice)
    return found


def _reset(layers: Iterable[nn.Module], module: nn.Module, generator: torch.Generator) -> None:
    """Run what draws from PyTorch's global generators, then put these back as they were."""
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    seed = int(torch.randint(SEEDS, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=list(devices)):
        # And not `torch.manual_seed`, which also seeds devices that are not put back.
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        for layer in layers:
            reset = layer.reset_parameters
            assert callable(reset)
            reset()


def _draw_normal(weight: Tensor, deviation: float, generator: torch.Generator) -> None:
    drawn = torch.randn(weight.shape, generator=generator, device=generator.device)
    with torch.no_grad():
        weight.copy_(drawn * deviation)


def _deviation(layer: nn.Module) -> float:
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        return 0.0
    return float(weight.detach().std(correction=0))


def _last_layer(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The affine layer that runs last, found by running zeros through the module."""
    order: list[nn.Module] = []

    def note(part: nn.Module, *_: object) -> None:
        order.append(part)

    affine = [part for part in module.modules() if isinstance(part, AffineLayer)]
    hooks = [part.register_forward_hook(note) for part in affine]
    training = [part for part in module.modules() if part.training]
    try:
        module.eval()
        like = next(iter(affine)).weight if affine else torch.empty(0)
        with torch.no_grad():
            module(like.new_zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for part in training:
            part.training = True
    if not order:
        raise Unsupported("initialisation for intervals", "a network without affine layers")
    return order[-1]

"""Weights of layers from a file: which tensor of it is which argument of which layer.

Tensors are called as in the state dict of a PyTorch module: after the layer's name, or after its
number among the layers, from 0, where it has none, as in `nn.Sequential`. The layer on a skip is
`skip0`, on the next one `skip1`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError, suggestion
from specdsl.graph import ops
from specdsl.graph.safetensors import TensorFile
from specdsl.source import Span

Weights = Mapping[str, npt.NDArray[Any]]
"""Arguments of a layer that come from a file."""

_AFFINE = MappingProxyType({"weight": "weight", "bias": "bias"})
_SCALED = MappingProxyType({"gamma": "weight", "beta": "bias"})
TENSORS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "dense": _AFFINE,
        "conv": _AFFINE,
        "conv_transpose": _AFFINE,
        "batch_norm": MappingProxyType(
            {**_SCALED, "mean": "running_mean", "variance": "running_var"}
        ),
        "group_norm": _SCALED,
        "instance_norm": _SCALED,
        "layer_norm": _SCALED,
    }
)
"""For each layer with weights its arguments, and what their tensors are called in a state dict."""

NEEDED = frozenset({("dense", "weight"), ("conv", "weight"), ("conv_transpose", "weight")}) | {
    ("batch_norm", "mean"),
    ("batch_norm", "variance"),
}
"""What a layer cannot be without; other arguments have defaults, as in PyTorch."""

MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class Unweighted:
    """A layer before it has its weights.

    `layer`: its name or number. `given`: the arguments that are written out. `operand`: what
    arrives, batch axis included. `weight`: the shape that its size asks for, None where it has no
    size.
    """

    kind: str
    layer: str
    given: frozenset[str]
    operand: ops.Shape
    weight: ops.Shape | None
    span: Span


class WeightSource(Protocol):
    """Where weights come from that are not written out."""

    def of(self, layer: Unweighted) -> Weights:
        """The arguments of a layer that are not given."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TensorSource:
    """A file of tensors; `prefix` stands before the names of all layers."""

    file: TensorFile = field(repr=False)
    prefix: str = ""

    def of(self, layer: Unweighted) -> Weights:
        """As WeightSource says.

        Raises SpecError, placed at the layer: E0622 where a needed tensor is missing, E0524, E0606.
        """
        found: dict[str, npt.NDArray[Any]] = {}
        for argument, tensor in TENSORS.get(layer.kind, {}).items():
            name = f"{self.prefix}{layer.layer}.{tensor}"
            if argument in layer.given:
                continue
            if name in self.file.places:
                found[argument] = self._read(name, layer.span)
            elif (layer.kind, argument) in NEEDED:
                self._missing(name, layer.kind, layer.span)
        return found

    def _read(self, name: str, span: Span) -> npt.NDArray[Any]:
        try:
            return self.file.tensor(name)
        except SpecError as error:
            raise error.at(span) from error

    def _missing(self, name: str, kind: str, span: Span) -> NoReturn:
        names = list(self.file.places)
        listed = ", ".join(f"`{n}`" for n in names[:MAX_LISTED]) or "none"
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        hint = suggestion(name, names)
        help = f"{hint + '; ' if hint else ''}its tensors are {listed}{more}"
        text = f"layer `{kind}` has no weights: `{self.file.title}` has no tensor `{name}`"
        raise SpecError.of("E0622", text, span, help=help)


@dataclass(frozen=True, slots=True)
class NoWeights:
    """Zeros in the right shapes, for what is asked of a network before it is trained."""

    def of(self, layer: Unweighted) -> Weights:
        """As WeightSource says; nothing for a layer without a size."""
        found: dict[str, npt.NDArray[Any]] = {}
        if layer.kind == "batch_norm":
            found = {"mean": np.zeros(layer.operand[1]), "variance": np.ones(layer.operand[1])}
        elif layer.weight is not None:
            found = {"weight": np.zeros(layer.weight)}
        return {name: value for name, value in found.items() if name not in layer.given}


def expected_shape(
    kind: str, operand: ops.Shape, integers: Callable[[str], tuple[int, ...] | None]
) -> ops.Shape | None:
    """The shape that a layer declared by its size alone wants of its weight; None of others.

    `operand`: what arrives, batch axis included. `integers`: arguments that are whole numbers.
    """
    if kind == "dense":
        size = integers("size")
        return None if size is None else (*size, operand[-1])
    if kind not in {"conv", "conv_transpose"}:
        return None
    channels, kernel = integers("channels"), integers("kernel")
    if channels is None or kernel is None:
        return None
    rank = len(operand) - 2
    extents = kernel * rank if len(kernel) == 1 else kernel
    first = (*channels, operand[1]) if kind == "conv" else (operand[1], *channels)
    return (*first, *extents)

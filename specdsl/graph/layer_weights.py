"""Weights of layers from a file: which tensor of it is which argument of which layer.

Tensors are called as in the state dict of a PyTorch module: after the layer's name, or after its
number among the layers, from 0, where it has none, as in `nn.Sequential`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

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


@dataclass(frozen=True, slots=True, eq=False)
class WeightSource:
    """A file of tensors; `prefix` stands before the names of all layers."""

    file: TensorFile = field(repr=False)
    prefix: str = ""

    def of(self, kind: str, layer: str, given: frozenset[str], span: Span) -> Weights:
        """The arguments of a layer that are not `given`. `layer`: its name or number.

        Raises SpecError, placed at `span`: E0622 where a needed tensor is missing, E0524, E0606.
        """
        found: dict[str, npt.NDArray[Any]] = {}
        for argument, tensor in TENSORS.get(kind, {}).items():
            name = f"{self.prefix}{layer}.{tensor}"
            if argument in given:
                continue
            if name in self.file.places:
                found[argument] = self._read(name, span)
            elif (kind, argument) in NEEDED:
                self._missing(name, kind, span)
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

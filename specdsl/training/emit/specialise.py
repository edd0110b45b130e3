"""Bounds of one network as straight lines of PyTorch: intervals forward, CROWN backward.

Source: Gowal et al. 2018, arXiv:1810.12715, for intervals as centre and radius; Zhang et al. 2018,
arXiv:1811.00866, for the lines of ReLUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from specdsl.diagnostics import SpecError
from specdsl.graph.layer_call import LayerCall
from specdsl.graph.layers import LaidLayer, LaidSkip, Layout

# Functions that fall nowhere: ends go to ends. CROWN takes ReLUs alone.
MONOTONE = frozenset(
    {
        *("hardsigmoid", "hardtanh", "max_pool", "maxpool", "selu"),
        *("sigmoid", "softplus", "softsign", "tanh"),
    }
)
AVERAGES = frozenset({"average_pool", "avgpool"})
HELP = "leave `--standalone` away"


@dataclass(frozen=True, slots=True)
class BoundsText:
    """Lines of `intervals` and of `crown`, between what the template has. `kinds`: the layers that
    are met, for the helpers they need. `last`: the index of the last layer. `no_crown`: the first
    layer that CROWN does not cover, empty where it covers all.
    """

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    kinds: frozenset[str]
    last: int
    no_crown: str


def specialised(layout: Layout) -> BoundsText:
    """Raises SpecError E0901 for networks that plain scripts have no bounds for."""
    layers: list[LaidLayer] = []
    for step in layout.steps:
        if isinstance(step, LaidSkip):
            raise _refusal("sums of two layers (`add`)", None)
        layers.append(step)
    last = layers[-1].call
    if last.kind != "dense" or len(last.shape) != 2:
        raise _refusal(f"networks that end in `{last.kind}`", last)
    shape = layers[0].call.shape[1:]
    found = _Lines()
    if len(shape) != 1:
        sizes = ", ".join(map(str, shape))
        found.forward.append(f"c, r = c.view(-1, {sizes}), r.view(-1, {sizes})")
    for index, layer in enumerate(layers[:-1]):
        found.add(index, layer.call, layout.graph.shapes[layer.node][1:])
    found.backward.reverse()
    kinds = frozenset(layer.call.kind for layer in layers)
    lines = tuple(found.forward), tuple(found.backward)
    return BoundsText(*lines, kinds, len(layers) - 1, found.no_crown)


@dataclass(slots=True)
class _Lines:
    """Lines in the order of the layers. `boxes`: how many ReLUs there were."""

    forward: list[str] = field(default_factory=list[str])
    backward: list[str] = field(default_factory=list[str])
    boxes: int = 0
    no_crown: str = ""

    def add(self, index: int, call: LayerCall, after: Sequence[int]) -> None:
        """One layer, which gives values of the shape `after`."""
        net, before = f"net[{index}]", tuple(call.shape[1:])
        comment = f"  # {' x '.join(map(str, after))}"
        match call.kind:
            case "dense" if len(before) == 1:
                self.forward.append(f"c, r = {net}(c), F.linear(r, {net}.weight.abs()){comment}")
                self.backward.append(f"a, d = a @ {net}.weight, d + a @ {net}.bias")
            case "conv":
                self.forward.append(f"c, r = {net}(c), {_radius(net, call)}{comment}")
                axes = tuple(range(3, len(before) + 2))
                step = f"a, d = back.unflatten(0, a.shape[:2]), d + a.sum({axes}) @ {net}.bias"
                # Later lines first: the walk goes back.
                self.backward += [step, f"back = {_transposed(net, call, after)}"]
            case "relu":
                self.forward.append("c, r = relu(c, r, boxes)")
                self.backward.append(f"a, d = relu_back(a, d, boxes[{self.boxes}])")
                self.boxes += 1
            case "flatten":
                self.forward.append("c, r = c.flatten(1), r.flatten(1)")
                self.backward.append(f"a = a.unflatten(2, {before})")
            case "normalize":
                self.forward.append(f"c, r = {net}(c), r / {net}.std.abs()")
                self.backward.append(
                    f"a, d = a / {net}.std, d - (a * {net}.mean / {net}.std).flatten(2).sum(2)"
                )
            case kind if kind in MONOTONE:
                self.forward.append(f"c, r = monotone({net}, c, r){comment}")
                self.no_crown = self.no_crown or kind
            case kind if kind in AVERAGES:
                self.forward.append(f"c, r = {net}(c), {net}(r){comment}")
                self.no_crown = self.no_crown or kind
            case kind:
                raise _refusal(f"the layer `{kind}`", call)


def _windows(call: LayerCall) -> tuple[tuple[int, ...], ...]:
    """Strides, paddings and sizes of a convolution's windows."""
    rank = len(call.shape) - 2
    names = (("stride", 1), ("padding", 0), ("kernel", 1))
    return tuple(call.integers(name, rank, default) for name, default in names)


def _radius(net: str, call: LayerCall) -> str:
    """The radius through a convolution."""
    stride, padding, _ = _windows(call)
    options = _options((stride, 1), (padding, 0))
    return f"F.conv{len(stride)}d(r, {net}.weight.abs(){options})"


def _transposed(net: str, call: LayerCall, after: Sequence[int]) -> str:
    """Rows back through a convolution; the last rows and columns that no window reaches get 0."""
    stride, padding, kernel = _windows(call)
    past = tuple(
        m - ((n - 1) * s - 2 * p + k)
        for m, n, s, p, k in zip(call.shape[2:], after[1:], stride, padding, kernel, strict=True)
    )
    options = _options((stride, 1), (padding, 0), (past, 0))
    return f"F.conv_transpose{len(stride)}d(a.flatten(0, 1), {net}.weight{options})"


def _options(*given: tuple[tuple[int, ...], int]) -> str:
    """Arguments after the weight, the bias being none, up to the last that is not usual."""
    texts = [_extent(extents) for extents, _ in given]
    while texts and texts[-1] == str(given[len(texts) - 1][1]):
        texts.pop()
    return f", None, {', '.join(texts)}" if texts else ""


def _extent(extents: tuple[int, ...]) -> str:
    """One number where all axes agree."""
    return str(extents[0]) if len(set(extents)) == 1 else str(extents)


def _refusal(what: str, call: LayerCall | None) -> SpecError:
    text = f"{what} have no bounds in a script of plain PyTorch yet"
    if what.startswith("the layer"):
        text = f"{what} has no bounds in a script of plain PyTorch yet"
    return SpecError.of("E0901", text, None if call is None else call.span, help=HELP)

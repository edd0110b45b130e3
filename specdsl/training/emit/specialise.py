"""Bounds of one network as straight lines of PyTorch: intervals forward, CROWN backward.

Source: Gowal et al. 2018, arXiv:1810.12715, for intervals as centre and radius; Zhang et al. 2018,
arXiv:1811.00866, for the lines of ReLUs.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from specdsl.diagnostics import SpecError
from specdsl.graph.layer_call import LayerCall
from specdsl.graph.layers import LaidSkip, Layout
from specdsl.training.emit.lines import INDENT, WIDTH, split
from specdsl.training.emit.model import is_chain, on_skip

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
    are met, for the helpers they need. `no_crown`: the first
    layer that CROWN does not cover, empty where it covers all.
    """

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    kinds: frozenset[str]
    no_crown: str


def specialised(layout: Layout) -> BoundsText:
    """Raises SpecError E0901 for networks that plain scripts have no bounds for."""
    *steps, last = walked(layout)
    if last.call is None or last.call.kind != "dense" or len(last.call.shape) != 2:
        raise _refusal(f"networks that end in `{_kind(last)}`", last.call)
    shape = tuple(layout.graph.shapes[layout.graph.input][1:])
    forward = Forward()
    if len(shape) != 1:
        sizes = ", ".join(map(str, shape))
        forward.lines.append(f"c, r = c.view(-1, {sizes}), r.view(-1, {sizes})")
    kept = {step.right for step in steps if step.call is None}
    kept |= {step.call.operand for step in steps if step.call is not None and step.aside}
    forward.keep(layout.graph.input, kept)
    for step in steps:
        forward.step(step)
        forward.keep(step.node, kept)
    kinds = [_kind(step) for step in (*steps, last)]
    no_crown = next((kind for kind in kinds if kind in MONOTONE | AVERAGES), "")
    backward = () if no_crown else backward_lines(last.net, steps, layout.graph.input)
    merged = f"a, d = rows @ {last.net}.weight, rows @ {last.net}.bias + offset"
    forward.lines.append(f"{merged}  # layer and claim in one")
    return BoundsText(_fitted(forward.lines), _fitted(backward), frozenset(kinds), no_crown)


@dataclass(frozen=True, slots=True)
class Step:
    """A layer that is called `net` in the script, or the sum with `right` where `call` is None.

    `node`: what it gives, of the shape `after`; `aside`: whether it stands on a skip.
    """

    net: str
    call: LayerCall | None
    node: str
    after: tuple[int, ...]
    right: str = ""
    aside: bool = False


def walked(layout: Layout) -> list[Step]:
    """All layers and sums, in order."""
    found: list[Step] = []
    chain = is_chain(layout)
    for index, step in enumerate(layout.steps):
        after = tuple(layout.graph.shapes[step.node][1:])
        if isinstance(step, LaidSkip):
            found.append(Step("", None, step.node, after, right=step.right))
            continue
        net = f"net[{index}]" if chain else f'layers["{step.source}"]'
        found.append(Step(net, step.call, step.node, after, aside=on_skip(step)))
    return found


def _fitted(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines in the width of a script, without the remarks that have no place; pairs are broken."""
    found: list[str] = []
    for line in lines:
        bare = line.partition("  # ")[0]
        if len(INDENT + line) <= WIDTH or len(INDENT + bare) <= WIDTH:
            found.append(line if len(INDENT + line) <= WIDTH else bare)
            continue
        target, _, value = bare.partition(" = ")
        parts = split(value)
        broken = [f"{INDENT}{part}," for part in parts] if len(parts) > 1 else [f"{INDENT}{value}"]
        found += [f"{target} = (", *broken, ")"]
    return tuple(found)


def _kind(step: Step) -> str:
    return "add" if step.call is None else step.call.kind


@dataclass(slots=True)
class Forward:
    """Lines of `intervals`: from centre `c` and radius `r` of one layer to those of the next.

    `names`: of what a skip reads later, a pair each.
    """

    lines: list[str] = field(default_factory=list[str])
    names: dict[str, str] = field(default_factory=dict[str, str])

    def keep(self, node: str, kept: Set[str]) -> None:
        """Remember what a skip reads later."""
        if node in kept and node not in self.names:
            self.names[node] = f"kept_{len(self.names) + 1}"
            self.lines.append(f"{self.names[node]} = c, r")

    def step(self, step: Step) -> None:
        """The line of one layer or sum."""
        if step.call is None:
            other = self.names[step.right]
            self.lines.append(f"c, r = c + {other}[0], r + {other}[1]")
        elif step.aside:
            self._aside(step.net, step.call, step)
        else:
            self.add(step.net, step.call, step.after)

    def _aside(self, net: str, call: LayerCall, step: Step) -> None:
        """A layer on a skip: affine, from a pair to another."""
        given = self.names[call.operand]
        radius = _radius(net, call) if call.kind == "conv" else f"F.linear(r, {net}.weight.abs())"
        if call.kind not in {"dense", "conv"}:
            raise _refusal(f"the layer `{call.kind}` on a skip", call)
        self.names[step.node] = f"aside_{len(self.names) + 1}"
        value = f"{net}({given}[0]), {radius.replace('(r,', f'({given}[1],', 1)}"
        self.lines.append(f"{self.names[step.node]} = {value}")

    def add(self, net: str, call: LayerCall, after: Sequence[int]) -> None:
        """One layer, which gives values of the shape `after`."""
        comment = f"  # {' x '.join(map(str, after))}"
        match call.kind:
            case "dense" if len(call.shape) == 2:
                self.lines.append(f"c, r = {net}(c), F.linear(r, {net}.weight.abs()){comment}")
            case "conv":
                self.lines.append(f"c, r = {net}(c), {_radius(net, call)}{comment}")
            case "relu":
                self._relu()
            case "flatten":
                self.lines.append("c, r = c.flatten(1), r.flatten(1)")
            case "normalize":
                self.lines.append(f"c, r = {net}(c), r / {net}.std.abs()")
            case kind if kind in MONOTONE:
                self.lines.append(f"c, r = monotone({net}, c, r){comment}")
            case kind if kind in AVERAGES:
                self.lines.append(f"c, r = {net}(c), {net}(r){comment}")
            case kind:
                raise _refusal(f"the layer `{kind}`", call)

    def _relu(self) -> None:
        """A ReLU, on one line with the layer before it where it fits."""
        text, apart, comment = self.lines[-1].partition("  # ") if self.lines else ("", "", "")
        merged = f"c, r = relu({text.removeprefix('c, r = ')}, boxes){apart}{comment}"
        if comment and not text.startswith("c, r = relu") and len(INDENT + merged) <= WIDTH:
            self.lines[-1] = merged
        else:
            self.lines.append("c, r = relu(c, r, boxes)")


# --- rows back ------------------------------------------------------------------------------------


def backward_lines(last: str, steps: Sequence[Step], start: str) -> tuple[str, ...]:
    """Lines of `crown`: rows `a` (batch or 1, count, ...) and their offsets `d`, layer by layer.

    `start`: the input of the network.
    """
    back = _Back(f"rows @ {last}.weight", f"rows @ {last}.bias + offset")
    boxes = sum(_kind(step) == "relu" for step in steps)
    for index in reversed(range(len(steps))):
        step, call = steps[index], steps[index].call
        back.meet(step.node, aside=step.aside)
        if call is None:
            back.part(step.right)
        elif step.aside:
            back.aside(step.net, call, step)
        elif call.kind == "relu":
            boxes -= 1
            back.relu(boxes)
        elif call.kind == "flatten":
            # A ReLU gives rows the shape of its box by itself.
            if index == 0 or _kind(steps[index - 1]) != "relu":
                back.flush()
                back.lines.append(f"a = a.unflatten(2, {tuple(call.shape[1:])})")
        else:
            _affine_back(back, step.net, call, step.after)
    back.meet(start)
    back.flush(last=True)
    return tuple(back.lines)


def _affine_back(back: _Back, net: str, call: LayerCall, after: Sequence[int]) -> None:
    match call.kind:
        case "dense":
            back.affine(f"a @ {net}.weight", f"d + a @ {net}.bias")
        case "conv":
            back.flush()
            axes = tuple(range(3, len(call.shape) + 1))
            back.lines.append(f"d = d + a.sum({axes}) @ {net}.bias")
            back.affine(_transposed(net, call, after), "d", joined=True)
        case _:
            back.affine(f"a / {net}.std", f"d - (a * {net}.mean / {net}.std).flatten(2).sum(2)")


@dataclass(slots=True)
class _Back:
    """Lines, and what `a` and `d` are to become. `joined`: the axes of batch and rows are one."""

    a: str
    d: str
    joined: bool = False
    lines: list[str] = field(default_factory=list[str])
    sides: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    count: int = 0

    def part(self, right: str) -> None:
        """A sum: the same rows go to both of its parts."""
        self.flush()
        self.count += 1
        self.lines.append(f"a_{self.count} = a")
        self.sides.setdefault(right, []).append(f"a_{self.count}")

    def meet(self, node: str, *, aside: bool = False) -> None:
        """Rows that came over skips join those of the line."""
        if aside:
            return
        for name in self.sides.pop(node, []):
            self.flush(last=True)
            self.lines.append(f"a = a.reshape(-1, *{name}.shape[1:]) + {name}")

    def aside(self, net: str, call: LayerCall, step: Step) -> None:
        """Rows through an affine layer on a skip."""
        self.flush()
        for name in self.sides.pop(step.node, []):
            if call.kind == "dense":
                self.lines.append(f"d, {name} = d + {name} @ {net}.bias, {name} @ {net}.weight")
            else:
                axes = tuple(range(3, len(call.shape) + 1))
                self.lines.append(f"d = d + {name}.sum({axes}) @ {net}.bias")
                text = _transposed(net, call, step.after).replace("(a.", f"({name}.", 1)
                self.lines += [
                    f"{name} = {text}",
                    f"{name} = {name}.unflatten(0, (-1, d.shape[1]))",
                ]
            self.sides.setdefault(call.operand, []).append(name)

    def affine(self, a: str, d: str, *, joined: bool = False) -> None:
        """Through an affine layer."""
        self.flush()
        self.a, self.d, self.joined = a, d, joined

    def relu(self, box: int) -> None:
        """Through a ReLU, on one line with the layer behind it where it fits."""
        line = f"a, d = relu_back({self.a}, {self.d}, boxes[{box}])"
        if len(INDENT + line) > WIDTH:
            self.flush(last=True)
            line = f"a, d = relu_back(a, d, boxes[{box}])"
        self.lines.append(line)
        self.a, self.d, self.joined = "a", "d", False

    def flush(self, *, last: bool = False) -> None:
        """Say what is pending; `last`: what follows parts batch and rows by itself."""
        a = f"{self.a}.unflatten(0, (-1, d.shape[1]))" if self.joined and not last else self.a
        if self.d != "d":
            self.lines.append(f"a, d = {a}, {self.d}")
        elif a != "a":
            self.lines.append(f"a = {a}")
        self.a, self.d, self.joined = "a", "d", False


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

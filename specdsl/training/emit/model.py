"""The layers of a network as a PyTorch module, in text.

Parts are called as the layers are, or by their numbers: the tensors of a trained module then have
the names that a spec looks for in a file of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from types import MappingProxyType

from specdsl.diagnostics import SpecError
from specdsl.graph.layer_builders import shape_of
from specdsl.graph.layer_call import LayerCall
from specdsl.graph.layers import LaidLayer, LaidSkip, Layout
from specdsl.training.emit.numbers import real

Text = Callable[[LayerCall], str]


@dataclass(frozen=True, slots=True)
class Part:
    """One layer: how its module is made, and under which name; `comment`: what comes out."""

    name: str
    module: str
    comment: str


def module_text(layer: LaidLayer) -> str:
    """What makes the module of one layer: `nn.Conv2d(1, 16, 4, stride=2, padding=1)`.

    Raises SpecError E1106 where its weights are written out, so that nothing is left to train.
    """
    call = layer.call
    written = [a for a in ("weight", "bias", "gamma", "beta", "mean") if a in call.arguments]
    if written and call.kind != "normalize":
        text = f"layer `{call.kind}` has its `{written[0]}` written out, so it cannot be trained"
        raise SpecError.of(
            "E1106",
            text,
            call.arguments[written[0]].span,
            help="give the size alone, for example `dense(10)`",
        )
    return MODULES[call.kind](call)


def parts_of(layout: Layout) -> tuple[Part, ...]:
    """The modules of all layers, those on skips too, in order."""
    return tuple(
        Part(step.source, module_text(step), _shape_text(layout, step))
        for step in layout.steps
        if isinstance(step, LaidLayer)
    )


def is_chain(layout: Layout) -> bool:
    """Whether every layer reads what the one before gives."""
    return not any(isinstance(step, LaidSkip) for step in layout.steps)


def model_source(layout: Layout, name: str = "model") -> str:
    """A function `model()`, and before it a class where values are added up."""
    return _sequential(layout, name) if is_chain(layout) else _with_skips(layout, name)


def uses_normalize(layout: Layout) -> bool:
    """Whether the text needs `Normalize`."""
    return any(isinstance(s, LaidLayer) and s.call.kind == "normalize" for s in layout.steps)


def _sequential(layout: Layout, name: str) -> str:
    parts = parts_of(layout)
    numbered = all(part.name == str(i) for i, part in enumerate(parts))
    lines = [
        f"def {name}() -> nn.Sequential:",
        '    """The network, its weights not yet trained."""',
    ]
    if numbered:
        lines.append("    return nn.Sequential(")
        lines += [f"        {part.module},  # {part.comment}" for part in parts]
        lines.append("    )")
    else:
        lines.append("    parts: dict[str, nn.Module] = {")
        lines += [f'        "{part.name}": {part.module},  # {part.comment}' for part in parts]
        lines += ["    }", "    return nn.Sequential(OrderedDict(parts))"]
    return "\n".join(lines)


def _with_skips(layout: Layout, name: str) -> str:
    kind = "Net" if name == "model" else f"Net_{name}"
    lines = [
        f"class {kind}(nn.Module):",
        '    """The network; `skip` adds what came earlier."""',
        "",
    ]
    lines += ["    def __init__(self) -> None:", "        super().__init__()"]
    lines.append("        self.layers = nn.ModuleDict(")
    lines.append("            {")
    for part in parts_of(layout):
        lines.append(f'                "{part.name}": {part.module},  # {part.comment}')
    lines += ["            }", "        )", ""]
    lines.append("    def forward(self, x: Tensor) -> Tensor:")
    lines.append('        """(batch, *input) to (batch, *output)."""')
    names: dict[str, str] = {}
    kept = _kept(layout)
    if layout.graph.input in kept:
        names[layout.graph.input] = "start"
        lines.append("        start = x")
    for step in layout.steps:
        if isinstance(step, LaidSkip):
            lines.append(f"        x = x + {names[step.right]}")
        elif on_skip(step):
            names[step.node] = step.source
            given = names[step.call.operand]
            lines.append(f'        {step.source} = self.layers["{step.source}"]({given})')
        else:
            lines.append(f'        x = self.layers["{step.source}"](x)')
        if step.node in kept and step.node not in names:
            names[step.node] = f"at_{step.source if isinstance(step, LaidLayer) else 'sum'}"
            lines.append(f"        {names[step.node]} = x")
    lines.append("        return x")
    lines += ["", "", f"def {name}() -> nn.Module:", '    """The network, not yet trained."""']
    lines.append(f"    return {kind}()")
    return "\n".join(lines)


def on_skip(step: LaidLayer) -> bool:
    """Whether a layer stands on a skip, beside the line of layers."""
    # A layer of the line may be called `skip0` too; those on skips have no name of their own.
    return step.call.name is None and step.source.startswith("skip")


def _kept(layout: Layout) -> set[str]:
    """Nodes that a skip reads after the line of layers has gone on."""
    kept = {step.right for step in layout.steps if isinstance(step, LaidSkip)}
    steps = [step for step in layout.steps if isinstance(step, LaidLayer)]
    return kept | {step.call.operand for step in steps if on_skip(step)}


def _shape_text(layout: Layout, layer: LaidLayer) -> str:
    shape = layout.graph.shapes[layer.node][1:]
    return " x ".join(map(str, shape)) or "1"


# --- layer by layer -------------------------------------------------------------------------------


def _plain(text: str) -> Text:
    return lambda call: text


def _dense(call: LayerCall) -> str:
    return f"nn.Linear({call.shape[-1]}, {_size(call, 'size')})"


def _conv(call: LayerCall) -> str:
    rank = len(call.shape) - 2
    options = _windows(call, rank, ("stride", 1), ("padding", 0))
    kernel = _extent(call.integers("kernel", rank, 1))
    return f"nn.Conv{rank}d({call.shape[1]}, {_size(call, 'channels')}, {kernel}{options})"


def _conv_transpose(call: LayerCall) -> str:
    rank = len(call.shape) - 2
    options = _windows(call, rank, ("stride", 1), ("padding", 0), ("output_padding", 0))
    kernel = _extent(call.integers("kernel", rank, 1))
    channels = _size(call, "channels")
    return f"nn.ConvTranspose{rank}d({call.shape[1]}, {channels}, {kernel}{options})"


def _pool(name: str) -> Text:
    def text(call: LayerCall) -> str:
        rank = len(call.shape) - 2
        kernel = call.integers("kernel", rank, 1)
        options = _windows(call, rank, ("padding", 0))
        if call.has("stride"):
            options = f", stride={_extent(call.integers('stride', rank, 1))}{options}"
        return f"nn.{name}{rank}d({_extent(kernel)}{options})"

    return text


def _batch_norm(call: LayerCall) -> str:
    rank = max(1, len(call.shape) - 2)
    return f"nn.BatchNorm{rank}d({call.shape[1]}{_optional(call, 'epsilon', 'eps')})"


def _layer_norm(call: LayerCall) -> str:
    shape = ", ".join(map(str, call.shape[1:]))
    return f"nn.LayerNorm([{shape}]{_optional(call, 'epsilon', 'eps')})"


def _instance_norm(call: LayerCall) -> str:
    rank = max(1, len(call.shape) - 2)
    options = _optional(call, "epsilon", "eps")
    return f"nn.InstanceNorm{rank}d({call.shape[1]}{options}, affine=True)"


def _group_norm(call: LayerCall) -> str:
    groups = int(call.number("groups"))
    return f"nn.GroupNorm({groups}, {call.shape[1]}{_optional(call, 'epsilon', 'eps')})"


def _normalize(call: LayerCall) -> str:
    def values(name: str, default: int) -> str:
        if not call.has(name):
            return real(Fraction(default))
        tensor = call.tensor(name).reshape(-1)
        texts = [real(Fraction(v)) for v in tensor]
        return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"

    return f"Normalize(mean={values('mean', 0)}, std={values('std', 1)})"


def _with_number(module: str, argument: str) -> Text:
    def text(call: LayerCall) -> str:
        inner = real(call.number(argument)) if call.has(argument) else ""
        return f"nn.{module}({inner})"

    return text


def _clip(call: LayerCall) -> str:
    return f"nn.Hardtanh({real(call.number('minimum'))}, {real(call.number('maximum'))})"


def _flatten(call: LayerCall) -> str:
    return "nn.Flatten()"


def _reshape(call: LayerCall) -> str:
    unflatten = f"nn.Unflatten(1, {shape_of(call)})"
    return unflatten if len(call.shape) == 2 else f"nn.Sequential(nn.Flatten(), {unflatten})"


MODULES: Mapping[str, Text] = MappingProxyType(
    {
        "average_pool": _pool("AvgPool"),
        "avgpool": _pool("AvgPool"),
        "batch_norm": _batch_norm,
        "celu": _with_number("CELU", "alpha"),
        "clip": _clip,
        "conv": _conv,
        "conv_transpose": _conv_transpose,
        "dense": _dense,
        "dropout": _with_number("Dropout", "share"),
        "elu": _with_number("ELU", "alpha"),
        "flatten": _flatten,
        "gelu": _plain("nn.GELU()"),
        "gelu_tanh": _plain('nn.GELU(approximate="tanh")'),
        "group_norm": _group_norm,
        "hardsigmoid": _plain("nn.Hardsigmoid()"),
        "hardswish": _plain("nn.Hardswish()"),
        "hardtanh": _plain("nn.Hardtanh()"),
        "instance_norm": _instance_norm,
        "layer_norm": _layer_norm,
        "leaky_relu": _with_number("LeakyReLU", "slope"),
        "log_softmax": _plain("nn.LogSoftmax(dim=1)"),
        "max_pool": _pool("MaxPool"),
        "maxpool": _pool("MaxPool"),
        "mish": _plain("nn.Mish()"),
        "normalize": _normalize,
        "relu": _plain("nn.ReLU()"),
        "reshape": _reshape,
        "selu": _plain("nn.SELU()"),
        "sigmoid": _plain("nn.Sigmoid()"),
        "silu": _plain("nn.SiLU()"),
        "softmax": _plain("nn.Softmax(dim=1)"),
        "softplus": _plain("nn.Softplus()"),
        "softsign": _plain("nn.Softsign()"),
        "tanh": _plain("nn.Tanh()"),
    }
)
"""Every layer of the language, by its name."""


def _size(call: LayerCall, name: str) -> int:
    if not call.has(name):
        call.refuse("E0622", f"layer `{call.kind}` has no size", help="`dense(10)`, for example")
    return int(call.number(name))


def _extent(extents: tuple[int, ...]) -> str:
    """One number where all axes agree."""
    return str(extents[0]) if len(set(extents)) == 1 else str(extents)


def _windows(call: LayerCall, rank: int, *options: tuple[str, int]) -> str:
    """What differs from PyTorch's defaults."""
    text = ""
    for name, default in options:
        extents = call.integers(name, rank, default)
        if any(extent != default for extent in extents):
            text += f", {name}={_extent(extents)}"
    return text


def _optional(call: LayerCall, name: str, keyword: str) -> str:
    return f", {keyword}={real(call.number(name))}" if call.has(name) else ""


def input_text(layout: Layout) -> str:
    """The shape of one input, as a tuple."""
    return str(tuple(layout.graph.shapes[layout.graph.input][1:]))


def output_size(layout: Layout) -> int:
    """Number of outputs."""
    return prod(layout.graph.shapes[layout.graph.output])

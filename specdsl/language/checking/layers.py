"""Inline networks: the shape that goes through each `layer`, before any graph is built."""

from __future__ import annotations

from dataclasses import dataclass

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.layer_shapes import Shape, shape_after, spell
from specdsl.language.checking.settings import Matched, find, matched_word, settings
from specdsl.language.layer_schemas import LAYERS, NETWORK_SETTINGS, SKIPS
from specdsl.language.spec import WeightFile
from specdsl.language.types import RecordType, Type
from specdsl.language.typing.names import Context
from specdsl.language.typing.types import as_tensor, squeezed

INPUT = "input"
"""What a skip connection calls the input of the network."""


@dataclass(slots=True)
class _Progress:
    """What is known while the layers are walked: the shape so far and those of named layers."""

    shape: Shape
    named: dict[str, Shape]


@dataclass(frozen=True, slots=True, eq=False)
class CheckedLayers:
    """Whether nothing was reported, and where weights lie that are not written out."""

    sound: bool
    weights: WeightFile | None = None


def check_layers(
    item: syntax.Network, given: Type, result: Type, context: Context
) -> CheckedLayers:
    """Walk the layers of `item`: E0620, E0621 where one is wrong; stops at the first.

    Weights may be missing: training gives them, and who asks about the network needs them.
    """
    start = input_shape(given)
    progress = _Progress(start, {INPUT: start})
    written = [layer for layer in item.layers if isinstance(layer, syntax.Setting)]
    matched = settings(NETWORK_SETTINGS, written, item.span, context)
    for layer in item.layers:
        if not isinstance(layer, syntax.Setting) and not _step(layer, progress, context):
            return CheckedLayers(False)
    wanted = _output_shape(result)
    if squeezed(progress.shape) == squeezed(wanted):
        file = _weight_file(matched, context)
        missing = file is None and "weights" in matched.methods
        return CheckedLayers(matched.sound and not missing, file)
    context.error(
        "E0621",
        f"the layers end in {spell(progress.shape)}, but `{item.name}` gives {spell(wanted)}",
        item.layers[-1].span if item.layers else item.name_span,
        secondary=[(item.output_type.span, "declared here")],
    )
    return CheckedLayers(False)


def _weight_file(matched: Matched, context: Context) -> WeightFile | None:
    """The `weights` of a network; None where there are none, or after E0804."""
    method = matched.methods.get("weights")
    if method is None:
        return None
    path, prefix = method.paths["file"], method.values.get("prefix", "")
    if not path.name.lower().endswith(".safetensors"):
        message = f"`{path.name}` is no safetensors file by its name"
        context.error("E0804", message, method.spans["file"], help="they end in `.safetensors`")
        return None
    return WeightFile(path, prefix if isinstance(prefix, str) else "", method.span)


def input_shape(kind: Type) -> Shape:
    """The shape that the first layer sees: several fields are packed into a vector."""
    return _output_shape(kind) or (1,)


def _output_shape(kind: Type) -> Shape:
    """A tensor's own shape; a space is a packed vector, unless it is one tensor."""
    tensor = as_tensor(kind)
    if isinstance(kind, RecordType) and (tensor is None or kind.packed is not None):
        return (kind.size,)
    return tensor.shape if tensor is not None else (1,)


def _step(layer: syntax.Layer | syntax.Skip, progress: _Progress, context: Context) -> bool:
    if isinstance(layer, syntax.Skip):
        return _skip(layer, progress, context)
    shape = _layer(layer.value, progress.shape, context)
    if shape is None:
        return False
    progress.shape = shape
    if layer.name == INPUT:
        message = "`input` is the input of the network, not a layer"
        context.error("E0202", message, layer.span, help="give the layer another name")
        return False
    if layer.name in progress.named:
        context.error("E0202", f"two layers are called `{layer.name}`", layer.span)
        return False
    if layer.name is not None:
        progress.named[layer.name] = shape
    return True


def _layer(value: syntax.Expr, shape: Shape, context: Context) -> Shape | None:
    matched = matched_word(value, LAYERS, "E0620", context, unknown="E0620")
    if matched is None or not matched.sound:
        return None
    return shape_after(matched, shape, value, context)


# --- skip connections ----------------------------------------------------------------------------


def _skip(layer: syntax.Skip, progress: _Progress, context: Context) -> bool:
    ends = _ends(layer, context)
    if ends is None:
        return False
    start, by = ends.get("from"), ends.get("by")
    if not isinstance(start, syntax.Name):
        help = "write `skip add(from = c1)` with the name of a layer, or `from = input`"
        context.error("E0620", "a skip starts at a named layer", layer.span, help=help)
        return False
    shape = progress.named.get(start.name)
    if shape is None:
        names = ", ".join(f"`{n}`" for n in progress.named)
        hint = suggestion(start.name, progress.named) or ""
        message = f"no layer above is called `{start.name}`"
        context.error("E0620", message, start.span, label=hint, help=f"named layers: {names}")
        return False
    arrived = shape if by is None else _layer(by, shape, context)
    if arrived is None:
        return False
    if arrived != progress.shape:
        message = f"the skip brings {spell(arrived)} to {spell(progress.shape)}"
        context.error("E0621", message, layer.span, help="let `by` make the shapes equal")
        return False
    return True


def _ends(layer: syntax.Skip, context: Context) -> dict[str, syntax.Expr] | None:
    """The arguments of a skip by name; None after E0620."""
    found = find(layer.value, SKIPS, "E0620", context)
    if found is None:
        return None
    schema, arguments = found
    known = [option.name for option in schema.options]
    ends: dict[str, syntax.Expr] = {}
    for position, argument in enumerate(arguments):
        if isinstance(argument, syntax.NamedArgument):
            name, value = argument.name, argument.value
        elif position == 0 and not isinstance(argument, syntax.Comprehension):
            name, value = known[0], argument
        else:
            name, value = "", None
        if value is None or name not in known or name in ends:
            message = f"`{schema.name}` takes `from` and `by`, each once"
            hint = suggestion(name, known) or ""
            help = "for example `skip add(from = c1, by = conv(16, kernel = 1))`"
            context.error("E0620", message, argument.span, label=hint, help=help)
            return None
        ends[name] = value
    return ends

"""Inline networks: the shape that goes through each `layer`, before any graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from specdsl.language import constants, syntax
from specdsl.language.checking.names import Context, quote
from specdsl.language.checking.settings import Matched, find, match_arguments
from specdsl.language.checking.typing_types import as_tensor, squeezed
from specdsl.language.schemas import LAYERS
from specdsl.language.spec import Value
from specdsl.language.types import RecordType, TensorType, Type
from specdsl.source import Span

Shape = tuple[int, ...]

NETWORK_SETTINGS = ("init",)


@dataclass(frozen=True, slots=True)
class CheckedLayers:
    """`untrained`: the first thing that needs training; `sound`: whether nothing was reported."""

    sound: bool
    untrained: Span | None


@dataclass(slots=True)
class _Progress:
    """What is known while the layers are walked: the shape so far and those of named layers."""

    shape: Shape
    named: dict[str, Shape]
    untrained: Span | None = None


def untrained_layer(
    item: syntax.Network, given: Type, result: Type, context: Context
) -> CheckedLayers:
    """Walk the layers of `item`: E0620, E0621 where one is wrong; stops at the first."""
    progress = _Progress(input_shape(given), {})
    for layer in item.layers:
        if not _step(layer, progress, context):
            return CheckedLayers(False, progress.untrained)
    wanted = result.shape if isinstance(result, TensorType) else ()
    if squeezed(progress.shape) != squeezed(wanted):
        context.error(
            "E0621",
            f"the layers end in {_spell(progress.shape)}, but `{item.name}` gives {_spell(wanted)}",
            item.layers[-1].span if item.layers else item.name_span,
            secondary=[(item.output_type.span, "declared here")],
        )
        return CheckedLayers(False, progress.untrained)
    return CheckedLayers(True, progress.untrained)


def input_shape(kind: Type) -> Shape:
    """The shape that the first layer sees: several fields are packed into a vector."""
    tensor = as_tensor(kind)
    if tensor is not None:
        return tensor.shape or (1,)
    return (kind.size,) if isinstance(kind, RecordType) else (1,)


def _spell(shape: Shape) -> str:
    return str(TensorType(shape))


def _step(
    layer: syntax.Layer | syntax.Skip | syntax.Setting, progress: _Progress, context: Context
) -> bool:
    if isinstance(layer, syntax.Setting):
        if layer.name not in NETWORK_SETTINGS:
            message = f"a network has no setting `{layer.name}`"
            context.error("E0802", message, layer.span, help="it has `init`, for training")
            return False
        progress.untrained = progress.untrained or layer.span
        return True
    if isinstance(layer, syntax.Skip):
        return _skip(layer, progress, context)
    shape = _layer(layer.value, progress.shape, progress, context)
    if shape is None:
        return False
    progress.shape = shape
    if layer.name in progress.named:
        context.error("E0202", f"two layers are called `{layer.name}`", layer.span)
        return False
    if layer.name is not None:
        progress.named[layer.name] = shape
    return True


def _skip(layer: syntax.Skip, progress: _Progress, context: Context) -> bool:
    progress.untrained = progress.untrained or layer.span
    arguments = layer.value.arguments if isinstance(layer.value, syntax.Call) else ()
    named = {a.name: a.value for a in arguments if isinstance(a, syntax.NamedArgument)}
    start, by = named.get("from"), named.get("by")
    if not isinstance(start, syntax.Name):
        help = "write `skip add(from = c1)` with the name of a layer"
        context.error("E0620", "a skip starts at a named layer", layer.span, help=help)
        return False
    shape = progress.named.get(start.name)
    if shape is None:
        names = ", ".join(f"`{n}`" for n in progress.named) or "none"
        message = f"no layer above is called `{start.name}`"
        context.error("E0620", message, start.span, help=f"named layers: {names}")
        return False
    arrived = shape if by is None else _layer(by, shape, progress, context)
    if arrived is None:
        return False
    if arrived != progress.shape:
        message = f"the skip brings {_spell(arrived)} to {_spell(progress.shape)}"
        context.error("E0621", message, layer.span, help="let `by` make the shapes equal")
        return False
    return True


def _layer(value: syntax.Expr, shape: Shape, progress: _Progress, context: Context) -> Shape | None:
    found = find(value, LAYERS, "E0620", context)
    if found is None:
        return None
    schema, arguments = found
    matched = match_arguments(schema, arguments, value.span, context, unknown="E0620")
    if not matched.sound:
        return None
    if schema.name in {"dense", "conv"} and "weight" not in matched.values:
        progress.untrained = progress.untrained or value.span
    match schema.name:
        case "dense":
            return _dense(matched, shape, value, context)
        case "conv":
            return _conv(matched, shape, value, context)
        case "flatten":
            return (prod(shape),)
        case "normalize":
            return shape if _channels_fit(matched, shape, value, context) else None
        case _:
            return shape if _numbers_fit(matched, value, context) else None


def _dense(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    weight = matched.values.get("weight")
    size = matched.values.get("size")
    if weight is None and not isinstance(size, Fraction):
        return _weightless(matched, value, context)
    if len(shape) != 1:
        message = f"{quote(value)} takes a vector, but {_spell(shape)} arrives"
        _misfit(message, value.span, context, "put `layer flatten` before it")
        return None
    if weight is None:
        return (int(size),) if isinstance(size, Fraction) else None
    extents = constants.shape_of(weight)
    if len(extents) != 2:
        message = f"a dense weight is a matrix, not {_spell(extents)}"
        return _misfit(message, matched.spans["weight"], context)
    if extents[1] != shape[0]:
        message = f"the weight takes {extents[1]} entries, but {_spell(shape)} arrives"
        return _misfit(message, matched.spans["weight"], context)
    if isinstance(size, Fraction) and size != extents[0]:
        message = f"the weight has {extents[0]} rows, not {size}"
        return _misfit(message, matched.spans["weight"], context)
    return (extents[0],) if _bias_fits(matched, extents[0], context) else None


def _weightless(matched: Matched, value: syntax.Expr, context: Context) -> None:
    name = matched.schema.name
    message = f"`{name}` needs a size, or a weight"
    help = "write `dense(10)` or `dense(weight = [[...]], bias = [...])`"
    context.error("E0620", message, value.span, help=help if name == "dense" else None)


def _misfit(message: str, span: Span, context: Context, help: str | None = None) -> None:
    context.error("E0621", message, span, help=help)


def _bias_fits(matched: Matched, rows: int, context: Context) -> bool:
    bias = matched.values.get("bias")
    if bias is None or len(constants.entries(bias)) == rows:
        return True
    message = f"the bias has {len(constants.entries(bias))} entries, the weight {rows} rows"
    _misfit(message, matched.spans["bias"], context)
    return False


def _conv(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    spatial = shape[1:]
    if not spatial:
        message = f"{quote(value)} takes channels and axes, but {_spell(shape)} arrives"
        return _misfit(message, value.span, context)
    weight = matched.values.get("weight")
    if weight is not None:
        extents = constants.shape_of(weight)
        if len(extents) != len(shape) + 1 or extents[1] != shape[0]:
            message = f"a weight of shape {list(extents)} does not fit {_spell(shape)}"
            help = "axes of a weight: out, in, then one for each axis of the value"
            return _misfit(message, matched.spans["weight"], context, help)
        if not _bias_fits(matched, extents[0], context):
            return None
        channels, kernel = extents[0], extents[2:]
    else:
        size = matched.values.get("channels")
        kernel = _extents(matched, "kernel", len(spatial), None, 1, context)
        if not isinstance(size, Fraction) or kernel is None:
            return _weightless(matched, value, context)
        channels = int(size)
    stride = _extents(matched, "stride", len(spatial), 1, 1, context)
    padding = _extents(matched, "padding", len(spatial), 0, 0, context)
    if stride is None or padding is None:
        return None
    moved = tuple(
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip(spatial, padding, kernel, stride, strict=True)
    )
    if min(moved) < 1:
        message = f"a kernel {list(kernel)} does not fit into {list(spatial)}"
        return _misfit(message, value.span, context)
    return (channels, *moved)


def _extents(
    matched: Matched, name: str, count: int, default: int | None, least: int, context: Context
) -> Shape | None:
    value = matched.values.get(name)
    if value is None:
        return None if default is None else (default,) * count
    entries = constants.entries(value)
    entries = entries * count if len(entries) == 1 else entries
    if len(entries) == count and all(e.denominator == 1 and e >= least for e in entries):
        return tuple(int(e) for e in entries)
    message = f"`{name}` is one or {count} whole numbers, at least {least}"
    context.error("E0620", message, matched.spans[name])
    return None


def _channels_fit(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> bool:
    for name, given in matched.values.items():
        if len(constants.entries(given)) not in {1, shape[0] if shape else 1}:
            message = (
                f"`{name}` has {len(constants.entries(given))} entries for {shape[0]} channels"
            )
            _misfit(message, matched.spans[name], context)
            return False
        if name == "std" and any(v <= 0 for v in constants.entries(given)):
            context.error("E0620", "`std` must be positive", matched.spans[name])
            return False
    return True


def _numbers_fit(matched: Matched, value: syntax.Expr, context: Context) -> bool:
    values: Mapping[str, Value] = matched.values
    slope = values.get("slope")
    if isinstance(slope, Fraction) and slope > 1:
        context.error("E0620", f"the slope {slope} is not in [0, 1]", matched.spans["slope"])
        return False
    minimum, maximum = values.get("minimum"), values.get("maximum")
    if isinstance(minimum, Fraction) and isinstance(maximum, Fraction) and minimum >= maximum:
        message = f"the minimum {minimum} is not below the maximum {maximum}"
        context.error("E0620", message, value.span)
        return False
    return True

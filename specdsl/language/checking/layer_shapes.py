"""The shape that each sort of layer gives for the shape that it gets, without a batch axis."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from specdsl.language import constants, syntax
from specdsl.language.checking.settings import Matched
from specdsl.language.types import MAX_AXES, TensorType
from specdsl.language.typing.names import Context, quote
from specdsl.source import Span

Shape = tuple[int, ...]


def spell(shape: Shape) -> str:
    """A shape as its user writes it: `real[1, 28, 28]`."""
    return str(TensorType(shape))


def shape_after(
    matched: Matched, shape: Shape, value: syntax.Expr, context: Context
) -> Shape | None:
    """What a layer makes of `shape`; None after E0620 or E0621."""
    match matched.schema.name:
        case "dense":
            return _dense(matched, shape, value, context)
        case "conv":
            return _conv(matched, shape, value, context)
        case "conv_transpose":
            return _conv_transpose(matched, shape, value, context)
        case "average_pool" | "avgpool" | "max_pool" | "maxpool":
            return _pool(matched, shape, value, context)
        case "flatten":
            return (prod(shape),)
        case "reshape":
            return _reshape(matched, shape, context)
        case "normalize" | "batch_norm" | "instance_norm" | "group_norm":
            return shape if _channels_fit(matched, shape, value, context) else None
        case "layer_norm":
            return shape if _entries_fit(matched, shape, context) else None
        case "softmax" | "log_softmax":
            return _vector(shape, value, context)
        case _:
            return shape if _numbers_fit(matched, value, context) else None


def _misfit(message: str, span: Span, context: Context, help: str | None = None) -> None:
    context.error("E0621", message, span, help=help)


def _reshape(matched: Matched, shape: Shape, context: Context) -> Shape | None:
    span = matched.spans["shape"]
    extents = constants.entries(matched.values["shape"])
    if any(extent.denominator != 1 or extent < 1 for extent in extents):
        context.error("E0620", "a shape is made of whole numbers from 1", span)
        return None
    if len(extents) > MAX_AXES:
        context.error("E0620", f"a shape has at most {MAX_AXES} axes", span)
        return None
    after = tuple(int(extent) for extent in extents)
    if prod(after) == prod(shape):
        return after
    message = f"{spell(after)} has {prod(after)} entries, but {spell(shape)} arrives"
    return _misfit(message, span, context)


# --- layers with weights -------------------------------------------------------------------------


def _dense(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    weight = matched.values.get("weight")
    size = matched.values.get("size")
    if weight is None and not isinstance(size, Fraction):
        return _weightless(matched, value, context)
    if len(shape) != 1:
        message = f"{quote(value)} takes a vector, but {spell(shape)} arrives"
        return _misfit(message, value.span, context, "put `layer flatten` before it")
    if weight is None:
        rows = int(size) if isinstance(size, Fraction) else 0
        return (rows,) if _bias_fits(matched, rows, context) else None
    extents = constants.shape_of(weight)
    if len(extents) != 2:
        message = f"a dense weight is a matrix, not {spell(extents)}"
        return _misfit(message, matched.spans["weight"], context)
    if extents[1] != shape[0]:
        message = f"the weight takes {extents[1]} entries, but {spell(shape)} arrives"
        return _misfit(message, matched.spans["weight"], context)
    if isinstance(size, Fraction) and size != extents[0]:
        message = f"the weight has {extents[0]} rows, not {size}"
        return _misfit(message, matched.spans["weight"], context)
    return (extents[0],) if _bias_fits(matched, extents[0], context) else None


def _weightless(matched: Matched, value: syntax.Expr, context: Context) -> None:
    helps = {
        "dense": "write `dense(10)` or `dense(weight = [[...]], bias = [...])`",
        "conv": "write `conv(16, kernel = 3)` or `conv(weight = [[[[...]]]], bias = [...])`",
        "conv_transpose": "write `conv_transpose(16, kernel = 3)`, or give a `weight`",
    }
    name = matched.schema.name
    message = f"`{name}` needs a size, or a weight"
    context.error("E0620", message, value.span, help=helps[name])


def _bias_fits(matched: Matched, rows: int, context: Context) -> bool:
    bias = matched.values.get("bias")
    if bias is None or len(constants.entries(bias)) == rows:
        return True
    message = f"the bias has {len(constants.entries(bias))} entries, the weight {rows} rows"
    _misfit(message, matched.spans["bias"], context)
    return False


def _conv(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    if not _spatial(shape, value, context):
        return None
    weight, size = matched.values.get("weight"), matched.values.get("channels")
    if weight is not None:
        extents = constants.shape_of(weight)
        if len(extents) != len(shape) + 1 or extents[1] != shape[0]:
            message = f"a weight of shape {list(extents)} does not fit {spell(shape)}"
            help = "axes of a weight: out, in, then one for each axis of the value"
            return _misfit(message, matched.spans["weight"], context, help)
        if isinstance(size, Fraction) and size != extents[0]:
            message = f"the weight has {extents[0]} channels, not {size}"
            return _misfit(message, matched.spans["weight"], context)
        channels, kernel = extents[0], extents[2:]
    else:
        extents = _extents(matched, "kernel", len(shape) - 1, None, 1, context)
        if "kernel" in matched.values and extents is None:
            return None
        if not isinstance(size, Fraction) or extents is None:
            return _weightless(matched, value, context)
        channels, kernel = int(size), extents
    if not _bias_fits(matched, channels, context):
        return None
    stride = _extents(matched, "stride", len(kernel), (1,) * len(kernel), 1, context)
    padding = _extents(matched, "padding", len(kernel), (0,) * len(kernel), 0, context)
    if stride is None or padding is None:
        return None
    moved = _moved(shape[1:], kernel, stride, padding, value, context)
    return None if moved is None else (channels, *moved)


def _conv_transpose(
    matched: Matched, shape: Shape, value: syntax.Expr, context: Context
) -> Shape | None:
    if not _spatial(shape, value, context):
        return None
    count = len(shape) - 1
    found = _transposed_weight(matched, shape, value, context)
    if found is None or not _bias_fits(matched, found[0], context):
        return None
    stride = _extents(matched, "stride", count, (1,) * count, 1, context)
    padding = _extents(matched, "padding", count, (0,) * count, 0, context)
    added = _extents(matched, "output_padding", count, (0,) * count, 0, context)
    if stride is None or padding is None or added is None:
        return None
    if any(a >= s for a, s in zip(added, stride, strict=True)):
        message = f"an `output_padding` of {list(added)} is not below the stride {list(stride)}"
        return _misfit(message, matched.spans["output_padding"], context)
    moved = tuple(
        s * (n - 1) + k + a - 2 * p
        for n, k, s, p, a in zip(shape[1:], found[1:], stride, padding, added, strict=True)
    )
    if min(moved) >= 1:
        return (found[0], *moved)
    message = f"a padding of {list(padding)} leaves nothing of the result"
    return _misfit(message, matched.spans.get("padding", value.span), context)


def _transposed_weight(
    matched: Matched, shape: Shape, value: syntax.Expr, context: Context
) -> Shape | None:
    """Output channels and the extents of the kernel."""
    weight, size = matched.values.get("weight"), matched.values.get("channels")
    if weight is None:
        extents = _extents(matched, "kernel", len(shape) - 1, None, 1, context)
        if "kernel" in matched.values and extents is None:
            return None
        if not isinstance(size, Fraction) or extents is None:
            return _weightless(matched, value, context)
        return (int(size), *extents)
    extents = constants.shape_of(weight)
    if len(extents) != len(shape) + 1 or extents[0] != shape[0]:
        message = f"a weight of shape {list(extents)} does not fit {spell(shape)}"
        help = "axes of a transposed weight: in, out, then one for each axis of the value"
        return _misfit(message, matched.spans["weight"], context, help)
    if isinstance(size, Fraction) and size != extents[1]:
        message = f"the weight has {extents[1]} output channels, not {size}"
        return _misfit(message, matched.spans["weight"], context)
    return extents[1:]


# --- windows -------------------------------------------------------------------------------------


def _pool(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    if not _spatial(shape, value, context):
        return None
    count = len(shape) - 1
    kernel = _extents(matched, "kernel", count, None, 1, context)
    if kernel is None:
        return None
    stride = _extents(matched, "stride", count, kernel, 1, context)
    padding = _extents(matched, "padding", count, (0,) * count, 0, context)
    if stride is None or padding is None:
        return None
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        message = f"a window {list(kernel)} would lie in a padding of {list(padding)} alone"
        help = "a padding is at most half of the window"
        return _misfit(message, matched.spans["padding"], context, help)
    moved = _moved(shape[1:], kernel, stride, padding, value, context)
    return None if moved is None else (shape[0], *moved)


def _spatial(shape: Shape, value: syntax.Expr, context: Context) -> bool:
    if len(shape) > 1:
        return True
    message = f"{quote(value)} takes channels and axes, but {spell(shape)} arrives"
    help = f"declare the input with a channel: `real[1, {shape[0]}]`" if shape else None
    _misfit(message, value.span, context, help)
    return False


def _moved(
    spatial: Shape,
    kernel: Shape,
    stride: Shape,
    padding: Shape,
    value: syntax.Expr,
    context: Context,
) -> Shape | None:
    """How often a window fits along each axis."""
    moved = tuple(
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip(spatial, padding, kernel, stride, strict=True)
    )
    if min(moved) >= 1:
        return moved
    message = f"a kernel {list(kernel)} does not fit into {list(spatial)}"
    return _misfit(message, value.span, context)


def _extents(
    matched: Matched,
    name: str,
    count: int,
    default: Sequence[int] | None,
    least: int,
    context: Context,
) -> Shape | None:
    """An option as `count` whole numbers; one number stands for all of them."""
    value = matched.values.get(name)
    if value is None:
        return None if default is None else tuple(default)
    entries = constants.entries(value)
    entries = entries * count if len(entries) == 1 else entries
    if len(entries) == count and all(e.denominator == 1 and e >= least for e in entries):
        return tuple(int(e) for e in entries)
    message = f"`{name}` is one or {count} whole numbers, at least {least}"
    context.error("E0620", message, matched.spans[name])
    return None


# --- entry by entry ------------------------------------------------------------------------------


def _channels_fit(matched: Matched, shape: Shape, value: syntax.Expr, context: Context) -> bool:
    name = matched.schema.name
    both = {"mean", "variance"}
    if name == "batch_norm" and len(both & matched.values.keys()) == 1:
        message = "`batch_norm` takes `mean` and `variance` together, or neither"
        context.error("E0620", message, value.span, help="without both they come from training")
        return False
    if name in {"instance_norm", "group_norm"} and not _spatial(shape, value, context):
        return False
    groups = matched.values.get("groups")
    if isinstance(groups, Fraction) and shape[0] % groups:
        message = f"{groups} groups do not divide {shape[0]} channels"
        _misfit(message, matched.spans["groups"], context)
        return False
    for option, given in matched.values.items():
        entries = constants.entries(given)
        if len(entries) not in {1, shape[0] if shape else 1}:
            message = (
                f"`{option}` has {len(entries)} entries for {shape[0] if shape else 1} channels"
            )
            _misfit(message, matched.spans[option], context)
            return False
        if option == "std" and any(v <= 0 for v in entries):
            context.error("E0620", "`std` must be positive", matched.spans[option])
            return False
        if option == "variance" and any(v < 0 for v in entries):
            context.error("E0620", "`variance` is never negative", matched.spans[option])
            return False
    return True


def _entries_fit(matched: Matched, shape: Shape, context: Context) -> bool:
    for option in ("gamma", "beta"):
        given = matched.values.get(option)
        if given is not None and len(constants.entries(given)) not in {1, prod(shape)}:
            count = len(constants.entries(given))
            message = f"`{option}` has {count} entries for {prod(shape)} of the value"
            _misfit(message, matched.spans[option], context)
            return False
    return True


def _vector(shape: Shape, value: syntax.Expr, context: Context) -> Shape | None:
    if len(shape) == 1:
        return shape
    message = f"{quote(value)} takes a vector, but {spell(shape)} arrives"
    return _misfit(message, value.span, context, "put `layer flatten` before it")


def _numbers_fit(matched: Matched, value: syntax.Expr, context: Context) -> bool:
    values = matched.values
    for name, noun in (("slope", "slope"), ("share", "share")):
        number = values.get(name)
        if isinstance(number, Fraction) and number > 1:
            message = f"the {noun} {number} is not in [0, 1]"
            context.error("E0620", message, matched.spans[name])
            return False
    if values.get("alpha") == 0:
        context.error("E0620", "`alpha` must be positive", matched.spans["alpha"])
        return False
    minimum, maximum = values.get("minimum"), values.get("maximum")
    if isinstance(minimum, Fraction) and isinstance(maximum, Fraction) and minimum >= maximum:
        message = f"the minimum {minimum} is not below the maximum {maximum}"
        context.error("E0620", message, value.span)
        return False
    return True

"""Parts of things: fields of records, named outputs, entries of tensors, samples of datasets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.names import NOTHING, Context, SetFacts, Typed, quote
from specdsl.language.checking.typing_logic import check_label
from specdsl.language.checking.typing_operands import describe, whole
from specdsl.language.checking.typing_types import as_tensor, extent
from specdsl.language.spec import Value
from specdsl.language.types import (
    LabelType,
    NetworkType,
    RecordType,
    SetType,
    TensorType,
    TupleType,
    UnknownType,
)

SAMPLE_FIELDS = ("input", "label")


def attribute(expression: syntax.Attribute, context: Context) -> Typed:
    """`base.name`."""
    base = context.type_of(expression.base)
    kind, name = base.type, expression.name
    match kind:
        case UnknownType():
            return NOTHING
        case RecordType():
            field = kind.field(name)
            if field is not None:
                return Typed(field, None, base.variables)
            known = [n for n, _ in kind.fields]
            return _missing(expression, f"{kind} has no field `{name}`", known, "fields", context)
        case TensorType(labels=labels) if labels is not None:
            if name in labels.labels:
                scalar = replace(kind, shape=(), labels=None)
                position = labels.labels.index(name)
                return Typed(scalar, _entry(base.value, (position,)), base.variables)
            message = (
                f"{quote(expression.base)} has {len(labels.labels)} outputs indexed by "
                f"{labels.name}; none is named `{name}`"
            )
            return _missing(expression, message, list(labels.labels), "outputs", context)
        case TupleType():
            return _sample_field(expression, base, kind, context)
        case NetworkType():
            return _network_part(expression, context)
        case _:
            return _partless(expression, base, context)


def _missing(
    expression: syntax.Attribute, message: str, known: list[str], noun: str, context: Context
) -> Typed:
    hint = suggestion(expression.name, known)
    names = ", ".join(f"`{n}`" for n in known)
    return context.error(
        "E0203", message, expression.name_span, label=hint or "", help=f"its {noun}: {names}"
    )


def _sample_field(
    expression: syntax.Attribute, base: Typed, kind: TupleType, context: Context
) -> Typed:
    names = [name for name, _ in kind.items]
    usual = SAMPLE_FIELDS if len(names) == len(SAMPLE_FIELDS) else ()
    for candidates in (names, usual):
        if expression.name in candidates:
            position = candidates.index(expression.name)
            return Typed(kind.items[position][1], None, base.variables)
    known = [n for n in names if n] + list(usual)
    message = f"a sample {kind} has no part `{expression.name}`"
    return _missing(expression, message, known, "parts", context)


def _network_part(expression: syntax.Attribute, context: Context) -> Typed:
    if expression.name == "hidden":
        return context.later(
            "hidden neurons are", expression.span, "state the property on the network's outputs"
        )
    message = f"a network has no part `{expression.name}`"
    help = f"call it: {quote(expression.base).strip('`')}(x).{expression.name}"
    return context.error("E0203", message, expression.name_span, help=help)


def _partless(expression: syntax.Attribute, base: Typed, context: Context) -> Typed:
    kind = base.type
    help = None
    if isinstance(kind, SetType) and isinstance(kind.element, LabelType):
        help = f"labels stand alone: write `{expression.name}`"
    elif isinstance(kind, SetType):
        help = "a set has elements, not parts: quantify over it first"
    elif isinstance(kind, TensorType) and len(kind.shape) == 1:
        help = (
            f"its entries are {quote(expression.base).strip('`')}[0] to [{kind.shape[0] - 1}]; "
            "declare the output as `real[SomeEnum]` to name them"
        )
    return context.error(
        "E0203",
        f"{quote(expression.base)} is {describe(base)} and has no part `{expression.name}`",
        expression.name_span,
        help=help,
    )


# --- brackets ------------------------------------------------------------------------------------


def index(expression: syntax.Index, context: Context) -> Typed:
    """`base[...]`."""
    unbounded = _number_set(expression, context)
    if unbounded is not None:
        return unbounded
    base = context.type_of(expression.base)
    kind = base.type
    if isinstance(kind, UnknownType):
        for item in expression.items:
            if not isinstance(item, syntax.Slice):
                context.type_of(item)
        return NOTHING
    if isinstance(kind, SetType) and kind.finite:
        return _samples(expression, base, kind, context)
    tensor = as_tensor(kind)
    if tensor is not None and tensor.shape:
        return _entries(expression, base, tensor, context)
    help = None
    if isinstance(kind, RecordType):
        help = "pick a field by its name: " + ", ".join(f"`.{n}`" for n, _ in kind.fields)
    return context.error(
        "E0307",
        f"{quote(expression.base)} is {describe(base)} and has no entries",
        expression.span,
        help=help,
    )


def _number_set(expression: syntax.Index, context: Context) -> Typed | None:
    """`real[5]` where a set may stand: all tensors of that shape."""
    base = expression.base
    if not isinstance(base, syntax.Name) or base.name != "real" or context.lookup("real"):
        return None
    shape: list[int] = []
    for item in expression.items:
        size = None if isinstance(item, syntax.Slice) else extent(item, context)
        if size is None:
            return NOTHING
        shape.append(size)
    facts = SetFacts(unbounded=(expression.span, f"{quote(expression)} has no bounds"))
    return Typed(SetType(TensorType(tuple(shape))), set=facts)


def _samples(expression: syntax.Index, base: Typed, kind: SetType, context: Context) -> Typed:
    if len(expression.items) != 1:
        message = "a dataset has one index: the number of the sample"
        return context.error("E0305", message, expression.span)
    (item,) = expression.items
    if isinstance(item, syntax.Slice):
        return base if _slice_fits(item, context) else NOTHING
    if _position(item, None, expression, context) is None:
        return NOTHING
    return Typed(kind.element) if kind.element is not None else NOTHING


def _slice_fits(item: syntax.Slice, context: Context) -> bool:
    ends = [_position(e, None, item, context) for e in (item.start, item.stop) if e is not None]
    if any(end is None for end in ends):
        return False
    values = [whole(end.value) for end in ends if end is not None]
    if len(values) != 2:
        return True
    first, stop = values
    if first is None or stop is None or first < stop:
        return True
    context.error(
        "E0403",
        f"the slice is empty: it starts at {first} and ends before {stop}",
        item.span,
        help=f"the end is excluded: one sample is `[{first}:{first + 1}]`",
    )
    return False


def _position(
    item: syntax.Expr, size: int | None, whole_: syntax.Node, context: Context
) -> Typed | None:
    """A fixed whole number that counts from 0, below `size` where known; None if reported."""
    typed = context.type_of(item)
    if not typed.known:
        return None
    if typed.variables:
        context.later("indices that depend on quantified variables are", item.span)
        return None
    kind = typed.type
    if isinstance(kind, LabelType):
        return typed
    if not (isinstance(kind, TensorType) and kind.shape == () and kind.element == "int"):
        message = f"an index is a whole number, but {quote(item)} is {describe(typed)}"
        context.error("E0304", message, item.span)
        return None
    value = whole(typed.value)
    if value is not None and (value < 0 or (size is not None and value >= size)):
        label = f"entries are 0 to {size - 1}" if size is not None else "samples count from 0"
        message = f"there is no entry {value} in {quote(whole_)}"
        context.error("E0306", message, item.span, label=label)
        return None
    return typed


def _entries(expression: syntax.Index, base: Typed, tensor: TensorType, context: Context) -> Typed:
    if base.form == "margin":
        return NOTHING
    if any(isinstance(item, syntax.Slice) for item in expression.items) or len(
        expression.items
    ) < len(tensor.shape):
        return context.later(
            "slices of tensors are",
            expression.span,
            f"give one index for each axis: the shape is {list(tensor.shape)}",
        )
    if len(expression.items) > len(tensor.shape):
        message = f"{len(expression.items)} indices, but the shape is {list(tensor.shape)}"
        return context.error("E0305", message, expression.span)
    positions: list[int | None] = []
    for item, size in zip(expression.items, tensor.shape, strict=True):
        if isinstance(item, syntax.Slice):
            return NOTHING
        position = _entry_position(item, size, tensor, expression, context)
        if position is None:
            return NOTHING
        positions.append(whole(position.value))
    known = tuple(p for p in positions if p is not None)
    value = _entry(base.value, known) if len(known) == len(positions) else None
    return Typed(replace(tensor, shape=(), labels=None), value, base.variables)


def _entry_position(
    item: syntax.Expr, size: int, tensor: TensorType, whole_: syntax.Index, context: Context
) -> Typed | None:
    typed = _position(item, size, whole_, context)
    if typed is None or not isinstance(typed.type, LabelType):
        return typed
    label = LabelType(size, tensor.labels if len(tensor.shape) == 1 else None)
    return typed if check_label((item, typed), (whole_.base, label), context) else None


def _entry(value: Value | None, position: tuple[int, ...]) -> Value | None:
    return value[position] if isinstance(value, np.ndarray) else None

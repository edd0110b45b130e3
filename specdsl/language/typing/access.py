"""Parts of things: fields of records, named outputs, entries of tensors, samples of datasets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from specdsl.diagnostics import suggestion
from specdsl.language import constants, syntax
from specdsl.language.modules.namespaces import sibling
from specdsl.language.types import (
    REAL,
    FieldType,
    LabelType,
    NetworkType,
    RecordType,
    SetType,
    TensorType,
    TupleType,
    UnknownType,
    VotesType,
)
from specdsl.language.typing.labels import check_label
from specdsl.language.typing.names import NOTHING, Context, SetFacts, Typed, quote
from specdsl.language.typing.networks import hidden_entry
from specdsl.language.typing.operands import (
    describe,
    only_class,
    sorted_variables,
    text_of,
    whole,
)
from specdsl.language.typing.temporal import check_moment
from specdsl.language.typing.types import as_tensor, extent

SAMPLE_FIELDS = ("input", "label")


def attribute(expression: syntax.Attribute, context: Context) -> Typed:
    """`base.name`."""
    base = context.type_of(expression.base)
    kind, name = base.type, expression.name
    match kind:
        case UnknownType():
            return NOTHING
        case RecordType():
            return _field(expression, base, kind, context)
        case TensorType(labels=labels) if labels is not None:
            if name in labels.labels:
                scalar = replace(kind, shape=(), labels=None)
                position = labels.labels.index(name)
                value = None if base.value is None else constants.part(base.value, (position,))
                return Typed(scalar, value, base.variables, computed=base.computed)
            message = (
                f"{quote(expression.base)} has {len(labels.labels)} outputs indexed by "
                f"{labels.name}; none is named `{name}`"
            )
            return _missing(expression, message, list(labels.labels), "outputs", context)
        case TupleType():
            return _named_part(expression, base, kind, context)
        case NetworkType():
            return _network_part(expression, context)
        case _:
            return _partless(expression, base, context)


def _field(expression: syntax.Attribute, base: Typed, kind: RecordType, context: Context) -> Typed:
    field = kind.field(expression.name)
    if field is None:
        message = f"{kind} has no field `{expression.name}`"
        return _missing(expression, message, [n for n, _ in kind.fields], "fields", context)
    if not check_moment(expression, base, context):
        return NOTHING
    return Typed(field, None, base.variables)


def _missing(
    expression: syntax.Attribute, message: str, known: list[str], noun: str, context: Context
) -> Typed:
    hint = suggestion(expression.name, known)
    names = ", ".join(f"`{n}`" for n in known)
    return context.error(
        "E0203", message, expression.name_span, label=hint or "", help=f"its {noun}: {names}"
    )


def _named_part(
    expression: syntax.Attribute, base: Typed, kind: TupleType, context: Context
) -> Typed:
    """A named output of a network, or `input` and `label` of a sample."""
    names = [name for name, _ in kind.items]
    sample = len(names) == len(SAMPLE_FIELDS) and not any(names)
    candidates = [*SAMPLE_FIELDS] if sample else names
    if expression.name in candidates:
        position = candidates.index(expression.name)
        value = base.value[position] if isinstance(base.value, tuple) else None
        return Typed(kind.items[position][1], value, base.variables)
    message = f"{quote(expression.base)} is {kind} and has no part `{expression.name}`"
    return _missing(expression, message, [n for n in candidates if n], "parts", context)


def _network_part(expression: syntax.Attribute, context: Context) -> Typed:
    text = text_of(expression.base)
    if expression.name == "hidden":
        return context.error(
            "E0305",
            "`hidden` takes the name of a value, as the ONNX file calls it",
            expression.span,
            help=f'write `{text}.hidden("relu_3")`',
        )
    message = f"a network has no part `{expression.name}`"
    help = f"call it: `{text}(x).{expression.name}`"
    return context.error("E0203", message, expression.name_span, help=help)


def _partless(expression: syntax.Attribute, base: Typed, context: Context) -> Typed:
    kind = base.type
    if isinstance(kind, VotesType):
        return only_class(expression.base, context)
    help = None
    if isinstance(kind, SetType) and isinstance(kind.element, LabelType):
        label = expression.name
        label = sibling(kind.element.labels.name, label) if kind.element.labels else label
        help = f"labels stand alone: write `{label}`"
    elif isinstance(kind, SetType):
        help = "a set has elements, not parts: quantify over it first"
    elif isinstance(kind, TensorType) and len(kind.shape) == 1:
        help = (
            f"its entries are `{text_of(expression.base)}[0]` to `[{kind.shape[0] - 1}]`; "
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
        return _unread_entry(expression, base, kind, context)
    if isinstance(kind, SetType) and kind.finite:
        return _samples(expression, base, kind, context)
    if isinstance(kind, RecordType) and len(expression.items) == 1:
        (item,) = expression.items
        label = None if isinstance(item, syntax.Slice) else context.type_of(item)
        if label is not None and isinstance(label.type, FieldType):
            return _field_by_label(expression, base, kind, label, context)
    if isinstance(kind, TupleType):
        return _tuple_item(expression, base, kind, context)
    if isinstance(kind, NetworkType):
        return _network_entry(expression, kind, context)
    if isinstance(kind, VotesType):
        return only_class(expression.base, context)
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


def _unread_entry(
    expression: syntax.Index, base: Typed, kind: UnknownType, context: Context
) -> Typed:
    """An entry of what only files know: a number, if every axis has an index."""
    fixed = True
    for item in expression.items:
        if isinstance(item, syntax.Slice):
            fixed = False
        elif _position(item, None, expression, context) is None:
            return NOTHING
    if kind.reason and fixed:
        return Typed(REAL, None, base.variables)
    return Typed(kind, None, base.variables)


def _network_entry(expression: syntax.Index, kind: NetworkType, context: Context) -> Typed:
    if not isinstance(kind.output, UnknownType):
        text = text_of(expression.base)
        return context.error(
            "E0307",
            f"{quote(expression.base)} is a network and has no entries",
            expression.span,
            help=f"its output has them: `{text}(x)[0]`",
        )
    for item in expression.items:
        if isinstance(item, syntax.Slice):
            message = "one entry of a hidden value is picked here, not a slice"
            help = f"slice what it gives: `{text_of(expression.base)}(x)[...]`"
            return context.error("E0307", message, item.span, help=help)
        if _position(item, None, expression, context) is None:
            return NOTHING
    return hidden_entry(kind)


def _field_by_label(
    expression: syntax.Index, base: Typed, kind: RecordType, label: Typed, context: Context
) -> Typed:
    """`a[f]` for a name f of a field; the common type where f is not unrolled yet."""
    names = [label.value] if isinstance(label.value, str) else [n for n, _ in kind.fields]
    found = {kind.field(name) for name in names}
    if None in found:
        message = f"{kind} has no field `{names[0]}`"
        return context.error("E0203", message, expression.span)
    first = next(iter(found))
    return Typed(first, None, base.variables) if len(found) == 1 and first else NOTHING


def _tuple_item(expression: syntax.Index, base: Typed, kind: TupleType, context: Context) -> Typed:
    items = expression.items
    position = (
        _position(items[0], len(kind.items), expression, context)
        if len(items) == 1 and not isinstance(items[0], syntax.Slice)
        else None
    )
    number = whole(position.value) if position is not None else None
    if number is None:
        message = f"one of {len(kind.items)} values is picked by a fixed number"
        return context.error("E0304", message, expression.span)
    value = base.value[number] if isinstance(base.value, tuple) else None
    return Typed(kind.items[number][1], value, base.variables)


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
        return base if slice_of(item, None, context) is not None else NOTHING
    if _position(item, None, expression, context) is None:
        return NOTHING
    return Typed(kind.element) if kind.element is not None else NOTHING


@dataclass(frozen=True, slots=True)
class _Extent:
    """`start:stop` of an axis; None where an end is known only later."""

    start: int | None
    stop: int | None

    @property
    def length(self) -> int | None:
        """Number of entries, where both ends are known."""
        return None if self.start is None or self.stop is None else self.stop - self.start


def slice_of(item: syntax.Slice, size: int | None, context: Context) -> _Extent | None:
    """The ends of a slice of an axis with `size` entries (None: of a dataset); None if reported."""
    ends: list[int | None] = []
    for end, default in ((item.start, 0), (item.stop, size)):
        if end is None:
            ends.append(default)
            continue
        typed = _position(end, None if size is None else size + 1, item, context)
        if typed is None:
            return None
        ends.append(whole(typed.value))
    first, stop = ends
    if first is not None and stop is not None and first >= stop:
        context.error(
            "E0403",
            f"the slice is empty: it starts at {first} and ends before {stop}",
            item.span,
            help=f"the end is excluded: one is `[{first}:{first + 1}]`",
        )
        return None
    return _Extent(first, stop)


def _position(
    item: syntax.Expr, size: int | None, whole_: syntax.Node, context: Context
) -> Typed | None:
    """A fixed whole number that counts from 0, below `size` where known; None if reported."""
    typed = context.type_of(item)
    if not typed.known:
        return None
    if typed.variables:
        _varying_index(item, typed, whole_, context)
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
        label = f"entries are 0 to {size - 1}" if size is not None else "they count from 0"
        message = f"there is no entry {value} in {quote(whole_)}"
        context.error("E0306", message, item.span, label=label)
        return None
    return typed


def _varying_index(item: syntax.Expr, typed: Typed, whole_: syntax.Node, context: Context) -> None:
    base = text_of(whole_.base) if isinstance(whole_, syntax.Index) else "v"
    argument = next(iter(item.arguments), None) if isinstance(item, syntax.Call) else None
    help = (
        f"go through all entries: `forall i in 0..9 where {text_of(item)} == i: ... {base}[i] ...`"
    )
    if argument is not None and base == argument.span.text:
        name = "max" if item.span.text.startswith("argmax") else "min"
        help = f"the best score itself is `{name}({base})`"
    context.error(
        "E0901",
        f"an index that varies is not supported yet: {quote(item)} depends on "
        + ", ".join(f"`{v.name}`" for v in sorted_variables(typed)),
        item.span,
        secondary=[(v.span, f"`{v.name}` is quantified here") for v in sorted_variables(typed)],
        help=help,
    )


def _entries(expression: syntax.Index, base: Typed, tensor: TensorType, context: Context) -> Typed:
    """Entries and slices; axes without an index are kept whole."""
    if len(expression.items) > len(tensor.shape):
        message = f"{len(expression.items)} indices, but the shape is {list(tensor.shape)}"
        return context.error("E0305", message, expression.span)
    shape: list[int] = []
    places: list[int | slice | None] = []
    for item, size in zip(expression.items, tensor.shape, strict=False):
        if isinstance(item, syntax.Slice):
            extent_ = slice_of(item, size, context)
            if extent_ is None:
                return NOTHING
            if extent_.length is None:
                message = "the length of a slice of a tensor is fixed: its ends are constants"
                return context.error("E0312", message, item.span)
            shape.append(extent_.length)
            places.append(slice(extent_.start, extent_.stop))
        else:
            position = _entry_position(item, size, tensor, expression, context)
            if position is None:
                return NOTHING
            places.append(whole(position.value))
    known = tuple(place for place in places if place is not None)
    value = base.value
    if value is not None:
        value = constants.part(value, known) if len(known) == len(places) else None
    kept = (*shape, *tensor.shape[len(expression.items) :])
    kind = replace(tensor, shape=kept, labels=tensor.labels if kept == tensor.shape else None)
    return Typed(kind, value, base.variables, computed=base.computed)


def _entry_position(
    item: syntax.Expr, size: int, tensor: TensorType, whole_: syntax.Index, context: Context
) -> Typed | None:
    typed = _position(item, size, whole_, context)
    if typed is None or not isinstance(typed.type, LabelType):
        return typed
    label = LabelType(size, tensor.labels if len(tensor.shape) == 1 else None)
    return typed if check_label((item, typed), (whole_.base, label), context) else None

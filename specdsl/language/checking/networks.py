"""`network` and `dataset`: what comes from files, and networks written in the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from specdsl.language import syntax
from specdsl.language.checking.layers import check_layers
from specdsl.language.checking.settings import Matched, matched_word, settings
from specdsl.language.schemas import (
    DATASET_SETTINGS,
    NETWORK_SOURCES,
    READERS,
    Schema,
)
from specdsl.language.spec import (
    DatasetDeclaration,
    GivenNetwork,
    NetworkDeclaration,
    OnnxFile,
    Value,
    WeightFile,
)
from specdsl.language.types import (
    LabelType,
    NetworkType,
    RecordType,
    SetType,
    TensorType,
    TupleType,
    Type,
    UnknownType,
)
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, quote
from specdsl.language.typing.operands import describe
from specdsl.language.typing.types import fits, resolve, squeezed


def network(item: syntax.Network, context: Context) -> tuple[Symbol, NetworkDeclaration | None]:
    """The network as a function, and its description for elaboration."""
    given, result = resolve(item.input_type, context), resolve(item.output_type, context)
    sound = _sound(item.input_type, given, "takes", context)
    sound = _sound(item.output_type, result, "gives", context) and sound
    if item.value is not None and not _is_reader(item.value, context):
        source = _expression(item, item.value, given, result, context)
    elif item.value is not None:
        source = _reader_or_given(item.value, context)
    elif sound and _single(item, given, result, context):
        layers = check_layers(item, given, result, context)
        source = _Source(layers.sound, weights=layers.weights)
    else:
        source = _Source(False)
    if isinstance(given, UnknownType) or isinstance(result, UnknownType):
        return Symbol(item.name, "network", item.name_span, NOTHING), None
    typed = Typed(NetworkType(given, result))
    symbol = Symbol(item.name, "network", item.name_span, typed)
    if not (sound and source.sound):
        return symbol, None
    return symbol, NetworkDeclaration(
        item.name,
        given,
        result,
        source.onnx,
        item.layers,
        item.span,
        source.value,
        source.given,
        source.weights,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where a network comes from; `sound`: whether nothing was reported."""

    sound: bool = True
    onnx: OnnxFile | None = None
    value: syntax.Expr | None = None
    given: GivenNetwork | None = None
    weights: WeightFile | None = None


def _sound(place: syntax.TypeExpr, kind: Type, verb: str, context: Context) -> bool:
    """Whether a network can take or give a value of this type; E0302 or E0714 where not."""
    if isinstance(kind, UnknownType):
        return False
    if isinstance(kind, TupleType):
        slots = place.slots if isinstance(place, syntax.TypeTuple) else ()
        parts = [part for _, part in kind.items]
        # All of them are looked at, so that one run shows all mistakes.
        fine = [
            _slot_sound(slot, part, verb, context) for slot, part in zip(slots, parts, strict=True)
        ]
        return all(fine) and _names_differ(slots, context)
    if isinstance(kind, TensorType | RecordType):
        return True
    message = f"a network {verb} numbers, not {kind}"
    help = "write `real[n]` or a space" if verb == "takes" else "write `real[n]`"
    context.error("E0302", message, place.span, help=help)
    return False


def _slot_sound(slot: syntax.TypeSlot, kind: Type, verb: str, context: Context) -> bool:
    if isinstance(kind, TupleType):
        message = f"what a network {verb} is a list of tensors and spaces, without lists in it"
        context.error("E0302", message, slot.span)
        return False
    if slot.name is None and not isinstance(kind, UnknownType):
        noun = "input" if verb == "takes" else "output"
        context.error(
            "E0714",
            f"each of several {noun}s has a name",
            slot.span,
            help=f"for example `(first: {kind}, second: real[2])`",
        )
        return False
    return _sound(slot.type, kind, verb, context)


def _names_differ(slots: Sequence[syntax.TypeSlot], context: Context) -> bool:
    first: dict[str, syntax.TypeSlot] = {}
    for slot in slots:
        if slot.name is not None and slot.name in first:
            secondary = [(first[slot.name].span, "first here")]
            message = f"`{slot.name}` is the name of two values"
            context.error("E0202", message, slot.span, secondary=secondary)
            return False
        first.setdefault(slot.name or "", slot)
    return True


def _single(item: syntax.Network, given: Type, result: Type, context: Context) -> bool:
    """Layers go from one value to one."""
    for place, kind, verb in ((item.input_type, given, "take"), (item.output_type, result, "give")):
        if isinstance(kind, TupleType):
            context.error(
                "E0621",
                f"layers {verb} one value, but `{item.name}` {verb}s {len(kind.items)}",
                place.span,
                help="read a network with several inputs or outputs by `onnx(...)`",
            )
            return False
    return True


# --- sources -------------------------------------------------------------------------------------


def _is_reader(value: syntax.Expr, context: Context) -> bool:
    """Whether a word of the language stands there, or something misspelt, and not a network."""
    head = value.function if isinstance(value, syntax.Call) else value
    return isinstance(head, syntax.Name) and context.lookup(head.name) is None


def _expression(
    item: syntax.Network, value: syntax.Expr, given: Type, result: Type, context: Context
) -> _Source:
    """`encoder >> head`, or another network under a new name and type."""
    typed = context.type_of(value)
    if not typed.known:
        return _Source(False)
    if not isinstance(typed.type, NetworkType):
        context.error(
            "E0302",
            f"a network is needed here, but {quote(value)} is {describe(typed)}",
            value.span,
            help='for example `onnx("f.onnx")`, or two networks joined by `>>`',
        )
        return _Source(False)
    if not fits(typed.type, NetworkType(given, result)):
        declared = [(item.input_type.span, f"`{item.name}` is declared here")]
        message = f"`{item.name}` is {given} -> {result}, but {quote(value)} is {typed.type}"
        context.error("E0301", message, value.span, secondary=declared)
        return _Source(False)
    return _Source(True, value=value)


def _reader_or_given(value: syntax.Expr, context: Context) -> _Source:
    """`onnx("file")`, or `given` where Python hands it over."""
    matched = matched_word(value, NETWORK_SOURCES, "E0801", context)
    if matched is None:
        return _Source(False)
    if matched.schema.name == "given":
        scale, shift = _denormalize(matched)
        return _Source(matched.sound, given=GivenNetwork(scale, shift))
    onnx = _onnx(matched, value, context)
    return _Source(onnx is not None, onnx=onnx)


def _denormalize(matched: Matched) -> tuple[Fraction, Fraction]:
    return matched.affine.get("denormalize", (Fraction(1), Fraction(0)))


def _onnx(matched: Matched, value: syntax.Expr, context: Context) -> OnnxFile | None:
    path = matched.paths.get("file")
    if path is None or not matched.sound:
        return None
    if not path.name.lower().endswith((".onnx", ".onnx.gz")):
        message = f"`{path.name}` is no ONNX file by its name"
        span = matched.spans.get("file", value.span)
        context.error("E0804", message, span, help="networks end in `.onnx` or `.onnx.gz`")
        return None
    scale, shift = _denormalize(matched)
    return OnnxFile(path, scale, shift, value.span)


# --- datasets ------------------------------------------------------------------------------------


def dataset(item: syntax.Dataset, context: Context) -> tuple[Symbol, DatasetDeclaration | None]:
    """The dataset as a finite set of samples, and its description for elaboration."""
    kind = resolve(item.type, context)
    if isinstance(kind, UnknownType):
        return Symbol(item.name, "dataset", item.name_span, NOTHING), None
    typed = Typed(SetType(kind, finite=True))
    symbol = Symbol(item.name, "dataset", item.name_span, typed)
    element = tuple(t for _, t in kind.items) if isinstance(kind, TupleType) else (kind,)
    if any(isinstance(t, UnknownType) for t in element):
        return Symbol(item.name, "dataset", item.name_span, NOTHING), None
    sound = _element_sound(item, element, context)
    reader = _reader(item, len(element) > 1, context)
    transforms = settings(DATASET_SETTINGS, item.settings, item.span, context)
    if not sound or reader is None or not transforms.sound:
        return symbol, None
    return symbol, DatasetDeclaration(
        item.name,
        element,
        reader.schema.name,
        tuple(reader.paths[o.name] for o in reader.schema.options if o.name in reader.paths),
        _with_defaults(reader.schema, reader.values),
        _with_defaults(DATASET_SETTINGS, transforms.values),
        item.span,
        {name: matched.values for name, matched in transforms.methods.items()},
    )


def _element_sound(item: syntax.Dataset, element: tuple[Type, ...], context: Context) -> bool:
    inputs = isinstance(element[0], TensorType | RecordType)
    target = len(element) < 2 or isinstance(element[1], LabelType)
    if len(element) == 2 and isinstance(element[1], TensorType):
        target = True
        if squeezed(element[1].shape) != ():
            help = "give each number a dataset of its own"
            context.later("targets of several numbers are", item.type.span, help)
            return False
    if inputs and target and len(element) <= 2:
        return True
    context.error(
        "E0302",
        "the samples of a dataset are an input and at most a label or number",
        item.type.span,
        help="for example `(Image, label[10])`, or `(Image, real)`",
    )
    return False


def _reader(item: syntax.Dataset, labelled: bool, context: Context) -> Matched | None:
    matched = matched_word(item.value, READERS, "E0801", context)
    if matched is None or not matched.sound:
        return None
    if matched.schema.name == "csv" and labelled and "label" not in matched.values:
        context.error(
            "E0805",
            "`csv` needs to know which column is the label",
            item.value.span,
            help='write `csv("file.csv", label = "column")`, or its number from 0',
        )
        return None
    return matched


def _with_defaults(schema: Schema, values: Mapping[str, Value]) -> dict[str, Value]:
    given = dict(values)
    for option in schema.options:
        if option.kind == "path" or option.default is None:
            continue
        default = option.default
        given.setdefault(option.name, Fraction(default) if isinstance(default, int) else default)
    return given

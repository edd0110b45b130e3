"""`network` and `dataset`: what comes from files, and networks written in the spec."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from specdsl.language import syntax
from specdsl.language.checking.layers import untrained_layer
from specdsl.language.checking.names import NOTHING, Context, Symbol, Typed
from specdsl.language.checking.settings import Matched, find, match_arguments, settings
from specdsl.language.checking.typing_types import as_tensor, resolve
from specdsl.language.schemas import (
    DATASET_SETTINGS,
    LATER_DATASET_SETTINGS,
    NETWORK_SOURCES,
    READERS,
    Schema,
)
from specdsl.language.spec import DatasetDeclaration, NetworkDeclaration, OnnxFile, Value
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


def network(item: syntax.Network, context: Context) -> tuple[Symbol, NetworkDeclaration | None]:
    """The network as a function, and its description for elaboration."""
    given, result = resolve(item.input_type, context), resolve(item.output_type, context)
    sound = _input_sound(item, given, context) and _output_sound(item, result, context)
    onnx, untrained = None, None
    if item.value is not None:
        onnx = _onnx(item.value, context)
        sound = sound and onnx is not None
    elif sound:
        layers = untrained_layer(item, given, result, context)
        sound, untrained = layers.sound, layers.untrained
    if isinstance(given, UnknownType) or isinstance(result, UnknownType):
        return Symbol(item.name, "network", item.name_span, NOTHING), None
    typed = Typed(NetworkType(given, result), untrained=untrained)
    symbol = Symbol(item.name, "network", item.name_span, typed)
    if not sound:
        return symbol, None
    return symbol, NetworkDeclaration(item.name, given, result, onnx, item.layers, item.span)


def _input_sound(item: syntax.Network, kind: Type, context: Context) -> bool:
    if isinstance(kind, TupleType):
        context.later("networks with several inputs are", item.input_type.span)
        return False
    if isinstance(kind, UnknownType):
        return False
    if isinstance(kind, TensorType | RecordType):
        return True
    message = f"a network takes numbers, not {kind}"
    context.error("E0302", message, item.input_type.span, help="write `real[n]` or a space")
    return False


def _output_sound(item: syntax.Network, kind: Type, context: Context) -> bool:
    if isinstance(kind, TupleType):
        context.later("networks with several outputs are", item.output_type.span)
        return False
    if isinstance(kind, UnknownType):
        return False
    if isinstance(kind, RecordType):
        tensor = as_tensor(kind)
        help = f"give the shape: `{tensor}`" if tensor else "give the shape: `real[n]`"
        context.later("networks whose output is a space are", item.output_type.span, help)
        return False
    if isinstance(kind, TensorType) and len(kind.shape) <= 1:
        return True
    if isinstance(kind, TensorType):
        context.later("outputs with several axes are", item.output_type.span, "flatten the output")
        return False
    message = f"a network gives numbers, not {kind}"
    context.error("E0302", message, item.output_type.span, help="write `real[n]`")
    return False


def _onnx(value: syntax.Expr, context: Context) -> OnnxFile | None:
    if isinstance(value, syntax.Binary) and value.operator == ">>":
        context.type_of(value)
        return None
    found = find(value, NETWORK_SOURCES, "E0801", context)
    if found is None:
        return None
    schema, arguments = found
    matched = match_arguments(schema, arguments, value.span, context)
    path = matched.paths.get("file")
    if path is None or not matched.sound:
        return None
    if not path.name.lower().endswith((".onnx", ".onnx.gz")):
        message = f"`{path.name}` is no ONNX file by its name"
        span = matched.spans.get("file", value.span)
        context.error("E0804", message, span, help="networks end in `.onnx` or `.onnx.gz`")
        return None
    scale, shift = matched.affine.get("denormalize", (Fraction(1), Fraction(0)))
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
    transforms = _transforms(item, context)
    if not sound or reader is None or transforms is None:
        return symbol, None
    return symbol, DatasetDeclaration(
        item.name,
        element,
        reader.schema.name,
        tuple(reader.paths[o.name] for o in reader.schema.options if o.name in reader.paths),
        _with_defaults(reader.schema, reader.values),
        _with_defaults(DATASET_SETTINGS, transforms.values),
        item.span,
    )


def _element_sound(item: syntax.Dataset, element: tuple[Type, ...], context: Context) -> bool:
    inputs = isinstance(element[0], TensorType | RecordType)
    target = len(element) < 2 or isinstance(element[1], LabelType)
    if len(element) == 2 and isinstance(element[1], TensorType):
        context.later("targets that are numbers are", item.type.span, "use `label[n]`")
        return False
    if inputs and target and len(element) <= 2:
        return True
    context.error(
        "E0302",
        "the samples of a dataset are an input and at most a label",
        item.type.span,
        help="for example `(Image, label[10])`",
    )
    return False


def _reader(item: syntax.Dataset, labelled: bool, context: Context) -> Matched | None:
    found = find(item.value, READERS, "E0801", context)
    if found is None:
        return None
    schema, arguments = found
    matched = match_arguments(schema, arguments, item.value.span, context)
    if not matched.sound:
        return None
    if schema.name == "csv" and labelled and "label" not in matched.values:
        context.error(
            "E0805",
            "`csv` needs to know which column is the label",
            item.value.span,
            help='write `csv("file.csv", label = "column")`, or its number from 0',
        )
        return None
    return matched


def _transforms(item: syntax.Dataset, context: Context) -> Matched | None:
    later = [s for s in item.settings if s.name in LATER_DATASET_SETTINGS]
    for setting in later:
        message = f"the dataset setting `{setting.name}` is"
        context.later(message, setting.span, "it is for training; leave it out to check")
    kept = [s for s in item.settings if s not in later]
    matched = settings(DATASET_SETTINGS, kept, item.span, context)
    return matched if matched.sound and not later else None


def _with_defaults(schema: Schema, values: Mapping[str, Value]) -> dict[str, Value]:
    given = dict(values)
    for option in schema.options:
        if option.kind == "path" or option.default is None:
            continue
        default = option.default
        given.setdefault(option.name, Fraction(default) if isinstance(default, int) else default)
    return given

"""Type expressions: `real[1, 28, 28]`, `label[10]`, `Encounter`, with their units."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from specdsl.diagnostics import SpecError
from specdsl.language import syntax, units
from specdsl.language.types import (
    BOOL,
    MAX_AXES,
    NORM,
    STRING,
    UNKNOWN,
    BoolType,
    EnumType,
    LabelType,
    NetworkType,
    NormType,
    RecordType,
    SetType,
    StringType,
    TensorType,
    TupleType,
    Type,
    UnknownType,
)
from specdsl.language.typing.names import Context, quote
from specdsl.source import Span

SCALAR_TYPES: dict[str, Type] = {"bool": BOOL, "string": STRING, "norm": NORM}
CATEGORY = "category"
TYPE_NAMES: tuple[str, ...] = ("real", "int", "label", *SCALAR_TYPES)
# No tensor of a specification has more entries; a typo in a shape must not fill the memory.
MAX_ENTRIES = 10**8


def resolve(expression: syntax.TypeExpr, context: Context) -> Type:
    """The type that `expression` writes; UNKNOWN where it was reported."""
    if isinstance(expression, syntax.TypeTuple):
        slots = tuple((slot.name, resolve(slot.type, context)) for slot in expression.slots)
        return TupleType(slots)
    name = expression.name
    if name in {"real", "int"}:
        return _tensor(expression, context)
    if name == "label":
        return _label(expression, context)
    if name in SCALAR_TYPES:
        _plain(expression, context)
        return SCALAR_TYPES[name]
    return _declared(expression, context)


def read_unit(text: str | None, span: Span, context: Context) -> str | None:
    """A unit in one spelling; None for none, and after E0408."""
    try:
        return units.normal(text)
    except SpecError as error:
        for found in error.diagnostics:
            context.error(found.code, found.message, span, help=found.help)
        return None


def _tensor(expression: syntax.TypeName, context: Context) -> Type:
    unit = read_unit(expression.unit, expression.span, context)
    arguments = expression.arguments or ()
    if len(arguments) == 1 and isinstance(arguments[0], syntax.Name):
        symbol = context.lookup(arguments[0].name)
        if symbol and isinstance(symbol.typed.type, SetType):
            labels = symbol.typed.type.element
            if isinstance(labels, LabelType) and labels.labels:
                return TensorType((labels.count,), expression.name, unit, labels.labels)
    shape = [extent(a, context) for a in arguments]
    if None in shape:
        return UNKNOWN
    known = tuple(n for n in shape if n is not None)
    if prod(known) > MAX_ENTRIES or len(known) > MAX_AXES:
        what = "entries" if len(known) <= MAX_AXES else "axes"
        context.error("E0304", f"{quote(expression)} has more {what} than fit", expression.span)
        return UNKNOWN
    return TensorType(known, expression.name, unit)


def extent(expression: syntax.Expr, context: Context) -> int | None:
    """A positive whole number, or None after a diagnostic."""
    typed = context.type_of(expression)
    if not typed.known:
        return None
    value = typed.value
    if isinstance(value, Fraction) and value.denominator == 1 and value > 0:
        return int(value)
    context.error(
        "E0304",
        f"an extent must be a positive whole number, not {quote(expression)}",
        expression.span,
        label=f"is {value}" if isinstance(value, Fraction) else "",
    )
    return None


def _label(expression: syntax.TypeName, context: Context) -> Type:
    arguments = expression.arguments or ()
    if len(arguments) != 1:
        context.error(
            "E0304",
            "`label` needs the number of classes",
            expression.span,
            help="write for example `label[10]`, or `label[Advisory]` with an enum",
        )
        return UNKNOWN
    tensor = _tensor(expression, context)
    if isinstance(tensor, TensorType):
        return LabelType(tensor.shape[0], tensor.labels)
    return UNKNOWN


def _plain(expression: syntax.TypeName, context: Context) -> None:
    if expression.arguments is not None or expression.unit is not None:
        context.error("E0304", f"`{expression.name}` has neither shape nor unit", expression.span)


def _declared(expression: syntax.TypeName, context: Context) -> Type:
    symbol = context.lookup(expression.name)
    if symbol is None:
        if context.lookup(expression.name.rpartition(".")[0]):  # a module: reported before
            return UNKNOWN
        if expression.name == CATEGORY:
            context.error(
                "E0208",
                "`category` is the type of a field of a space only",
                expression.span,
                help="elsewhere a category is a whole number: write `int`",
            )
        else:
            context.unknown_name(expression.name, expression.span, TYPE_NAMES)
        return UNKNOWN
    if symbol.kind == "enum" and isinstance(symbol.typed.type, SetType):
        _plain(expression, context)
        return symbol.typed.type.element or UNKNOWN
    if symbol.kind == "space" and isinstance(symbol.typed.type, SetType):
        _plain(expression, context)
        return symbol.typed.type.element or UNKNOWN
    if isinstance(symbol.typed.type, UnknownType):
        return UNKNOWN
    context.error(
        "E0208",
        f"`{symbol.name}` is not a type",
        expression.span,
        secondary=[(symbol.span, f"{symbol.kind} declared here")],
        help="types are `real[...]`, `int`, `label[n]`, `bool`, `string`, `norm`, spaces and enums",
    )
    return UNKNOWN


# --- comparing types -----------------------------------------------------------------------------


def as_tensor(kind: Type) -> TensorType | None:
    """The tensor that a value of `kind` is, or None: a space with one field is its field."""
    if isinstance(kind, TensorType):
        return kind
    if isinstance(kind, RecordType) and len(kind.fields) == 1:
        return kind.fields[0][1]
    return None


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`real[1]` and `real` convert freely: both are scalars."""
    return () if shape == (1,) else shape


def fits(given: Type, wanted: Type) -> bool:
    """Whether a value of type `given` may stand where `wanted` is needed; units are apart."""
    if isinstance(given, UnknownType) or isinstance(wanted, UnknownType):
        return True
    if isinstance(wanted, TupleType):
        return (
            isinstance(given, TupleType)
            and len(given.items) == len(wanted.items)
            and all(fits(g, w) for (_, g), (_, w) in zip(given.items, wanted.items, strict=True))
        )
    if isinstance(wanted, RecordType) and isinstance(given, RecordType):
        return given.name == wanted.name
    if isinstance(wanted, LabelType):
        return fits_label(given, wanted)
    if isinstance(wanted, SetType):
        return isinstance(given, SetType) and (
            wanted.element is None or given.element is None or fits(given.element, wanted.element)
        )
    if isinstance(wanted, NetworkType):
        return (
            isinstance(given, NetworkType)
            and fits(wanted.input, given.input)
            and fits(given.output, wanted.output)
        )
    given_tensor, wanted_tensor = as_tensor(given), as_tensor(wanted)
    if given_tensor and wanted_tensor:
        if wanted_tensor.element == "int" and given_tensor.element != "int":
            return False
        return squeezed(given_tensor.shape) == squeezed(wanted_tensor.shape)
    if isinstance(wanted, BoolType | StringType | NormType | EnumType):
        return given == wanted
    return given == wanted


def fits_label(given: Type, wanted: LabelType) -> bool:
    """Labels of one enum, or as many classes, or a whole number (its range is checked apart)."""
    if isinstance(given, LabelType):
        if given.labels and wanted.labels:
            return given.labels == wanted.labels
        return given.count == wanted.count
    return isinstance(given, TensorType) and given.shape == () and given.element == "int"

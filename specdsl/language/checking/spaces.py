"""`enum` and `space`: named labels and named inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.checking.parameters import interval_bounds
from specdsl.language.checking.settings import match_arguments
from specdsl.language.modules.namespaces import sibling
from specdsl.language.schemas import NORMALIZE
from specdsl.language.spec import Field, Space
from specdsl.language.types import (
    INT,
    EnumType,
    LabelType,
    RecordType,
    SetType,
    TensorType,
    UnknownType,
)
from specdsl.language.typing.names import NOTHING, Context, SetFacts, Symbol, Typed, quote
from specdsl.language.typing.operands import text_of
from specdsl.language.typing.types import CATEGORY, resolve
from specdsl.source import Span

ENCODINGS = ("ordinal", "one_hot")
# A category with more classes is a number; one-hot, each would be an entry of the input.
MAX_CLASSES = 10_000


def enumeration(item: syntax.Enum, context: Context) -> list[Symbol]:
    """The enum itself, as a finite set, and its labels."""
    labels: dict[str, Span] = {}
    for label, span in zip(item.labels, label_spans(item), strict=True):
        if label in labels:
            first = [(labels[label], "first here")]
            message = f"the label `{label}` stands twice in `{item.name}`"
            context.error("E0202", message, span, secondary=first)
        else:
            labels[label] = span
    enum = EnumType(item.name, tuple(labels))
    kind = LabelType(len(labels), enum)
    whole = Symbol(item.name, "enum", item.name_span, Typed(SetType(kind, finite=True)))
    each = [
        Symbol(sibling(item.name, label), "label", span, Typed(kind, Fraction(position)))
        for position, (label, span) in enumerate(labels.items())
    ]
    return [whole, *each]


def label_spans(item: syntax.Enum) -> list[Span]:
    """Where each label stands: the tree keeps only the names."""
    start = item.name_span.end
    text = item.span.source.text[start : item.span.end]
    places = [m for m in re.finditer(r"#[^\n]*|\w+", text) if not m[0].startswith("#")]
    spans = [Span(item.span.source, start + m.start(), start + m.end()) for m in places]
    return spans if len(spans) == len(item.labels) else [item.name_span] * len(item.labels)


def space(item: syntax.Space, context: Context) -> tuple[Symbol, Space | None]:
    """The space as a set of records, and its description for elaboration."""
    if not item.fields:
        context.error(
            "E0304",
            f"the space `{item.name}` has no fields",
            item.name_span,
            help=f"for example `space {item.name} {{ x: real[2] in [0, 1] }}`",
        )
        return Symbol(item.name, "space", item.name_span, NOTHING), None
    fields: dict[str, Field] = {}
    complete = True
    for entry in item.fields:
        if entry.name in fields:
            first = [(fields[entry.name].span, "first declared here")]
            message = f"the field `{entry.name}` is declared twice"
            context.error("E0202", message, entry.name_span, secondary=first)
            continue
        field = _field(entry, context)
        if field is None:
            complete = False
        else:
            fields[entry.name] = field
    if not complete:
        return Symbol(item.name, "space", item.name_span, NOTHING), None
    described = Space(item.name, tuple(fields.values()), _record(item.name, fields), item.span)
    record = described.type
    unbounded = next((f for f in described.fields if f.lower is None), None)
    facts = SetFacts()
    if unbounded is not None:
        words = f"the field `{unbounded.name}` of {item.name} has no bounds"
        facts = SetFacts(unbounded=(unbounded.span, words))
    typed = Typed(SetType(record), set=facts)
    return Symbol(item.name, "space", item.name_span, typed), described


def _record(name: str, fields: Mapping[str, Field]) -> RecordType:
    width = sum(field.width for field in fields.values())
    record = RecordType(name, tuple((f.name, f.type) for f in fields.values()))
    return record if width == record.size else replace(record, packed=width)


def _field(entry: syntax.SpaceField, context: Context) -> Field | None:
    category = _is_category(entry)
    kind = _field_type(entry, context)
    if kind is None:
        return None
    if category and entry.interval is None:
        message = f"the category `{entry.name}` does not say how many classes it has"
        help = f"write `{entry.name}: category in [0, 9]` for ten classes"
        context.error("E0805", message, entry.name_span, help=help)
        return None
    bounds = None
    if entry.interval is not None:
        bounds = interval_bounds(entry.interval, Typed(replace(kind, shape=())), context)
        if bounds is None or not _whole_bounds(entry, kind, bounds, context):
            return None
    encode = _encode(entry, context)
    normalization = _normalization(entry, context)
    if normalization is None or encode is None:
        return None
    mean, extent = normalization
    lower, upper = bounds or (None, None)
    sort = "category" if category else ("int" if kind.element == "int" else "real")
    return Field(entry.name, sort, kind, lower, upper, mean, extent, entry.name_span, encode)


def _is_category(entry: syntax.SpaceField) -> bool:
    return isinstance(entry.type, syntax.TypeName) and entry.type.name == CATEGORY


def _field_type(entry: syntax.SpaceField, context: Context) -> TensorType | None:
    """The numbers that a field holds; a category is one whole number."""
    written = entry.type
    if isinstance(written, syntax.TypeName) and written.name == CATEGORY:
        if written.arguments is None and written.unit is None:
            return INT
        message = "a category has neither shape nor unit: it is the number of a class"
        context.error("E0304", message, written.span, help="write one field for each category")
        return None
    kind = resolve(written, context)
    if isinstance(kind, TensorType):
        return kind
    if not isinstance(kind, UnknownType):
        message = f"a field holds numbers, not {kind}"
        help = "write `real`, `real[n]`, `int` or `category`"
        context.error("E0302", message, written.span, help=help)
    return None


def _whole_bounds(
    entry: syntax.SpaceField,
    kind: TensorType,
    bounds: tuple[Fraction, Fraction],
    context: Context,
) -> bool:
    interval = entry.interval
    if kind.element != "int" or interval is None:
        return True
    for end, value in zip((interval.lower, interval.upper), bounds, strict=True):
        if value.denominator != 1:
            noun = "category" if _is_category(entry) else "`int` field"
            message = f"the bounds of a {noun} are whole numbers, unlike {quote(end)}"
            context.error("E0304", message, end.span)
            return False
    if _is_category(entry) and bounds[1] - bounds[0] >= MAX_CLASSES:
        message = f"the category `{entry.name}` has more than {MAX_CLASSES:,} classes"
        context.error("E0406", message, interval.span, help="is it an `int`?")
        return False
    return True


def _encode(entry: syntax.SpaceField, context: Context) -> Literal["ordinal", "one_hot"] | None:
    """How a category is packed; None after a diagnostic."""
    written = entry.encode
    if written is None:
        return "ordinal"
    if not _is_category(entry):
        message = f"`encode` says how a category is packed, and `{entry.name}` is none"
        help = "leave it out, or declare the field as `category in [0, 9]`"
        context.error("E0802", message, written.span, help=help)
        return None
    name = written.name if isinstance(written, syntax.Name) else text_of(written)
    if name == "one_hot":
        if entry.normalize is None:
            return "one_hot"
        message = f"the entries of `{entry.name}` are 0 and 1, and not normalised"
        context.error("E0802", message, entry.span, help="leave `normalize` or `encode` out")
        return None
    if name == "ordinal":
        return "ordinal"
    hint = suggestion(name, ENCODINGS) or ""
    message = "`encode` is one of `ordinal`, `one_hot`"
    context.error("E0804", message, written.span, label=hint)
    return None


def _normalization(entry: syntax.SpaceField, context: Context) -> tuple[Fraction, Fraction] | None:
    if entry.normalize is None:
        return Fraction(0), Fraction(1)
    matched = match_arguments(NORMALIZE, entry.normalize, entry.span, context)
    if not matched.sound:
        return None
    mean, extent = matched.number("mean", Fraction(0)), matched.number("range", Fraction(1))
    if extent == 0:
        context.error(
            "E0404",
            f"the field `{entry.name}` is divided by a range of 0",
            matched.spans.get("range", entry.span),
        )
        return None
    return mean, extent

"""`enum` and `space`: named labels and named inputs."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from specdsl.language import syntax
from specdsl.language.checking.names import NOTHING, Context, SetFacts, Symbol, Typed
from specdsl.language.checking.parameters import interval_bounds
from specdsl.language.checking.settings import match_arguments
from specdsl.language.checking.typing_types import resolve
from specdsl.language.schemas import NORMALIZE
from specdsl.language.spec import Field, Space
from specdsl.language.types import (
    EnumType,
    LabelType,
    RecordType,
    SetType,
    TensorType,
    UnknownType,
)
from specdsl.source import Span


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
        Symbol(label, "label", span, Typed(kind, Fraction(position)))
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
    record = RecordType(item.name, tuple((f.name, f.type) for f in fields.values()))
    described = Space(item.name, tuple(fields.values()), record, item.span)
    unbounded = next((f for f in described.fields if f.lower is None), None)
    facts = SetFacts()
    if unbounded is not None:
        words = f"the field `{unbounded.name}` of {item.name} has no bounds"
        facts = SetFacts(unbounded=(unbounded.span, words))
    typed = Typed(SetType(record), set=facts)
    return Symbol(item.name, "space", item.name_span, typed), described


def _field(entry: syntax.SpaceField, context: Context) -> Field | None:
    if entry.encode is not None:
        context.later("`encode` is", entry.encode.span, "use one `real` field for each class")
        return None
    kind = resolve(entry.type, context)
    if isinstance(kind, UnknownType):
        return None
    if not isinstance(kind, TensorType):
        message = f"a field holds numbers, not {kind}"
        context.error("E0302", message, entry.type.span, help="write `real` or `real[n]`")
        return None
    if kind.element == "int":
        context.later(
            "integer inputs are",
            entry.type.span,
            "use `real`: what holds for all real numbers holds for the whole ones",
        )
        return None
    bounds = None
    if entry.interval is not None:
        bounds = interval_bounds(entry.interval, Typed(replace(kind, shape=())), context)
        if bounds is None:
            return None
    normalization = _normalization(entry, context)
    if normalization is None:
        return None
    mean, extent = normalization
    lower, upper = bounds or (None, None)
    return Field(entry.name, "real", kind, lower, upper, mean, extent, entry.name_span)


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

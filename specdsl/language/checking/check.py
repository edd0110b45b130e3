"""The checker: a syntax tree becomes a `Spec`, or one error that lists everything wrong with it.

Names are declared before they are used, from top to bottom. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from specdsl.diagnostics import Diagnostic, diagnostic
from specdsl.language import syntax
from specdsl.language.checking.checks import check_declaration
from specdsl.language.checking.functions import let, let_span, property_, region
from specdsl.language.checking.names import NOTHING, Context, Session, Symbol, Typed, quote
from specdsl.language.checking.networks import dataset, network
from specdsl.language.checking.parameters import parameter, undeclared
from specdsl.language.checking.spaces import enumeration, label_spans, space
from specdsl.language.checking.typing_calls import accepts
from specdsl.language.checking.typing_expressions import infer
from specdsl.language.checking.typing_types import resolve
from specdsl.language.spec import (
    CheckDeclaration,
    DatasetDeclaration,
    NetworkDeclaration,
    Space,
    Spec,
    Value,
)
from specdsl.language.types import EnumType, LabelType, SetType, TensorType
from specdsl.source import Source, Span

VERSIONS = ("1.0",)
NO_OVERRIDES: Mapping[str, str] = MappingProxyType({})


def check(
    program: syntax.Program,
    overrides: Mapping[str, str] = NO_OVERRIDES,
    *,
    base: Path,
    working_directory: Path,
    allow: tuple[Path, ...] = (),
) -> Spec:
    """Resolve names, types, units and constants of a whole file.

    `overrides` holds the texts of `-D name=value`. Paths in the file are relative to `base`, its
    folder, and must not leave it or the folders in `allow`; those from `-D` are relative to
    `working_directory`. Raises one SpecError with all findings (E02, E03, E04, E07, E08, E09).
    """
    session = Session(base, working_directory, allow, later=_places(program))
    context = Context(session, infer)
    parts = _Parts()
    _version(program, context)
    undeclared(program, overrides, context)
    for item in program.items:
        session.current = _declared(item)
        session.later = {n: s for n, s in session.later.items() if n not in session.current}
        try:
            _item(item, overrides, parts, context)
        except RecursionError:
            message = "this is nested too deeply to be understood"
            context.error("E0209", message, _keyword(item), help="split it with `let`")
    session.diagnostics.raise_errors()
    return parts.spec(program, tuple(session.diagnostics.warnings))


@dataclass(slots=True)
class _Parts:
    """The maps of the `Spec`, as they fill."""

    values: dict[str, Value] = field(default_factory=dict[str, Value])
    parameters: dict[str, Value] = field(default_factory=dict[str, Value])
    enums: dict[str, EnumType] = field(default_factory=dict[str, EnumType])
    spaces: dict[str, Space] = field(default_factory=dict[str, Space])
    networks: dict[str, NetworkDeclaration] = field(default_factory=dict[str, NetworkDeclaration])
    datasets: dict[str, DatasetDeclaration] = field(default_factory=dict[str, DatasetDeclaration])
    regions: dict[str, syntax.Region] = field(default_factory=dict[str, syntax.Region])
    functions: dict[str, syntax.Let] = field(default_factory=dict[str, syntax.Let])
    properties: dict[str, syntax.Property] = field(default_factory=dict[str, syntax.Property])
    checks: list[CheckDeclaration] = field(default_factory=list[CheckDeclaration])
    check_names: dict[str, Span] = field(default_factory=dict[str, Span])

    def spec(self, program: syntax.Program, warnings: tuple[Diagnostic, ...]) -> Spec:
        """The finished value."""
        source: Source = program.span.source
        return Spec(
            source=source,
            program=program,
            values=self.values,
            parameters=self.parameters,
            enums=self.enums,
            spaces=self.spaces,
            networks=self.networks,
            datasets=self.datasets,
            regions=self.regions,
            functions=self.functions,
            properties=self.properties,
            checks=tuple(self.checks),
            warnings=warnings,
        )


# --- names ---------------------------------------------------------------------------------------


def _declared(item: syntax.Item) -> dict[str, Span]:
    match item:
        case syntax.Enum():
            labels = zip(item.labels, label_spans(item), strict=True)
            return {**dict(labels), item.name: item.name_span}
        case syntax.Declaration():
            return {item.name: item.name_span}
        case syntax.Let():
            return dict.fromkeys(item.names, let_span(item))
        case syntax.Import() if item.alias is not None:
            return {item.alias: item.span}
        case _:
            return {}


def _places(program: syntax.Program) -> dict[str, Span]:
    places: dict[str, Span] = {}
    for item in program.items:
        for name, span in _declared(item).items():
            places.setdefault(name, span)
    return places


def _declare(symbol: Symbol, context: Context) -> bool:
    """Add a top-level name; E0202 where it is taken."""
    symbols = context.session.symbols
    first = symbols.get(symbol.name)
    if first is None:
        symbols[symbol.name] = symbol
        return True
    context.error(
        "E0202",
        f"`{symbol.name}` is declared twice",
        symbol.span,
        secondary=[(first.span, f"{first.kind} first declared here")],
        help="names are unique in a file, labels of enums too",
    )
    return False


def _version(program: syntax.Program, context: Context) -> None:
    start = Span(program.span.source, 0, 0)
    if program.version is None:
        message = "the file does not say its language version"
        context.session.diagnostics.add(
            diagnostic("W0901", message, help="write `spec 1.0` on the first line")
        )
    elif program.version not in VERSIONS:
        end = max(program.span.source.text.find(program.version), 0) + len(program.version)
        known = ", ".join(VERSIONS)
        message = f"language version {program.version} is not known to this specdsl"
        place = Span(start.source, end - len(program.version), end)
        context.error("E0902", message, place, help=f"known: {known}; a newer specdsl may read it")


def _keyword(item: syntax.Item) -> Span:
    """The first word of an item."""
    words = item.span.text.split(maxsplit=1)
    return Span(item.span.source, item.span.start, item.span.start + len(words[0] if words else ""))


# --- one item ------------------------------------------------------------------------------------


def _item(item: syntax.Item, overrides: Mapping[str, str], parts: _Parts, context: Context) -> None:
    match item:
        case syntax.Param():
            _value(parameter(item, overrides, context), parts, context, parts.parameters)
        case syntax.Const():
            _value(_constant(item, context), parts, context, None)
        case syntax.Enum():
            _enum(item, parts, context)
        case syntax.Space():
            symbol, described = space(item, context)
            if _declare(symbol, context) and described is not None:
                parts.spaces[item.name] = described
        case syntax.Network():
            symbol, network_ = network(item, context)
            if _declare(symbol, context) and network_ is not None:
                parts.networks[item.name] = network_
        case syntax.Dataset():
            symbol, dataset_ = dataset(item, context)
            if _declare(symbol, context) and dataset_ is not None:
                parts.datasets[item.name] = dataset_
        case _:
            _claims(item, parts, context)


def _claims(item: syntax.Item, parts: _Parts, context: Context) -> None:
    match item:
        case syntax.Let():
            _let(item, parts, context)
        case syntax.Region():
            if _declare(region(item, context), context):
                parts.regions[item.name] = item
        case syntax.Property():
            if _declare(property_(item, context), context):
                parts.properties[item.name] = item
        case syntax.Check():
            _check(item, parts, context)
        case _:
            _later(item, context)


def _value(symbol: Symbol, parts: _Parts, context: Context, also: dict[str, Value] | None) -> None:
    if not _declare(symbol, context) or symbol.typed.value is None:
        return
    parts.values[symbol.name] = symbol.typed.value
    if also is not None:
        also[symbol.name] = symbol.typed.value


def _constant(item: syntax.Const, context: Context) -> Symbol:
    typed = context.type_of(item.value)
    if typed.known and typed.value is None:
        message = f"a `const` must be known before any file is read, unlike {quote(item.value)}"
        typed = context.error(
            "E0312", message, item.value.span, help=f"write `let {item.name} = ...`"
        )
    if typed.known and item.type is not None:
        wanted = resolve(item.type, context)
        fine = accepts(wanted, (item.value, typed), f"`{item.name}`", context)
        typed = _annotated(wanted, typed) if fine else NOTHING
    return Symbol(item.name, "constant", item.name_span, typed)


def _annotated(wanted: object, typed: Typed) -> Typed:
    if isinstance(wanted, TensorType):
        return Typed(wanted, typed.value)
    return typed


def _enum(item: syntax.Enum, parts: _Parts, context: Context) -> None:
    whole, *labels = enumeration(item, context)
    if not _declare(whole, context) or not isinstance(whole.typed.type, SetType):
        return
    kind = whole.typed.type.element
    if isinstance(kind, LabelType) and kind.labels is not None:
        parts.enums[item.name] = kind.labels
    for label in labels:
        if _declare(label, context) and label.typed.value is not None:
            parts.values[label.name] = label.typed.value


def _let(item: syntax.Let, parts: _Parts, context: Context) -> None:
    for symbol in let(item, context):
        if not _declare(symbol, context):
            continue
        if symbol.typed.value is not None and symbol.function is None:
            parts.values[symbol.name] = symbol.typed.value
        else:
            parts.functions[symbol.name] = item


def _check(item: syntax.Check, parts: _Parts, context: Context) -> None:
    name = item.options.name
    if name is not None and name in parts.check_names:
        first = [(parts.check_names[name], "first used here")]
        context.error("E0202", f"two checks are called `{name}`", _keyword(item), secondary=first)
    elif name is not None:
        parts.check_names[name] = _keyword(item)
    declaration = check_declaration(item, context)
    if declaration is not None:
        parts.checks.append(declaration)


# --- what this version cannot answer -------------------------------------------------------------


def _later(item: syntax.Item, context: Context) -> None:
    match item:
        case syntax.Import():
            what, instead = "`import` is", "copy the declarations into this file"
            if item.alias is not None:
                _declare(Symbol(item.alias, "module", item.span, NOTHING), context)
        case syntax.System():
            what, instead = "`system` (closed loops) is", None
            _declare(Symbol(item.name, "system", item.name_span, NOTHING), context)
        case syntax.Train():
            what = "`train` is"
            instead = "train elsewhere, export to ONNX and load it with `onnx(...)`"
        case syntax.Optimize():
            what = f"`{item.kind}` is"
            instead = "state a bound as a property and `check` it"
        case syntax.Search():
            what = f"`{item.kind}` is"
            instead = "run `check` with several values of a parameter: `-D eps=1/100`"
        case _:
            what, instead = "this declaration is", None
    context.later(what, _keyword(item), instead)

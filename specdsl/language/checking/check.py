"""The checker: a syntax tree becomes a `Spec`, or one error that lists everything wrong with it.

Names are declared before they are used, from top to bottom. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.checking.checks import check_declaration
from specdsl.language.checking.functions import let, let_span, property_, region
from specdsl.language.checking.imports import localize, module, no_leaks
from specdsl.language.checking.networks import dataset, network
from specdsl.language.checking.parameters import parameter, undeclared
from specdsl.language.checking.queries import optimize_declaration, search_declaration
from specdsl.language.checking.selection import refuse_tested
from specdsl.language.checking.spaces import enumeration, label_spans, space
from specdsl.language.checking.sweeps import limit_sweeps
from specdsl.language.checking.systems import system
from specdsl.language.checking.training import train_declaration
from specdsl.language.compositions import Networks
from specdsl.language.modules.expand import Expanded, expand
from specdsl.language.modules.namespaces import sibling
from specdsl.language.spec import (
    CheckDeclaration,
    DatasetDeclaration,
    NetworkDeclaration,
    OptimizeDeclaration,
    SearchDeclaration,
    Space,
    Spec,
    TrainDeclaration,
    Value,
)
from specdsl.language.types import EnumType, LabelType, SetType, TensorType
from specdsl.language.typing.expressions import infer
from specdsl.language.typing.fit import accepts
from specdsl.language.typing.names import NOTHING, Context, Session, Symbol, Typed, quote
from specdsl.language.typing.types import resolve
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
    """Resolve imports, names, types, units and constants of a whole file.

    `overrides` holds the texts of `-D name=value`, one value each. Paths in a file are relative to
    its folder (`base` for this one) and must not leave it or the folders in `allow`; those from
    `-D` are relative to `working_directory`. Raises one SpecError with all findings (E01 and E05
    for imported files; E02, E03, E04, E07, E08, E09).
    """
    expanded = expand(program, base=base, allow=allow)
    checked = check_expanded(expanded, overrides, working_directory=working_directory, allow=allow)
    checked.refuse_sweeps()
    return checked.spec


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A checked file. `sweeps`: parameters that `-D` gave several values, and these as texts; the
    spec has the first of each.
    """

    spec: Spec
    sweeps: Mapping[str, tuple[str, ...]]

    def refuse_sweeps(self) -> None:
        """Raise E0860 where a parameter has several values and one is needed."""
        for name in self.sweeps:
            message = f"one value of `{name}` is needed here, not a sweep"
            raise SpecError.of(
                "E0860", message, help=f"for example `-D {name}={self.sweeps[name][0]}`"
            )


def check_expanded(
    expanded: Expanded,
    overrides: Mapping[str, str] = NO_OVERRIDES,
    *,
    working_directory: Path,
    allow: tuple[Path, ...] = (),
) -> Checked:
    """`check` for a program whose imports were read before; here `overrides` may hold sweeps."""
    program = expanded.program
    places = _places(program)
    session = Session(
        expanded.base, working_directory, allow, later=places, folders=expanded.folders
    )
    for finding in expanded.diagnostics:
        session.report(finding)
    context = Context(session, infer)
    parts = _Parts(overrides, expanded.given)
    for file in (program, *expanded.sources):
        _version(file, context)
    undeclared(program, overrides, context)
    no_leaks(expanded, places, context)
    for item in program.items:
        session.current = _declared(item)
        session.later = {n: s for n, s in session.later.items() if n not in session.current}
        try:
            _item(item, parts, context)
        except RecursionError:
            message = "this is nested too deeply to be understood"
            context.error("E0209", message, _keyword(item), help="split it with `let`")
    limit_sweeps(context)
    refuse_tested(program, parts.datasets, parts.values, context)
    localize(session.diagnostics, expanded)
    session.diagnostics.raise_errors()
    spec = parts.spec(program, session)
    return Checked(spec, {n: session.sweeps[n] for n in overrides if n in session.sweeps})


@dataclass(slots=True)
class _Parts:
    """The maps of the `Spec`, as they fill. `overrides` and `given` set parameters."""

    overrides: Mapping[str, str]
    given: Mapping[str, syntax.Setting]
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    parameters: dict[str, Value] = field(default_factory=dict[str, Value])
    enums: dict[str, EnumType] = field(default_factory=dict[str, EnumType])
    spaces: dict[str, Space] = field(default_factory=dict[str, Space])
    networks: dict[str, NetworkDeclaration] = field(default_factory=dict[str, NetworkDeclaration])
    datasets: dict[str, DatasetDeclaration] = field(default_factory=dict[str, DatasetDeclaration])
    regions: dict[str, syntax.Region] = field(default_factory=dict[str, syntax.Region])
    functions: dict[str, syntax.Let] = field(default_factory=dict[str, syntax.Let])
    properties: dict[str, syntax.Property] = field(default_factory=dict[str, syntax.Property])
    systems: dict[str, syntax.System] = field(default_factory=dict[str, syntax.System])
    trainings: list[TrainDeclaration] = field(default_factory=list[TrainDeclaration])
    checks: list[CheckDeclaration] = field(default_factory=list[CheckDeclaration])
    queries: list[OptimizeDeclaration | SearchDeclaration] = field(
        default_factory=list[OptimizeDeclaration | SearchDeclaration]
    )
    run_names: dict[str, Span] = field(default_factory=dict[str, Span])

    def spec(self, program: syntax.Program, session: Session) -> Spec:
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
            warnings=tuple(session.diagnostics.warnings),
            queries=tuple(self.queries),
            systems=self.systems,
            # Importing a file runs nothing that is in it.
            trainings=tuple(t for t in self.trainings if t.span.source is source),
            arrays=session.arrays,
        )


# --- names ---------------------------------------------------------------------------------------


def _declared(item: syntax.Item) -> dict[str, Span]:
    match item:
        case syntax.Enum():
            labels = (sibling(item.name, label) for label in item.labels)
            spans = dict(zip(labels, label_spans(item), strict=True))
            return {**spans, item.name: item.name_span}
        case syntax.Declaration():
            return {item.name: item.name_span}
        case syntax.Let():
            return dict.fromkeys(item.names, let_span(item))
        case syntax.Import() if item.alias is not None:
            return {item.alias: item.path.span}
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
        context.error("W0901", message, start, help="write `spec 1.0` on the first line")
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


def _item(item: syntax.Item, parts: _Parts, context: Context) -> None:
    match item:
        case syntax.Import():
            symbol = module(item)
            if symbol is not None:
                _declare(symbol, context)
        case syntax.Param():
            symbol = parameter(item, parts.overrides, parts.given.get(item.name), context)
            _value(symbol, parts, context, parts.parameters)
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
        case syntax.System():
            symbol, sound = system(item, context)
            if _declare(symbol, context) and sound:
                parts.systems[item.name] = item
        case syntax.Train():
            networks = Networks(parts.networks, parts.functions)
            training = train_declaration(item, networks, context)
            if training is not None:
                parts.trainings.append(training)
        case syntax.Check() | syntax.Optimize() | syntax.Search():
            _run(item, parts, context)
        case _:  # every other item has been declared by `_item`
            raise TypeError(f"{type(item).__name__} is no item of a program")


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


def _run(
    item: syntax.Check | syntax.Optimize | syntax.Search, parts: _Parts, context: Context
) -> None:
    """What is run: a check, or a query."""
    name = item.options.name
    if name is not None and name in parts.run_names:
        first = [(parts.run_names[name], "first used here")]
        what = "checks or queries are" if not isinstance(item, syntax.Check) else "checks are"
        context.error("E0202", f"two {what} called `{name}`", _keyword(item), secondary=first)
    elif name is not None:
        parts.run_names[name] = _keyword(item)
    if isinstance(item, syntax.Check):
        declaration = check_declaration(item, context)
        if declaration is not None:
            parts.checks.append(declaration)
        return
    optimize = isinstance(item, syntax.Optimize)
    query = optimize_declaration(item, context) if optimize else search_declaration(item, context)
    if query is not None:
        parts.queries.append(query)

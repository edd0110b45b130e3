"""What names mean while a file is checked: symbols, scopes, and the findings so far.

A `Context` is immutable and says where in the file an expression stands; the `Session` it carries
collects diagnostics. Typing recurses through `Context.infer`, so that the files that type one kind
of expression need not import one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from specdsl.diagnostics import Diagnostic, Diagnostics, diagnostic, suggestion
from specdsl.language import syntax
from specdsl.language.spec import Space, Value
from specdsl.language.types import UNKNOWN, Type, UnknownType
from specdsl.source import Span

# Each instantiation types a whole body; more than this many is a chain of functions gone wild.
MAX_INSTANTIATIONS = 10_000
MAX_CALL_DEPTH = 32
# Longer pieces of the user's text are cut in messages.
MAX_QUOTE = 40


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable quantified over infinitely many values, and its binder; or a system's state."""

    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What matters of a set beside its elements.

    `unbounded`: where it goes to infinity and what to say there. `unit`: of a box of any shape.
    `image`: whether it holds the values of an expression over an infinite set.
    """

    unbounded: tuple[Span, str] | None = None
    unit: str | None = None
    image: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """What is known of an expression.

    `value`: its exact value where it has one before files are read. `variables`: what it depends
    on beside constants and samples. `external`: the text came from the command line. `written`:
    the literal that a text comes from, whose file a path is relative to. `computed`: the arithmetic
    that gave a value, which can lie outside the space that its parts are from.
    """

    type: Type
    value: Value | None = None
    variables: frozenset[Variable] = frozenset()
    external: bool = False
    written: Span | None = None
    set: SetFacts = field(default_factory=SetFacts)
    computed: syntax.Expr | None = None

    @property
    def known(self) -> bool:
        """Whether nothing was reported about it."""
        return not isinstance(self.type, UnknownType)


NOTHING = Typed(UNKNOWN)
"""What has been reported already."""

SymbolKind = Literal[
    "parameter",
    "constant",
    "enum",
    "label",
    "value",
    "function",
    "space",
    "network",
    "dataset",
    "region",
    "property",
    "variable",
    "argument",
    "module",
    "system",
    "schedule",
    "attack",
    "code",
]


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """What a call of a user's function types: formal parameters, body, names it may see.

    `closure` holds the local names at its definition. `body` types the body in a context. `name`
    and `origin` say which definition it is: under that name it was written there.
    """

    name: str
    origin: Span
    parameters: tuple[syntax.Parameter, ...]
    body: Callable[[Context], Typed]
    closure: Mapping[str, Symbol]


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A declared name."""

    name: str
    kind: SymbolKind
    span: Span
    typed: Typed
    function: Definition | None = None
    space: Space | None = None

    @property
    def description(self) -> str:
        """The kind and the name, as a message has it."""
        return f"the {self.kind} `{self.name}`"


@dataclass(slots=True)
class Session:
    """What one run of the checker has found and seen. The only mutable thing in it.

    `symbols`: declared so far, top level. `current`, `later`: where the names of the declaration at
    hand, and those still to come, are declared.
    """

    base: Path
    working_directory: Path
    allow: tuple[Path, ...]
    later: Mapping[str, Span]
    current: Mapping[str, Span] = field(default_factory=dict[str, Span])
    symbols: dict[str, Symbol] = field(default_factory=dict[str, Symbol])
    spaces: dict[str, Space] = field(default_factory=dict[str, Space])
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    instances: dict[object, Typed] = field(default_factory=dict[object, Typed])
    instantiations: int = 0
    places: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    sweeps: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    arrays: dict[tuple[Span, str], Path] = field(default_factory=dict[tuple[Span, str], Path])

    def report(self, finding: Diagnostic) -> None:
        """Record what an earlier stage found; nothing more is said about its place."""
        if finding.primary is not None:
            span = finding.primary.span
            self.places.add((finding.code[:1] + span.source.name, span.start, span.end))
        self.diagnostics.add(finding)

    def folder(self, span: Span) -> Path:
        """The folder that a path written at `span` is relative to."""
        return self.folders.get(span.source.name, self.base)


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call that is being typed."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Scope:
    """The quantifier over infinitely many values that an expression stands under."""

    kind: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Where an expression stands.

    `positive`: under an even number of negations. `assumed`: values and the spaces that conditions
    on the way here put them in. `temporal`: inside `always` and the like.
    """

    session: Session
    infer: Callable[[syntax.Expr, Context], Typed]
    locals: Mapping[str, Symbol] = field(default_factory=dict[str, Symbol])
    calls: tuple[CallSite, ...] = ()
    quantifier: Scope | None = None
    positive: bool = True
    assumed: frozenset[tuple[syntax.Expr, str]] = frozenset()
    temporal: bool = False

    def type_of(self, expression: syntax.Expr) -> Typed:
        """What is known of `expression` here; problems are recorded."""
        return self.infer(expression, self)

    def lookup(self, name: str) -> Symbol | None:
        """The symbol a name stands for, locals first."""
        return self.locals.get(name) or self.session.symbols.get(name)

    def bind(self, symbols: Iterable[Symbol]) -> Context:
        """With more local names."""
        return replace(self, locals={**self.locals, **{s.name: s for s in symbols}})

    def negated(self) -> Context:
        """Under one more negation."""
        return replace(self, positive=not self.positive)

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        label: str = "",
        secondary: Sequence[tuple[Span, str]] = (),
        help: str | None = None,
    ) -> Typed:
        """Record a finding once for its place, with the calls that led here; return NOTHING."""
        place = (code[:1] + span.source.name, span.start, span.end)
        if place in self.session.places:
            return NOTHING
        self.session.places.add(place)
        calls = [(c.span, f"in this call of `{c.name}`") for c in reversed(self.calls[-3:])]
        self.session.diagnostics.add(
            diagnostic(code, message, span, label=label, secondary=[*secondary, *calls], help=help)
        )
        return NOTHING

    def later(self, what: str, span: Span, instead: str | None = None) -> Typed:
        """Record that the language has `what` but this version cannot answer it."""
        return self.error("E0901", f"{what} not supported yet", span, help=instead)

    def unknown_name(self, name: str, span: Span, known: Iterable[str] = ()) -> Typed:
        """Record a name that nothing declares, or that is declared further down."""
        if name in self.session.later:
            return self.error(
                "E0204",
                f"`{name}` is used before its declaration",
                span,
                secondary=[(self.session.later[name], "declared here")],
                help=f"move the declaration of `{name}` above this line",
            )
        if name in self.session.current:
            return self.error(
                "E0204",
                f"`{name}` is used in its own declaration",
                span,
                secondary=[(self.session.current[name], "declared here")],
                help="nothing is defined by itself: give the parts other names",
            )
        candidates = [*self.locals, *self.session.symbols, *known]
        hint = suggestion(name, candidates)
        return self.error("E0201", f"nothing is called `{name}`", span, label=hint or "")


def quote(expression: syntax.Expr | syntax.Node) -> str:
    """The user's own text of an expression in backticks, on one line and not too long."""
    text = " ".join(expression.span.text.split())
    if "`" in text:  # a unit: its own backticks set it off
        return text
    return f"`{text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 3] + '...'}`"

"""`system`: a closed loop. Its states, what acts and disturbs, and the next states.

Every line sees all states and noises; an `action` sees the actions above it, `next` sees them all.
All `next` are simultaneous: they speak about the values before the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from specdsl.diagnostics import suggestion
from specdsl.language import syntax, units
from specdsl.language.syntax.walk import names_in
from specdsl.language.types import RecordType, SetType, TensorType, UnknownType
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, Variable, quote
from specdsl.language.typing.operands import operand
from specdsl.language.typing.sets import set_of
from specdsl.language.typing.types import as_tensor, resolve, squeezed
from specdsl.source import Span


def system(item: syntax.System, context: Context) -> tuple[Symbol, bool]:
    """The state of the loop as a record, and whether nothing was reported.

    Reports E0202 and E0201 for names, E0711 for a state without its two lines, E0301 to E0303 for
    shapes, E0401 for units, E0702 for sets without bounds.
    """
    before = len(context.session.diagnostics.errors)
    lines = _Lines.of(item, context)
    block = _Block(item)
    for state in lines.states:
        block.declare(_state(state, context))
    for noise in lines.noises:
        block.declare(_noise(noise, context))
    inner = context.bind(block.symbols)
    for action in lines.actions:
        inner = inner.bind([_action(action, lines, inner)])
    _next_states(item, lines, inner)
    sound = len(context.session.diagnostics.errors) == before
    return Symbol(item.name, "system", item.name_span, block.state(lines.states)), sound


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a system, by their kinds; names are unique among the first three."""

    states: Sequence[syntax.SystemItem]
    noises: Sequence[syntax.SystemItem]
    actions: Sequence[syntax.SystemItem]
    nexts: Sequence[syntax.SystemItem]

    @staticmethod
    def of(item: syntax.System, context: Context) -> _Lines:
        """The lines of `item`, without those that declare a name again (E0202)."""
        kinds: dict[str, list[syntax.SystemItem]] = {
            kind: [] for kind in ("state", "noise", "action", "next")
        }
        first: dict[str, syntax.SystemItem] = {}
        for line in item.items:
            declared = line.kind != "next"
            if declared and line.name in first:
                other = first[line.name]
                context.error(
                    "E0202",
                    f"`{line.name}` is declared twice in the system `{item.name}`",
                    name_span(line),
                    secondary=[(name_span(other), f"{other.kind} first declared here")],
                )
                continue
            if declared:
                first[line.name] = line
            kinds[line.kind].append(line)
        return _Lines(kinds["state"], kinds["noise"], kinds["action"], kinds["next"])


@dataclass(slots=True)
class _Block:
    """The names that every line sees, as they are declared."""

    item: syntax.System
    symbols: list[Symbol] = field(default_factory=list[Symbol])

    def declare(self, symbol: Symbol) -> None:
        """One more of them."""
        self.symbols.append(symbol)

    def state(self, states: Iterable[syntax.SystemItem]) -> Typed:
        """All states together, as a record that changes from step to step."""
        types = {symbol.name: symbol.typed.type for symbol in self.symbols}
        fields: list[tuple[str, TensorType]] = []
        for line in states:
            kind = types[line.name]
            if not isinstance(kind, TensorType):
                return NOTHING
            fields.append((line.name, kind))
        name = self.item.name
        variable = Variable(name, self.item.name_span)
        return Typed(RecordType(name, tuple(fields)), variables=frozenset({variable}))


def name_span(line: syntax.SystemItem) -> Span:
    """Where the name of a line stands, behind the word that begins the line."""
    text = line.span.text
    offset = len(line.kind) + len(text[len(line.kind) :]) - len(text[len(line.kind) :].lstrip())
    start = line.span.start + offset
    return Span(line.span.source, start, start + len(line.name))


def _variable(line: syntax.SystemItem, kind: TensorType) -> Symbol:
    place = name_span(line)
    typed = Typed(kind, variables=frozenset({Variable(line.name, place)}))
    return Symbol(line.name, "variable", place, typed)


def _nothing(line: syntax.SystemItem) -> Symbol:
    return Symbol(line.name, "variable", name_span(line), NOTHING)


# --- states and noises ---------------------------------------------------------------------------


def _state(line: syntax.SystemItem, context: Context) -> Symbol:
    declared = resolve(line.type, context) if line.type is not None else NOTHING.type
    kind = as_tensor(declared)
    if kind is None:
        if line.type is not None and not isinstance(declared, UnknownType):
            message = f"a state holds numbers, but `{line.name}` is {declared}"
            help = "write `real` or `real[n]`, and one `state` for each quantity"
            context.error("E0302", message, line.type.span, help=help)
        return _nothing(line)
    if line.value is None:
        context.error(
            "E0711",
            f"the state `{line.name}` has no initial set",
            name_span(line),
            help=f"say where it starts: `{line.span.text} in box(...)`",
        )
    else:
        _initial(line, line.value, kind, context)
    return _variable(line, kind)


def _initial(
    line: syntax.SystemItem, value: syntax.Expr, kind: TensorType, context: Context
) -> None:
    found = _bounded(line, value, context)
    if found is None or found.element is None:  # a box of two scalars takes the state's shape
        return
    element = as_tensor(found.element)
    if element is None or squeezed(element.shape) != squeezed(kind.shape):
        context.error(
            "E0303",
            f"the state `{line.name}` is {kind}, but {quote(value)} is a {found}",
            value.span,
            secondary=[(line.type.span, "declared here")] if line.type else (),
        )
    elif element.unit is not None and not units.same(element.unit, kind.unit):
        words = f"has unit `{kind.unit}`" if kind.unit else "has no unit"
        message = f"the state `{line.name}` {words}, but {quote(value)} is in `{element.unit}`"
        context.error("E0401", message, value.span)


def _noise(line: syntax.SystemItem, context: Context) -> Symbol:
    if line.value is None:
        return _nothing(line)
    found = _bounded(line, line.value, context)
    if found is None:
        return _nothing(line)
    # Two scalars without anything that gives them a shape: one number, which meets every entry.
    element = TensorType() if found.element is None else as_tensor(found.element)
    if element is None:
        message = f"noise is a number or a tensor, but {quote(line.value)} is a {found}"
        context.error("E0302", message, line.value.span)
        return _nothing(line)
    return _variable(line, element)


def _bounded(line: syntax.SystemItem, value: syntax.Expr, context: Context) -> SetType | None:
    """The set that a line names, with bounds and the same in every step; None if reported."""
    typed = set_of(value, context)
    if not typed.known or not isinstance(typed.type, SetType):
        return None
    if typed.set.unbounded is not None:
        place, words = typed.set.unbounded
        context.error(
            "E0702",
            f"the {line.kind} `{line.name}` is unbounded: {words}",
            value.span,
            secondary=[(place, "no bounds here")] if place != value.span else (),
            help="give it a bounded set, for example `box([0, 0], [1, 1])`",
        )
        return None
    return typed.type


# --- actions and next states ---------------------------------------------------------------------


def _action(line: syntax.SystemItem, lines: _Lines, context: Context) -> Symbol:
    if line.value is None:
        return _nothing(line)
    below = {a.name: a for a in lines.actions if a.name not in context.locals}
    used = _first_use(line.value, below)
    if used is not None:
        what = "in its own definition" if used.name == line.name else "before its declaration"
        context.error(
            "E0204",
            f"the action `{used.name}` is used {what}",
            used.span,
            secondary=[(name_span(below[used.name]), "declared here")],
            help="actions are computed from top to bottom",
        )
        return _nothing(line)
    typed = context.type_of(line.value)
    found = operand(line.value, typed, context)
    if found is None:
        return _nothing(line)
    kind = Typed(found.tensor, typed.value, typed.variables)
    return Symbol(line.name, "variable", name_span(line), kind)


def _first_use(expression: syntax.Expr, names: Iterable[str]) -> syntax.Name | None:
    wanted = set(names)
    return next((use for use in names_in(expression) if use.name in wanted), None)


def _next_states(item: syntax.System, lines: _Lines, context: Context) -> None:
    states = {line.name: line for line in lines.states}
    given: dict[str, syntax.SystemItem] = {}
    for line in lines.nexts:
        if line.name in given:
            context.error(
                "E0711",
                f"the state `{line.name}` has two next values",
                name_span(line),
                secondary=[(name_span(given[line.name]), "the first is here")],
                help="all `next` are simultaneous: write one for each state",
            )
            continue
        given[line.name] = line
        if line.name not in states:
            _no_state(item, line, states, context)
            if line.value is not None:
                context.type_of(line.value)
        else:
            _next(line, context)
    for name, line in states.items():
        if name not in given:
            context.error(
                "E0711",
                f"the state `{name}` has no next value",
                name_span(line),
                help=f"write `next {name} = ...`; `next {name} = {name}` where it does not change",
            )


def _no_state(
    item: syntax.System, line: syntax.SystemItem, states: Iterable[str], context: Context
) -> None:
    names = list(states)
    known = ", ".join(f"`{name}`" for name in names)
    symbol = context.locals.get(line.name)
    context.error(
        "E0201",
        f"the system `{item.name}` has no state `{line.name}`",
        name_span(line),
        label=suggestion(line.name, names) or "",
        secondary=[(symbol.span, "this is no state")] if symbol else (),
        help=f"its states: {known}" if names else "declare it: `state x: real[2] in box(...)`",
    )


def _next(line: syntax.SystemItem, context: Context) -> None:
    state = context.locals[line.name]
    if line.value is None or not isinstance(state.typed.type, TensorType):
        return
    found = operand(line.value, context.type_of(line.value), context)
    if found is None:
        return
    wanted, given = state.typed.type, found.tensor
    declared = [(state.span, f"`{line.name}` is {wanted}")]
    if squeezed(given.shape) != squeezed(wanted.shape):
        message = f"the next `{line.name}` is {wanted}, but {quote(line.value)} is {given}"
        context.error("E0303", message, line.value.span, secondary=declared)
    elif wanted.element == "int" and given.element != "int":
        message = f"the state `{line.name}` is a whole number, but {quote(line.value)} need not be"
        context.error("E0302", message, line.value.span, secondary=declared)
    elif not units.same(given.unit, wanted.unit) and not (given.unit is None and found.bare):
        words = [f"unit `{u}`" if u else "no unit" for u in (wanted.unit, given.unit)]
        message = f"the state `{line.name}` has {words[0]}, but {quote(line.value)} has {words[1]}"
        context.error("E0401", message, line.value.span, secondary=declared)

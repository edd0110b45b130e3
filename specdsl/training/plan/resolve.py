"""From checked `train` blocks to plans: numbers evaluated, attacks by name, defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.checking.certifying import claim_call
from specdsl.language.checking.training_data import plain_slice
from specdsl.language.compositions import drawn
from specdsl.language.schemas import Option, Table
from specdsl.language.spec import Spec, TrainDeclaration
from specdsl.language.training_schemas import (
    ATTACKS,
    CERTIFIED_CLAIMS,
    CERTIFIERS,
    LOSSES,
    MEASURES,
    MULTIPLIERS,
    OPTIMIZERS,
    PRUNINGS,
    REGULARIZERS,
    SELECTIONS,
    STARTS,
    TRAIN_SETTINGS,
    WRITERS,
)
from specdsl.source import Span
from specdsl.training.plan.plan import (
    Argument,
    Arithmetic,
    Call,
    Certification,
    ClaimUse,
    Constant,
    Constraint,
    Fixed,
    Number,
    Part,
    Plan,
    Schedule,
    Scheduled,
    Selection,
    Settings,
    Stage,
    Term,
    Tied,
)
from specdsl.training.plan.recipe import expanded_text, recipe_of
from specdsl.training.plan.words import Words, folded, number_text, one_line

# What a line of weights must be: a term of negative weight would make more of it better.
_WEIGHT = Option("weight", "weight", "of a term", minimum=0)

_Lines = Sequence[syntax.TrainLine]


def plans_of(spec: Spec) -> tuple[Plan, ...]:
    """One plan for each `train` of the spec, in order.

    Raises SpecError where something shows only now: a weight that a schedule makes negative
    (E0402), a quotient without a value (E0404), a layer that there is not (E0620).
    """
    return tuple(_plan(spec, declared) for declared in spec.trainings)


def _plan(spec: Spec, declared: TrainDeclaration) -> Plan:
    lines = declared.items
    total = _total(spec, declared)
    lets = [line for line in lines if isinstance(line, syntax.TrainItem) and line.kind == "let"]
    taken = frozenset(line.name for line in lets if line.name is not None)
    words = Words(spec, declared.network, total, taken=taken, chain=declared.chain)
    for line in lets:
        _let(line, words)
    words.claim = _first_claim(lines, words)
    stages = tuple(_stages(lines, words))
    text = expanded_text(declared)
    return Plan(
        network=declared.network,
        chain=declared.chain,
        parts=declared.parts,
        data=Part(declared.dataset, declared.start, declared.stop),
        settings=_settings(lines, words),
        selection=_selection(lines, words),
        certifications=tuple(
            _certification(line, words) for line in lines if isinstance(line, syntax.Certify)
        ),
        saves=tuple(words.call(line.value, WRITERS) for line in _items(lines, "save")),
        stages=stages,
        schedules=tuple(words.schedules.values()),
        text=text,
        recipe=recipe_of(declared, spec),
        folder=Path(spec.source.name).parent,
        span=declared.span,
    )


def _items(lines: _Lines, kind: str) -> list[syntax.TrainItem]:
    return [line for line in lines if isinstance(line, syntax.TrainItem) and line.kind == kind]


def _written(lines: _Lines) -> Mapping[str, syntax.Expr]:
    return {line.name: line.value for line in lines if isinstance(line, syntax.Setting)}


def _let(line: syntax.TrainItem, words: Words) -> None:
    name, value = line.name or "", line.value
    head = value.function if isinstance(value, syntax.Call) else value
    curve = words.curve(value)
    is_attack = isinstance(head, syntax.Name) and head.name in ATTACKS.schemas
    code = drawn(name, value, words.networks) if curve is None else None
    if code is not None:
        words.networks = replace(words.networks, codes={**words.networks.codes, name: code})
        return
    if curve is None and is_attack and not _is_number(cast(syntax.Name, head), words):
        words.attacks[name] = words.call(value, ATTACKS)
        return
    if curve is None:
        tied = words.number(value)
        words.extremes(tied, line.span)
        curve = Tied(tied)
    words.schedules[name] = Schedule(name, curve, one_line(value), line.span)


def _is_number(name: syntax.Name, words: Words) -> bool:
    return name.name in words.schedules or name.name in words.spec.values


# --- settings -------------------------------------------------------------------------------------


def _total(spec: Spec, declared: TrainDeclaration) -> int:
    reader = Words(spec, declared.network, 0)
    own = _written(declared.items).get("epochs")
    if own is not None:
        return int(reader.constant(own))
    stages = [line for line in declared.items if isinstance(line, syntax.Stage)]
    return sum(int(reader.constant(_written(stage.items)["epochs"])) for stage in stages)


def _settings(lines: _Lines, words: Words) -> Settings:
    given = _written(lines)

    def number(name: str) -> Fraction | None:
        option = TRAIN_SETTINGS.option(name)
        if name in given:
            return words.constant(given[name])
        default = option.default if option is not None else None
        return None if default is None else Fraction(str(default))

    def whole(name: str) -> int | None:
        value = number(name)
        return None if value is None else int(value)

    device = given.get("device")
    start = given.get("init")
    anywhere = Span(words.spec.source, 0, 0)
    keep = syntax.Name("keep", span=anywhere)
    return Settings(
        epochs=words.epochs,
        batch=whole("batch") or 0,
        seed=whole("seed") or 0,
        device=cast(
            Literal["auto", "cpu", "cuda"],
            device.name if isinstance(device, syntax.Name) else "auto",
        ),
        threads=whole("threads"),
        clip=number("clip"),
        budget=number("budget"),
        init=words.call(keep if start is None else start, STARTS),
    )


def _selection(lines: _Lines, words: Words) -> Selection | None:
    line = next((line for line in lines if isinstance(line, syntax.Keep)), None)
    if line is None:
        return None
    least = None
    if isinstance(line.condition, syntax.Comparison):
        least = words.constant(line.condition.operands[1])
    patience = _written(lines).get("patience")
    where = f" where {one_line(line.condition)}" if line.condition is not None else ""
    measure = words.call(line.measure, SELECTIONS)
    moving = next(_scheduled(measure), None)
    if moving is not None:
        message = f"weights of all epochs are compared by one measure, but `{moving}` changes"
        help = "give the radius and the steps of the attack as constants"
        raise SpecError.of("E0712", message, line.measure.span, help=help)
    return Selection(
        measure=measure,
        part=_part(line.part, words),
        least_clean=least,
        patience=None if patience is None else int(words.constant(patience)),
        text=f"keep best by {one_line(line.measure)} on {one_line(line.part)}{where}",
        span=line.span,
    )


def _part(written: syntax.Expr, words: Words) -> Part:
    start, stop = plain_slice(written, words.constant)
    base = written.base if isinstance(written, syntax.Index) else written
    return Part(cast(syntax.Name, base).name, start, stop)


def _certification(line: syntax.Certify, words: Words) -> Certification:
    by = ", ".join(one_line(stage) for stage in line.stages)
    title = f"{one_line(line.claim)} on {one_line(line.part)}"
    return Certification(
        claim=words.call(claim_call(line.claim), CERTIFIED_CLAIMS),
        part=_part(line.part, words),
        stages=tuple(words.call(stage, CERTIFIERS) for stage in line.stages),
        title=title,
        text=f"certify {title} by {by}" if by else f"certify {title}",
        span=line.span,
    )


def _scheduled(argument: Argument) -> Iterator[str]:
    """The schedules that an argument follows."""
    match argument:
        case Scheduled(name=name):
            yield name
        case Arithmetic(left=left, right=right):
            yield from _scheduled(left)
            yield from _scheduled(right)
        case Call(arguments=arguments):
            for each in arguments.values():
                yield from _scheduled(each)
        case ClaimUse(arguments=arguments):
            for each in arguments.values():
                if not isinstance(each, Fixed):
                    yield from _scheduled(each)
        case tuple():
            for each in argument:
                if isinstance(each, Call):
                    yield from _scheduled(each)
        case _:
            pass


# --- stages ---------------------------------------------------------------------------------------


def _stages(lines: _Lines, words: Words) -> Iterator[Stage]:
    """Each stage with what it inherits; one of them all where none is written."""
    written = [line for line in lines if isinstance(line, syntax.Stage)]
    block = _stage("all", lines, None, words, 0, words.epochs)
    if not written:
        yield block
        return
    first = 0
    for number, line in enumerate(written):
        epochs = int(words.constant(_written(line.items)["epochs"]))
        stage = _stage(line.name, line.items, block, words, first, epochs)
        # What the block prunes without saying when, it prunes when training begins.
        yield stage if number else replace(stage, before=(*block.before, *stage.before))
        first += epochs


def _stage(
    name: str, lines: _Lines, above: Stage | None, words: Words, first: int, epochs: int
) -> Stage:
    terms = tuple(_terms(_items(lines, "minimize"), LOSSES, words))
    regularizers = tuple(_terms(_items(lines, "regularize"), REGULARIZERS, words))
    constraints = tuple(_constraint(line, words) for line in _items(lines, "constrain"))
    optimizer = _written(lines).get("optimizer")
    if above is not None:
        terms = terms or above.terms
        regularizers = regularizers or above.regularizers
        constraints = constraints or above.constraints
    return Stage(
        name,
        first,
        epochs,
        terms,
        regularizers,
        constraints,
        _optimizer(optimizer, above, words),
        tuple(words.call(line.value, PRUNINGS) for line in _items(lines, "prune")),
    )


def _optimizer(written: syntax.Expr | None, above: Stage | None, words: Words) -> Call:
    if written is not None:
        return words.call(written, OPTIMIZERS)
    if above is not None:
        return above.optimizer
    # The block of stages that all have their own: nothing inherits this one.
    return Call("adam", MappingProxyType({}), "", Span(words.spec.source, 0, 0))


def _terms(lines: Sequence[syntax.TrainItem], table: Table, words: Words) -> Iterator[Term]:
    for line in lines:
        for weight, call in _summands(line.value, Constant(Fraction(1)), table, words):
            words.ranged("the weight", _WEIGHT, weight, line.value.span)
            found = words.call(call, table)
            one = weight == Constant(Fraction(1))
            text = found.text if one else f"{number_text(weight, tight=True)} * {found.text}"
            yield Term(weight, found, text, call.span)


def _summands(
    expression: syntax.Expr, weight: Number, table: Table, words: Words
) -> Iterator[tuple[Number, syntax.Expr]]:
    """The words of a weighted sum, each with the product of the weights in front of it."""
    match expression:
        case syntax.Binary(operator="+", left=left, right=right):
            yield from _summands(left, weight, table, words)
            yield from _summands(right, weight, table, words)
        case syntax.Binary(operator="*", left=left, right=right):
            term, factor = (left, right) if _has_word(left, table) else (right, left)
            yield from _summands(term, folded("*", weight, words.number(factor)), table, words)
        case syntax.Binary(operator="/", left=left, right=right):
            yield from _summands(left, folded("/", weight, words.number(right)), table, words)
        case _:
            yield weight, expression


def _has_word(expression: syntax.Expr, table: Table) -> bool:
    match expression:
        case syntax.Call(function=syntax.Name(name=name)) | syntax.Name(name=name):
            return name in table.schemas
        case syntax.Binary(left=left, right=right):
            return _has_word(left, table) or _has_word(right, table)
        case _:
            return False


def _constraint(line: syntax.TrainItem, words: Words) -> Constraint:
    measure, bound = cast(syntax.Comparison, line.value).operands
    by = line.by or syntax.Name("lagrangian", span=line.span)
    least = Option("bound", "weight", "of a constraint", minimum=0)
    return Constraint(
        words.call(measure, MEASURES),
        words.ranged("the bound", least, words.number(bound), bound.span),
        words.call(by, MULTIPLIERS),
        one_line(line.value),
        line.span,
    )


# --- what regularisers without a property are about -----------------------------------------------


def _first_claim(lines: _Lines, words: Words) -> ClaimUse | None:
    """The property of the first certified loss, or else of the first loss that has one."""
    every = [
        *lines,
        *(each for line in lines if isinstance(line, syntax.Stage) for each in line.items),
    ]
    found: list[Call] = []
    for line in _items(every, "minimize"):
        one = Constant(Fraction(1))
        for _, call in _summands(line.value, one, LOSSES, words):
            found += _below(words.call(call, LOSSES))
    certified = [call for call in found if call.name == "certified_loss"]
    for call in [*certified, *found]:
        claim = call.arguments.get("property")
        if isinstance(claim, ClaimUse):
            return claim
    return None


def _below(call: Call) -> Iterator[Call]:
    """A loss and those that it is made of."""
    yield call
    for name in ("first", "second"):
        part = call.arguments.get(name)
        if isinstance(part, Call):
            yield from _below(part)

"""`keep best by measure on part where clean_accuracy >= c`, never on samples that a check tests.

Who chooses weights by the samples of a test has no test left: the figure it reports is too good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import cast

from specdsl.language import syntax
from specdsl.language.checking.training_data import DataPart, data_part
from specdsl.language.checking.training_terms import Training, term
from specdsl.language.spec import DatasetDeclaration, Value
from specdsl.language.training_schemas import SELECTIONS
from specdsl.language.typing.names import Context, quote
from specdsl.language.typing.operands import scalar_constant


def keep(line: syntax.Keep, training: Training) -> None:
    """Check one `keep` line; E0712 where its condition is another than a least clean accuracy."""
    term(line.measure, SELECTIONS, training)
    data_part(line.part, training.context)
    if line.condition is not None:
        _condition(line.condition, training.context)


def _condition(condition: syntax.Expr, context: Context) -> None:
    match condition:
        case syntax.Comparison(
            operands=(syntax.Name(name="clean_accuracy"), least), operators=(">=",)
        ):
            value = scalar_constant(least, context, "the least accuracy")
            if value is not None and not 0 <= value <= 1:
                message = f"an accuracy is a share from 0 to 1, not {quote(least)}"
                context.error("E0402", message, least.span)
        case _:
            context.error(
                "E0712",
                f"weights are kept where `clean_accuracy >= ...`, not where {quote(condition)}",
                condition.span,
                help="for example `keep best by certified(robust) on d[0:9] "
                "where clean_accuracy >= 0.95`",
            )


# --- what is tested ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TestedPart:
    """Samples of a dataset that a check or query reads; `stop` None: up to the last."""

    dataset: str
    start: int
    stop: int | None
    node: syntax.Node


def refuse_tested(
    program: syntax.Program,
    datasets: Mapping[str, DatasetDeclaration],
    values: Mapping[str, Value],
    context: Context,
) -> None:
    """E0721 where weights are selected by samples that the file checks, queries or certifies."""
    kept = [line for line in lines_of(program) if isinstance(line, syntax.Keep)]
    if not kept:
        return
    uses = list(tested_parts(program, datasets, values))
    for line in kept:
        part = data_part(line.part, context)
        use = next((u for u in uses if part and _overlap(part, u, datasets)), None)
        if use is not None:
            context.error(
                "E0721",
                f"weights are selected by samples of {quote(line.part)} that a check tests",
                line.part.span,
                secondary=[(use.node.span, "tested here")],
                help="keep some samples of the training data apart: `train net on d[0:9000]`, "
                "`keep best by ... on d[9000:10000]`",
            )


def lines_of(program: syntax.Program) -> list[syntax.TrainLine]:
    """The lines of all trainings of a file."""
    trainings = [item for item in program.items if isinstance(item, syntax.Train)]
    return [line for item in trainings for line in item.items]


def _overlap(part: DataPart, use: TestedPart, datasets: Mapping[str, DatasetDeclaration]) -> bool:
    if not same_samples(part.symbol.name, use.dataset, datasets):
        return False
    begins_before = use.stop is None or (part.start or 0) < use.stop
    return begins_before and (part.stop is None or use.start < part.stop)


def same_samples(first: str, second: str, datasets: Mapping[str, DatasetDeclaration]) -> bool:
    """Whether two names stand for the same samples: one declaration, or two of one file."""
    if first == second:
        return True
    a, b = datasets.get(first), datasets.get(second)
    if a is None or b is None:
        return False
    return (a.reader, a.paths, a.arguments) == (b.reader, b.paths, b.arguments)


def tested_parts(
    program: syntax.Program,
    datasets: Mapping[str, DatasetDeclaration],
    values: Mapping[str, Value],
) -> Iterator[TestedPart]:
    """Every mention of a dataset that a check, query or `certify` reaches, by whatever it names."""
    declared = _declared(program)
    runs = (syntax.Check, syntax.Optimize, syntax.Search)
    pending: list[syntax.Node] = [item for item in program.items if isinstance(item, runs)]
    pending += [line.part for line in lines_of(program) if isinstance(line, syntax.Certify)]
    seen: set[str] = set()
    while pending:
        node = pending.pop()
        match node:
            case syntax.Index(base=syntax.Name(name=name), items=(only,)) if name in datasets:
                start, stop = _range(only, values)
                yield TestedPart(name, start, stop, node)
                pending.append(only)
            case syntax.Name(name=name) if name in datasets:
                yield TestedPart(name, 0, None, node)
            case syntax.Name(name=name) if name in declared and name not in seen:
                seen.add(name)
                pending.append(declared[name])
            case _:
                pending.extend(_below(node))


def _declared(program: syntax.Program) -> Mapping[str, syntax.Node]:
    """What names of the file may lead to samples: properties, regions, functions and values."""
    found: dict[str, syntax.Node] = {}
    for item in program.items:
        match item:
            case syntax.Property() | syntax.Region() | syntax.System():
                found[item.name] = item
            case syntax.Let():
                found |= dict.fromkeys(item.names, item)
            case _:
                pass
    return found


def _range(item: syntax.Expr | syntax.Slice, values: Mapping[str, Value]) -> tuple[int, int | None]:
    """The samples of an index; all of them where its ends are no plain constants."""
    if not isinstance(item, syntax.Slice):
        at = _whole(item, values)
        return (0, None) if at is None else (at, at + 1)
    start = 0 if item.start is None else _whole(item.start, values)
    return start or 0, None if item.stop is None else _whole(item.stop, values)


def _whole(expression: syntax.Expr, values: Mapping[str, Value]) -> int | None:
    match expression:
        case syntax.Number(value=value):
            return int(value)
        case syntax.Name(name=name) if isinstance(value := values.get(name), Fraction):
            return int(value)
        case _:
            return None


def _below(node: syntax.Node) -> Sequence[syntax.Node]:
    found: list[syntax.Node] = []
    for each in fields(node):
        value: object = getattr(node, each.name)
        parts = cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)
        found += [part for part in parts if isinstance(part, syntax.Node)]
    return found

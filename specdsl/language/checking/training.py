"""`train`: what is trained on what, with which losses. Nothing here runs; names and types agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from specdsl.language import syntax
from specdsl.language.checking.certifying import certify
from specdsl.language.checking.preset_expansion import expanded
from specdsl.language.checking.schedules import last_epochs, weight, within
from specdsl.language.checking.selection import keep
from specdsl.language.checking.settings import matched_word, settings
from specdsl.language.checking.training_data import data_fits, data_part, sample_types
from specdsl.language.checking.training_networks import (
    Trained,
    code_symbol,
    trainable,
    trained_by,
    with_codes,
)
from specdsl.language.checking.training_terms import Training, constraint, weighted
from specdsl.language.compositions import Networks
from specdsl.language.schemas import Schema
from specdsl.language.spec import TrainDeclaration
from specdsl.language.training_schemas import (
    ATTACKS,
    CODES,
    LETS,
    LOSSES,
    PRUNINGS,
    REGULARIZERS,
    SCHEDULES,
    STAGE_SETTINGS,
    TRAIN_SETTINGS,
    WRITERS,
)
from specdsl.language.types import REAL, FunctionType
from specdsl.language.typing.builtins import BUILTINS
from specdsl.language.typing.names import NOTHING, CallSite, Context, Symbol, Typed
from specdsl.language.typing.paths import check_output
from specdsl.source import Span

Line = syntax.TrainLine


def train_declaration(
    item: syntax.Train, networks: Networks, context: Context
) -> TrainDeclaration | None:
    """What a `train` block says, its preset expanded; None where something was reported (E02 to
    E08).
    """
    before = len(context.session.diagnostics.errors)
    network = trainable(item.network, context)
    part = data_part(item.data, context)
    data = part.symbol if part else None
    if network is not None and data is not None:
        data_fits(item, network, data, context)
    trained = Trained() if network is None else trained_by(item, networks, context)
    total = _total(item.items, context)
    own = Training(sample_types(data), _names(item.items, context, item), networks, trained)
    lines = expanded(item.items, total, own)
    inner = _names(lines, context, item)
    seen = replace(own, context=inner, networks=with_codes(lines, networks))
    block = _Block(item, seen)
    block.settings(lines)
    block.lines(lines)
    if total is not None:
        _within(lines, total, block)
        _stages_fill(item, lines, total, inner)
    if network is None or part is None or len(context.session.diagnostics.errors) > before:
        return None
    return TrainDeclaration(
        network.name,
        part.symbol.name,
        lines,
        item.span,
        part.start,
        part.stop,
        item.data,
        tuple(block.saved),
        item.others,
        trained.chain,
        trained.parts,
    )


def _head(item: syntax.Train) -> Span:
    return Span(item.span.source, item.span.start, item.data.span.end)


# --- epochs --------------------------------------------------------------------------------------


def _total(lines: Sequence[Line], context: Context) -> int | None:
    """The number of epochs that the block says, or its stages; None where that is not known."""
    own = _epochs(lines, context)
    return own if own is not None else _staged(lines, context)


def _staged(lines: Sequence[Line], context: Context) -> int | None:
    """The epochs of all stages; None where there is no stage, or one that does not say them."""
    stages = [line for line in lines if isinstance(line, syntax.Stage)]
    counted = [_epochs(stage.items, context) for stage in stages]
    known = [count for count in counted if count is not None]
    return sum(known) if stages and len(known) == len(stages) else None


def _stages_fill(item: syntax.Train, lines: Sequence[Line], total: int, context: Context) -> None:
    """E0720 where the stages have more or fewer epochs than the block."""
    staged = _staged(lines, context)
    if staged is None or staged == total:
        return
    context.error(
        "E0720",
        f"the stages have {staged} epochs, but the training has {total}",
        next((line.span for line in item.items if _is_setting(line, "epochs")), _head(item)),
        help=f"write `epochs = {staged}`",
    )


def _epochs(lines: Sequence[Line], context: Context) -> int | None:
    value = _setting(lines, "epochs")
    number = None if value is None else context.type_of(value).value
    whole = isinstance(number, Fraction) and number.denominator == 1 and number >= 1
    return int(number) if whole and isinstance(number, Fraction) else None


def _setting(lines: Sequence[Line], name: str) -> syntax.Expr | None:
    found = (line.value for line in lines if isinstance(line, syntax.Setting) and line.name == name)
    return next(found, None)


def _is_setting(line: Line, name: str) -> bool:
    return isinstance(line, syntax.Setting) and line.name == name


def _within(lines: Sequence[Line], total: int, block: _Block) -> None:
    """E0720 for each schedule that goes on after the last epoch."""
    for line in lines:
        below = line.items if isinstance(line, syntax.Stage) else (line,)
        for each in below:
            for written in last_epochs(each):
                within(total, written, block.seen_from(each).context)


# --- names of the block --------------------------------------------------------------------------


def _names(lines: Sequence[Line], context: Context, item: syntax.Train) -> Context:
    """The context in which the schedules and attacks of the block are known."""
    first: dict[str, Span] = {}
    for line in lines:
        if not isinstance(line, syntax.TrainItem) or line.kind != "let" or line.name is None:
            continue
        if line.name in first:
            message = f"two lines of the block are called `{line.name}`"
            secondary = [(first[line.name], "first declared here")]
            context.error("E0202", message, line.span, secondary=secondary)
            continue
        first[line.name] = line.span
        context = context.bind([_let(line.name, line, _expanded(line, item, context))])
    return context


def _let(name: str, line: syntax.TrainItem, context: Context) -> Symbol:
    """A schedule, an attack, a code, or arithmetic with earlier schedules."""
    value = line.value
    function = value.function if isinstance(value, syntax.Call) else value
    word = function.name if isinstance(function, syntax.Name) else ""
    if context.lookup(word) is None and word in ATTACKS.schemas:
        matched_word(value, ATTACKS, "E0804", context)
        return Symbol(name, "attack", line.span, Typed(FunctionType("attack", name)))
    if context.lookup(word) is None and word in CODES.schemas:
        matched = matched_word(value, CODES, "E0804", context)
        sound = matched is not None and matched.sound
        return (
            code_symbol(name, line, context) if sound else Symbol(name, "code", line.span, NOTHING)
        )
    known = context.lookup(word) is not None or word in BUILTINS
    if word in SCHEDULES.schemas or (isinstance(value, syntax.Call) and not known):
        matched_word(value, LETS, "E0804", context)
    else:
        weight(f"`{name}`", value, context)
    return Symbol(name, "schedule", line.span, Typed(REAL))


def _expanded(line: Line, item: syntax.Train, context: Context) -> Context:
    """The context of a line; what is wrong in a preset is shown with the line that calls it."""
    if line.span.source is item.span.source:
        return context
    method = next((each for each in item.items if _is_setting(each, "method")), item)
    site = CallSite("method", method.span)
    return replace(context, calls=(*context.calls, site))


# --- lines ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A `train` block and what its lines see; `saved` grows with its lines."""

    item: syntax.Train
    training: Training
    saved: list[Path] = field(default_factory=list[Path])

    def seen_from(self, line: Line) -> Training:
        """What a line sees."""
        context = _expanded(line, self.item, self.training.context)
        return replace(self.training, context=context)

    def settings(self, lines: Sequence[Line]) -> None:
        """The settings of the block: closed, each once."""
        written = [s for s in lines if isinstance(s, syntax.Setting)]
        stages = [line for line in lines if isinstance(line, syntax.Stage)]
        schema = _optional(TRAIN_SETTINGS, {"epochs"} if stages else set())
        if all(_setting(stage.items, "optimizer") is not None for stage in stages) and stages:
            schema = _optional(schema, {"optimizer"})
        settings(schema, written, _head(self.item), self.training.context)
        patience = next((line for line in written if line.name == "patience"), None)
        if patience is not None and not any(isinstance(line, syntax.Keep) for line in lines):
            message = "`patience` waits for a better measure, but nothing is measured"
            help = "add `keep best by ... on ...`"
            self.training.context.error("E0805", message, patience.span, help=help)

    def lines(self, lines: Sequence[Line]) -> None:
        """Everything that is no setting."""
        stages = [line for line in lines if isinstance(line, syntax.Stage)]
        kept = [line for line in lines if isinstance(line, syntax.Keep)]
        for line in lines:
            self._line(line)
        for again in kept[1:]:
            secondary = [(kept[0].span, "given here first")]
            message = "what is kept is given twice"
            self.training.context.error("E0803", message, again.span, secondary=secondary)
        self._stage_names(stages)
        objectives = _has_objective(lines)
        # A preset that was refused has left no lines, and has been reported.
        if stages and not objectives:
            for stage in stages:
                if not _has_objective(stage.items):
                    self._nothing(f"the stage `{stage.name}`", stage.span)
        elif not objectives and _setting(self.item.items, "method") is None:
            self._nothing("the training", _head(self.item))

    def _nothing(self, what: str, span: Span) -> None:
        help = "add for example `minimize clean_loss()`"
        self.training.context.error("E0712", f"{what} minimises nothing", span, help=help)

    def _stage_names(self, stages: Sequence[syntax.Stage]) -> None:
        first: dict[str, Span] = {}
        for stage in stages:
            if stage.name in first:
                message = f"two stages are called `{stage.name}`"
                secondary = [(first[stage.name], "first declared here")]
                self.training.context.error("E0202", message, stage.span, secondary=secondary)
            first.setdefault(stage.name, stage.span)

    def _line(self, line: Line) -> None:
        training = self.seen_from(line)
        match line:
            case syntax.TrainItem(kind="minimize", value=value):
                weighted(value, LOSSES, training)
            case syntax.TrainItem(kind="regularize", value=value):
                weighted(value, REGULARIZERS, training)
            case syntax.TrainItem(kind="constrain"):
                constraint(line, training)
            case syntax.TrainItem(kind="save", value=value):
                path = _save(value, training.context)
                if path is not None:
                    self.saved.append(path)
            case syntax.TrainItem(kind="prune", value=value):
                matched_word(value, PRUNINGS, "E0801", training.context)
            case syntax.Keep():
                keep(line, training)
            case syntax.Certify():
                certify(line, training)
            case syntax.Stage():
                self._stage(line, training.context)
            case _:  # settings and `let`: done before, since every line may use them
                pass

    def _stage(self, stage: syntax.Stage, context: Context) -> None:
        written = [line for line in stage.items if isinstance(line, syntax.Setting)]
        settings(STAGE_SETTINGS, written, stage.span, context)
        for line in stage.items:
            if isinstance(line, syntax.TrainItem) and line.kind == "let":
                message = "a schedule is declared in the block, not in one of its stages"
                help = "all stages share one clock: move the line above the first stage"
                context.error("E0720", message, line.span, help=help)
            self._line(line)


def _has_objective(lines: Sequence[Line]) -> bool:
    return any(isinstance(line, syntax.TrainItem) and line.kind == "minimize" for line in lines)


def _optional(schema: Schema, names: set[str]) -> Schema:
    """The schema where some settings need not be given."""
    options = tuple(replace(o, required=o.required and o.name not in names) for o in schema.options)
    return replace(schema, options=options)


_ENDINGS = {"onnx": (".onnx", "no ONNX file"), "safetensors": (".safetensors", "no such file")}


def _save(expression: syntax.Expr, context: Context) -> Path | None:
    """Where the network is written; None after a diagnostic."""
    matched = matched_word(expression, WRITERS, "E0801", context)
    if matched is None:
        return None
    name = matched.values.get("file")
    if not isinstance(name, str) or not check_output(name, matched.spans["file"], context):
        return None
    ending, what = _ENDINGS[matched.schema.name]
    if not name.endswith(ending):
        message = f"`{name}` is {what} by its name"
        help = f"networks end in `{ending}`"
        context.error("E0804", message, matched.spans["file"], help=help)
        return None
    return context.session.folder(expression.span) / name

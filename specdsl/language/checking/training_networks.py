"""The networks of a training: those that it changes, and those that its losses are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from specdsl.language import syntax
from specdsl.language.checking.training_data import named, target_fits
from specdsl.language.compositions import Composition, Drawn, Networks, code_arguments, drawn
from specdsl.language.types import LabelType, NetworkType, RecordType, Type
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, quote
from specdsl.language.typing.types import as_tensor, fits


@dataclass(frozen=True, slots=True)
class Trained:
    """Declared networks by their names: `parts` are all that a training changes, `chain` those that
    the first network of the block is made of, in order.
    """

    chain: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


# --- what is trained ------------------------------------------------------------------------------


def trainable(expression: syntax.Expr, context: Context) -> Symbol | None:
    """The symbol of a declared network, or of a `let` that is one; None after a diagnostic."""
    if not isinstance(expression, syntax.Name):
        if isinstance(context.type_of(expression).type, NetworkType):
            message = f"what is trained has a name, unlike {quote(expression)}"
            help = f"write `let model = {expression.span.text}`, and `train model on ...`"
            context.error("E0302", message, expression.span, help=help)
            return None
        return named(expression, "network", context)
    symbol = context.lookup(expression.name)
    if symbol is not None and symbol.kind == "value" and _is_network(symbol.typed):
        return symbol
    return named(expression, "network", context)


def _is_network(typed: Typed) -> bool:
    return isinstance(typed.type, NetworkType)


def trained_by(item: syntax.Train, networks: Networks, context: Context) -> Trained:
    """What the block changes; nothing after a diagnostic."""
    chain: tuple[str, ...] = ()
    places: dict[str, syntax.Expr] = {}
    for number, expression in enumerate((item.network, *item.others)):
        # The first was looked at with its data.
        symbol = trainable(expression, context) if number else None
        found = networks.composition(expression)
        if found is None:
            if number == 0 or symbol is not None:
                _no_composition(expression, context)
            return Trained()
        again = [name for name in found.networks if name in places]
        if again and len(again) == len(found.networks):
            message = f"{quote(expression)} is trained already"
            secondary = [(places[again[0]].span, "here")]
            context.error("E0803", message, expression.span, secondary=secondary)
        for name in found.networks:
            places.setdefault(name, expression)
        chain = chain or tuple(step for step in found.steps if isinstance(step, str))
    return Trained(chain, tuple(places))


def _no_composition(expression: syntax.Expr, context: Context) -> None:
    """E0302, where nothing else is wrong: a network that was reported is not declared."""
    if context.session.diagnostics.errors:
        return
    message = f"{quote(expression)} is not made of declared networks alone"
    context.error("E0302", message, expression.span, help="join networks by `>>`")


# --- codes ----------------------------------------------------------------------------------------


def code_symbol(name: str, line: syntax.TrainItem, context: Context) -> Symbol:
    """A code as what stands between networks: from what its networks take to what they give.

    Its arguments have been matched. E0301 where the two networks are not of one type.
    """
    nothing = Symbol(name, "code", line.span, NOTHING)
    found = code_arguments(line.value)
    if found is None:
        return nothing
    mean, deviation = (context.type_of(each).type for each in found)
    if not isinstance(mean, NetworkType) or not isinstance(deviation, NetworkType):
        return nothing
    if not (fits(mean.input, deviation.input) and fits(mean.output, deviation.output)):
        context.error(
            "E0301",
            f"{quote(found[0])} is {mean}, but {quote(found[1])} is {deviation}",
            found[1].span,
            secondary=[(found[0].span, "the mean")],
            help="both are about the entries of one code",
        )
        return nothing
    return Symbol(name, "code", line.span, Typed(mean))


def with_codes(lines: Sequence[syntax.TrainLine], networks: Networks) -> Networks:
    """The networks with the codes that lines of a block declare, each seeing those above it."""
    for line in lines:
        if not isinstance(line, syntax.TrainItem) or line.kind != "let" or line.name is None:
            continue
        code = drawn(line.name, line.value, networks)
        if code is not None:
            networks = replace(networks, codes={**networks.codes, line.name: code})
    return networks


# --- what losses are about ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """A loss of the block that is about networks. `sample`: the types of its parts."""

    word: str
    expression: syntax.Expr
    sample: tuple[Type, ...]
    networks: Networks
    trained: Trained

    def check(self, context: Context) -> None:
        """E0301, E0302, E0712 or E0722 where the loss has no meaning for these networks."""
        kind = context.type_of(self.expression).type
        found = self.networks.composition(self.expression)
        if not isinstance(kind, NetworkType):
            return
        if found is None:
            _no_composition(self.expression, context)
        elif self._known(found, context) and self._takes_samples(kind, context):
            self._gives(kind, found, context)

    def _known(self, found: Composition, context: Context) -> bool:
        """Whether each network has weights, and some are trained."""
        span = self.expression.span
        if not self.trained.parts:
            return True  # what is trained was reported
        for name in found.networks:
            declared = self.networks.declared[name]
            has_weights = declared.onnx is not None or declared.weights is not None
            if name not in self.trained.parts and not has_weights:
                context.error(
                    "E0722",
                    f"`{name}` has no weights, and is not trained here",
                    span,
                    secondary=[(declared.span, "declared here")],
                    help=f"train it too, `train ..., {name} on ...`, or say where its weights are",
                )
                return False
        if not set(found.networks) & set(self.trained.parts):
            message = f"nothing of {quote(self.expression)} is trained, so its loss is constant"
            context.error("E0712", message, span)
            return False
        return True

    def _takes_samples(self, kind: NetworkType, context: Context) -> bool:
        if not self.sample or fits(self.sample[0], kind.input):
            return True
        message = f"{quote(self.expression)} takes {kind.input}, but samples are {self.sample[0]}"
        context.error("E0301", message, self.expression.span)
        return False

    def _gives(self, kind: NetworkType, found: Composition, context: Context) -> None:
        """Whether the outputs are what the loss compares."""
        said, span = quote(self.expression), self.expression.span
        match self.word:
            case "kl_loss" if not isinstance(found.steps[-1], Drawn):
                message = f"{said} ends in no code, so its outputs have no distribution"
                help = "declare one in the block: `let code = normal(mean, log_deviation)`"
                context.error("E0302", message, span, help=help)
            case "reconstruction_loss" if _size(kind.output) != _size(kind.input):
                message = (
                    f"{said} gives {kind.output}, which is nothing to compare with {kind.input}"
                )
                help = "end in a decoder: `encoder >> decoder`"
                context.error("E0301", message, span, help=help)
            case "clean_loss" if len(self.sample) > 1 and not target_fits(
                self.sample[1], kind.output
            ):
                message = f"{said} gives {kind.output}, but targets are {_target(self.sample[1])}"
                context.error("E0301", message, span)
            case _:
                pass


def _size(kind: Type) -> int | None:
    """The number of entries."""
    if isinstance(kind, RecordType):
        return kind.size
    tensor = as_tensor(kind)
    return None if tensor is None else prod(tensor.shape)


def _target(kind: Type) -> str:
    return f"of {kind.count} classes" if isinstance(kind, LabelType) else str(kind)

"""`smooth(net, sigma)`: the class that a network gives most often under Gaussian noise.

Cohen, Rosenfeld, Kolter 2019, arXiv:1902.02918.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from specdsl.language import constants, syntax, units
from specdsl.language.types import (
    NetworkType,
    RecordType,
    TensorType,
    TupleType,
    Type,
    VotesType,
)
from specdsl.language.typing.fit import accepts
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.operands import describe, scalar_constant, text_of
from specdsl.language.typing.types import as_tensor, squeezed

EXAMPLE = "`let g = smooth(net, 1/4)`"


def smooth(call: syntax.Call, arguments: Sequence[syntax.Expr], context: Context) -> Typed:
    """A network whose output is votes."""
    network, sigma = arguments
    typed = context.type_of(network)
    if not typed.known:
        context.type_of(sigma)
        return NOTHING
    kind = typed.type
    if not isinstance(kind, NetworkType):
        message = f"`smooth` takes a network, but {quote(network)} is {describe(typed)}"
        return context.error("E0302", message, network.span, help=f"for example {EXAMPLE}")
    votes = _votes(network, kind, context)
    unit = _unit(call, network, kind.input, context)
    if votes is None or unit is None or not _is_size(sigma, unit, context):
        return NOTHING
    return Typed(NetworkType(kind.input, votes))


def _votes(network: syntax.Expr, kind: NetworkType, context: Context) -> VotesType | None:
    """One for each score; None after a diagnostic."""
    if isinstance(kind.output, VotesType):
        message = f"{quote(network)} is smoothed already"
        context.error("E0316", message, network.span, help="noise is added once: name the network")
        return None
    scores = as_tensor(kind.output)
    if scores is None or len(scores.shape) != 1 or squeezed(scores.shape) == ():
        context.error(
            "E0309",
            f"`smooth` needs a network that gives a vector of scores, but {quote(network)} gives "
            f"{kind.output}",
            network.span,
            help="one score for each class, the largest of which names it",
        )
        return None
    return VotesType(scores.shape[0], scores.labels)


def _unit(
    call: syntax.Call, network: syntax.Expr, given: Type, context: Context
) -> TensorType | None:
    """A number in the unit of all entries of the input; None after a diagnostic."""
    why = None
    if isinstance(given, TupleType):
        why = f"{quote(network)} has {len(given.items)} inputs"
    fields = given.fields if isinstance(given, RecordType) else (("", as_tensor(given)),)
    kinds = [kind for _, kind in fields if kind is not None]
    whole = [name for name, kind in fields if kind is not None and kind.element == "int"]
    first = kinds[0].unit if kinds else None
    if why is None and whole:
        named = ", ".join(f"`{name}`" for name in whole if name) or "the input"
        why = f"{named} of {quote(network)} holds whole numbers or classes"
    if why is None and not all(units.same(kind.unit, first) for kind in kinds):
        why = f"the fields of {given} are in different units"
    if why is None:
        return TensorType((), "real", first)
    context.error(
        "E0316",
        f"one noise does not fit all that goes in: {why}",
        call.span,
        help="smooth a network over one tensor of real numbers",
    )
    return None


def _is_size(sigma: syntax.Expr, unit: TensorType, context: Context) -> bool:
    """Whether it is a positive constant in that unit; E0312, E0316 or E0401 where it is not."""
    noise = "the standard deviation of the noise"
    if scalar_constant(sigma, context, noise) is None:
        return False
    typed = context.type_of(sigma)
    if not accepts(unit, (sigma, typed), noise, context):
        return False
    value = None if typed.value is None else constants.scalar(typed.value)
    if isinstance(value, Fraction) and value > 0:
        return True
    message = f"{noise} is positive, but {quote(sigma)} is {value}"
    help = f"without noise ask the network itself: drop `smooth(..., {text_of(sigma)})`"
    context.error("E0316", message, sigma.span, help=help)
    return False

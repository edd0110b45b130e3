"""`train network on data[a:b]`: which network learns from which samples, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from specdsl.language import syntax
from specdsl.language.types import LabelType, NetworkType, SetType, TensorType, TupleType, Type
from specdsl.language.typing.names import Context, Symbol, quote
from specdsl.language.typing.operands import scalar_constant
from specdsl.language.typing.types import fits, squeezed


@dataclass(frozen=True, slots=True, eq=False)
class DataPart:
    """Samples of a declared dataset: those from `start` up to `stop`, or to its ends."""

    symbol: Symbol
    start: int | None
    stop: int | None


def data_part(expression: syntax.Expr, context: Context) -> DataPart | None:
    """`data` or `data[a:b]`; None after a diagnostic."""
    match expression:
        case syntax.Index(base=base, items=(syntax.Slice(start=start, stop=stop),)):
            symbol = named(base, "dataset", context)
            ends = [None if end is None else _place(end, context) for end in (start, stop)]
            if symbol is None or any(e is not None and e < 0 for e in ends):
                return None
            if ends[1] is None or (ends[0] or 0) < ends[1]:
                return DataPart(symbol, *ends)
            message = f"{quote(expression)} holds no sample"
            context.error("E0403", message, expression.span, help="write the earlier one first")
            return None
        case _:
            symbol = named(expression, "dataset", context)
            return None if symbol is None else DataPart(symbol, None, None)


def plain_slice(
    part: syntax.Expr, constant: Callable[[syntax.Expr], Fraction]
) -> tuple[int | None, int | None]:
    """The ends of `data[a:b]` that was checked; None where there is none."""
    match part:
        case syntax.Index(items=(syntax.Slice(start=start, stop=stop),)):
            first, last = (None if end is None else int(constant(end)) for end in (start, stop))
            return first, last
        case _:
            return None, None


def _place(expression: syntax.Expr, context: Context) -> int:
    """The number of a sample; -1 after a diagnostic."""
    value = scalar_constant(expression, context, "an end of a slice")
    if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
        return int(value)
    if value is not None:
        message = f"samples are counted from 0 by whole numbers, unlike {quote(expression)}"
        context.error("E0304", message, expression.span)
    return -1


def named(expression: syntax.Expr, kind: str, context: Context) -> Symbol | None:
    """The symbol of a declared network or dataset (`kind`); None after a diagnostic."""
    symbol = context.lookup(expression.name) if isinstance(expression, syntax.Name) else None
    if isinstance(expression, syntax.Name) and symbol is None:
        context.unknown_name(expression.name, expression.span)
        return None
    if symbol is not None and symbol.kind == kind:
        return symbol if symbol.typed.known else None
    if symbol is None:
        context.type_of(expression)
    article = "a network" if kind == "network" else "a dataset"
    context.error(
        "E0302",
        f"{article} is needed here, but this is {symbol.description if symbol else 'none'}",
        expression.span,
        secondary=[(symbol.span, "declared here")] if symbol else (),
        help="write `train net on data { ... }` with two declared names",
    )
    return None


def sample_types(data: Symbol | None) -> tuple[Type, ...]:
    """The types of the parts of a sample: its input, and its target if it has one."""
    kind = data.typed.type if data else None
    if not isinstance(kind, SetType) or kind.element is None:
        return ()
    if isinstance(kind.element, TupleType):
        return tuple(part for _, part in kind.element.items)
    return (kind.element,)


def data_fits(item: syntax.Train, network: Symbol, data: Symbol, context: Context) -> None:
    """E0301 where the samples of `data` are none of `network`."""
    kind, sample = network.typed.type, sample_types(data)
    if not isinstance(kind, NetworkType) or not sample:
        return
    declared = [(network.span, "the network"), (data.span, "the dataset")]
    if not fits(sample[0], kind.input):
        context.error(
            "E0301",
            f"`{network.name}` takes {kind.input}, but the inputs of `{data.name}` are {sample[0]}",
            item.data.span,
            secondary=declared,
        )
    elif len(sample) > 1 and not target_fits(sample[1], kind.output):
        context.error(
            "E0301",
            f"`{network.name}` gives {kind.output}, which is nothing to compare with the targets "
            f"of `{data.name}`: {sample[1]}",
            item.data.span,
            secondary=declared,
        )


def target_fits(target: Type, output: Type) -> bool:
    """One score for each class, or one (or two) for two classes; else numbers of the same shape."""
    if not isinstance(target, LabelType):
        return fits(output, target)
    if not isinstance(output, TensorType):
        return False
    shape = squeezed(output.shape)
    return shape == (target.count,) or (shape == () and target.count == 2)

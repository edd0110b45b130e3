"""`norm_ball(center, radius, norm, scale =, only =)`: what one radius may measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from specdsl.language import constants, syntax, units
from specdsl.language.types import RecordType, SetType, TensorType, UnknownType
from specdsl.language.typing.fields import field_names
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.numbers import literal_value, spelled
from specdsl.language.typing.operands import Operand, describe, operand, text_of
from specdsl.language.typing.reductions import norm_name
from specdsl.language.typing.types import as_tensor, squeezed

NORMALIZED = "normalized"


@dataclass(frozen=True, slots=True, eq=False)
class _Measure:
    """What the radius measures: fields, and whether weights take their units away."""

    fields: Sequence[tuple[str, TensorType]]
    weighted: bool


def norm_ball(
    call: syntax.Call,
    arguments: Sequence[syntax.Expr],
    named: dict[str, syntax.Expr],
    context: Context,
) -> Typed:
    """The elements of the center's type at most `radius` away from it."""
    center = context.type_of(arguments[0])
    radius = operand(arguments[1], context.type_of(arguments[1]), context)
    norm = norm_name(arguments[2], context)
    if not center.known or radius is None or not norm.known:
        return Typed(SetType(center.type), None, center.variables)
    kind = center.type
    if as_tensor(kind) is None and not isinstance(kind, RecordType):
        message = f"the center is a point, but {quote(arguments[0])} is {describe(center)}"
        return context.error("E0302", message, arguments[0].span)
    measure = _measure(call, arguments, center, named, context)
    if measure is None or not _radius_fits(radius, measure, call, context):
        return NOTHING
    return Typed(SetType(kind), None, center.variables)


def _measure(
    call: syntax.Call,
    arguments: Sequence[syntax.Expr],
    center: Typed,
    named: dict[str, syntax.Expr],
    context: Context,
) -> _Measure | None:
    weighted = "scale" in named
    if weighted and not _scale_fits(named["scale"], center, context):
        return None
    if not isinstance(center.type, RecordType):
        tensor = as_tensor(center.type)
        if "only" in named:
            message = f"`only =` names fields, but {quote(arguments[0])} is {describe(center)}"
            context.error("E0302", message, named["only"].span)
            return None
        return _Measure([("", tensor)] if tensor is not None else [], weighted)
    record = center.type
    fields = record.fields
    if "only" in named:
        names = field_names(named["only"], record, context)
        if names is None:
            return None
        fields = tuple((name, kind) for name, kind in fields if name in names)
    measure = _Measure(fields, weighted)
    return measure if _alike(call, arguments, record, measure, context) else None


def _alike(
    call: syntax.Call,
    arguments: Sequence[syntax.Expr],
    record: RecordType,
    measure: _Measure,
    context: Context,
) -> bool:
    """Whether one radius can measure the fields together; E0407 where it cannot."""
    stepped = [name for name, kind in measure.fields if kind.element == "int"]
    reals = [(name, kind) for name, kind in measure.fields if kind.element != "int"]
    found = units.distinct(kind.unit for _, kind in reals)
    mixed = len(found) > 1 or (bool(found) and any(kind.unit is None for _, kind in reals))
    if not stepped and (measure.weighted or not mixed):
        return True
    if stepped:
        listed = " and ".join(f"`{name}`" for name in stepped)
        why = f"{listed} {'is a whole number' if len(stepped) == 1 else 'are whole numbers'}"
    else:
        listed = " and ".join(f"`{unit}`" for unit in found)
        why = f"they are in {listed}" if len(found) > 1 else f"some are in {listed}, some bare"
    context.error(
        "E0407",
        f"one radius cannot measure the fields of {record}: {why}",
        call.span,
        help=_ways_out(arguments, [n for n, _ in reals], measure, mixed=mixed),
    )
    return False


def _ways_out(
    arguments: Sequence[syntax.Expr], reals: Sequence[str], measure: _Measure, *, mixed: bool
) -> str:
    options = ["scale = normalized"] if mixed or measure.weighted else []
    if len(reals) < len(measure.fields) and reals:
        options.append(f"only = [{', '.join(reals)}]")
    center, radius, norm = (text_of(a) for a in arguments)
    name = (reals or [n for n, _ in measure.fields])[0]
    bound = f"bound each field in `where`: `|s.{name} - {center}.{name}| <= ...`"
    if not options:
        return bound
    return f"write `norm_ball({center}, {radius}, {norm}, {', '.join(options)})`, or {bound}"


def _scale_fits(scale: syntax.Expr, center: Typed, context: Context) -> bool:
    """`normalized` (by the ranges of the space), or positive weights, one or one an entry."""
    record = center.type if isinstance(center.type, RecordType) else None
    if (
        isinstance(scale, syntax.Name)
        and scale.name == NORMALIZED
        and not context.lookup(NORMALIZED)
    ):
        if record is not None:
            return True
        message = "`scale = normalized` divides by the ranges of a space, but the center is in none"
        context.error("E0302", message, scale.span, help="give weights: `scale = [1, 1/2]`")
        return False
    weights = operand(scale, context.type_of(scale), context)
    if weights is None:
        return False
    if weights.varying:
        message = f"the weights of a norm are constants, but {quote(scale)} varies"
        context.error("E0312", message, scale.span)
        return False
    value = weights.typed.value
    if value is not None and any(entry <= 0 for entry in constants.entries(value)):
        message = f"the weights of a norm are positive, unlike {quote(scale)}"
        context.error("E0402", message, scale.span, help="to fix some fields use `only = [...]`")
        return False
    tensor = as_tensor(center.type)
    size = record.size if record else constants.size(tensor.shape) if tensor else 1
    given = constants.size(weights.tensor.shape)
    if given in (1, size):
        return True
    context.error("E0303", f"{given} weights for {size} entries", scale.span)
    return False


def _radius_fits(radius: Operand, measure: _Measure, call: syntax.Call, context: Context) -> bool:
    where = radius.expression.span
    if squeezed(radius.tensor.shape) != ():
        context.error("E0303", f"a radius is one number, not {radius.tensor}", where)
        return False
    if radius.varying:
        context.later(
            "a radius that depends on quantified variables is",
            where,
            "quantify over a larger ball and state the distance in `where`: "
            f"`norm(z - c, linf) <= {text_of(radius.expression)}`",
        )
        return False
    value = None if radius.typed.value is None else constants.scalar(radius.typed.value)
    if isinstance(value, Fraction) and value < 0:
        context.error("E0403", f"the ball is empty: its radius is {value}", where)
        return False
    return _radius_unit_fits(radius, measure, context)


def _radius_unit_fits(radius: Operand, measure: _Measure, context: Context) -> bool:
    given = radius.tensor.unit
    if given is None or any(isinstance(kind, UnknownType) for _, kind in measure.fields):
        return True
    unit = None if measure.weighted else next((k.unit for _, k in measure.fields), None)
    if units.same(given, unit):
        return True
    help = None
    if measure.weighted:
        help = "what is scaled has no unit: write the radius as a bare number"
    elif unit is not None:
        literal = literal_value(radius.expression)
        converted = units.convert(literal, given, unit) if literal is not None else None
        help = f"write {spelled(converted)} `{unit}`" if converted is not None else None
    words = f"unit `{unit}`" if unit else "no unit"
    message = f"the radius has unit `{given}`, what it measures has {words}"
    context.error("E0401", message, radius.expression.span, help=help)
    return False

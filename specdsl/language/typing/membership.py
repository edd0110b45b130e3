"""`x in R`, `x not in R`."""

from __future__ import annotations

from specdsl.language import syntax, units
from specdsl.language.types import BOOL, LabelType, SetType, TensorType, Type
from specdsl.language.typing.labels import check_label
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.sets import set_of
from specdsl.language.typing.types import as_tensor, fits, squeezed


def membership(expression: syntax.Membership, context: Context) -> Typed:
    """Membership in any set, of a value that need not be a variable."""
    element = context.type_of(expression.element)
    typed = set_of(expression.set, context)
    kind = typed.type
    if not element.known or not isinstance(kind, SetType):
        return NOTHING
    if typed.set.image:
        return context.error(
            "E0705",
            f"membership in {quote(expression.set)} asks whether some value exists",
            expression.set.span,
            help="name the value: quantify over it, and compare with `==`",
        )
    if not _kinds_agree(expression, element, kind.element, context):
        return NOTHING
    if not _units_agree(expression, element, typed, context):
        return NOTHING
    return Typed(BOOL, None, element.variables | typed.variables)


def _kinds_agree(
    expression: syntax.Membership, element: Typed, wanted: Type | None, context: Context
) -> bool:
    given = element.type
    label, other = (given, wanted) if isinstance(given, LabelType) else (wanted, given)
    if isinstance(label, LabelType) and isinstance(other, LabelType | TensorType):
        sides = (expression.element, expression.set)
        of_label, of_other = sides if label is given else sides[::-1]
        return check_label((of_other, Typed(other)), (of_label, label), context)
    if wanted is None:
        if as_tensor(given) is not None:
            return True
        wanted = TensorType()
    a, b = as_tensor(given), as_tensor(wanted)
    if fits(given, wanted) or (a and b and squeezed(a.shape) == squeezed(b.shape)):
        return True
    context.error(
        "E0303",
        f"{quote(expression.element)} is {given}, but the set holds {wanted}",
        expression.span,
        secondary=[(expression.set.span, f"set of {wanted}")],
    )
    return False


def _units_agree(
    expression: syntax.Membership, element: Typed, typed: Typed, context: Context
) -> bool:
    kind = typed.type.element if isinstance(typed.type, SetType) else None
    given, held = as_tensor(element.type), as_tensor(kind) if kind else None
    unit = held.unit if held is not None else typed.set.unit
    if given is None or unit is None or units.same(unit, given.unit):
        return True
    if given.unit is None and not element.variables:
        return True
    context.error(
        "E0401",
        f"the set is in `{unit}`, but {quote(expression.element)} "
        + (f"has unit `{given.unit}`" if given.unit else "has no unit"),
        expression.span,
    )
    return False

"""Labels and names of fields: what they are compared with."""

from __future__ import annotations

from fractions import Fraction

from specdsl.language import syntax
from specdsl.language.types import BOOL, FieldType, LabelType, TensorType
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.operands import describe
from specdsl.language.typing.types import fits

EQUALITY = ("==", "!=")
Side = tuple[syntax.Expr, Typed]


def compare_labels(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    """`==` or `!=` of two labels, or of a label and a whole number."""
    if symbol not in EQUALITY:
        message = "labels are names, not quantities: they compare with `==` and `!=` only"
        return context.error("E0707", message, whole.span)
    (_, a), (_, b) = left, right
    side, other = (left, right) if isinstance(a.type, LabelType) else (right, left)
    label = side[1].type
    if not isinstance(label, LabelType) or not check_label(other, (side[0], label), context):
        return NOTHING
    if isinstance(a.value, Fraction) and isinstance(b.value, Fraction):
        return Typed(BOOL, (a.value == b.value) == (symbol == "=="), a.variables | b.variables)
    return Typed(BOOL, None, a.variables | b.variables)


def check_label(given: Side, wanted: tuple[syntax.Expr, LabelType], context: Context) -> bool:
    """Whether `given` may stand for a label of type `wanted[1]`, which `wanted[0]` has."""
    expression, typed = given
    label = wanted[1]
    if not typed.known:
        return False
    kind = typed.type
    whole = isinstance(kind, TensorType) and kind.shape == () and kind.element == "int"
    if isinstance(kind, LabelType) and not fits(kind, label):
        context.error(
            "E0311",
            f"{quote(expression)} is one of {_classes(kind)}, {quote(wanted[0])} one of "
            f"{_classes(label)}",
            expression.span,
            secondary=[(wanted[0].span, f"one of {_classes(label)}")],
        )
        return False
    if not isinstance(kind, LabelType) and not whole:
        context.error(
            "E0302",
            f"a label is needed here, but {quote(expression)} is {describe(typed)}",
            expression.span,
            secondary=[(wanted[0].span, f"is one of {_classes(label)}")],
        )
        return False
    value = typed.value
    if isinstance(value, Fraction) and not 0 <= value < label.count:
        context.error(
            "E0306",
            f"there is no class {value}: {quote(wanted[0])} has {label.count}",
            expression.span,
            label=f"classes are 0 to {label.count - 1}",
        )
        return False
    return True


def _classes(label: LabelType) -> str:
    names = f" ({label.labels.name})" if label.labels else ""
    return f"{label.count} classes{names}"


# --- names of fields -----------------------------------------------------------------------------


def compare_fields(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    """`==` or `!=` of two names of fields."""
    if symbol not in EQUALITY:
        message = "names of fields compare with `==` and `!=` only"
        return context.error("E0707", message, whole.span)
    (_, a), (_, b) = left, right
    if not (isinstance(a.type, FieldType) and isinstance(b.type, FieldType)):
        return context.error(
            "E0302",
            f"{quote(left[0])} is {describe(a)} but {quote(right[0])} is {describe(b)}",
            whole.span,
        )
    if a.value is None or b.value is None:
        return Typed(BOOL)
    return Typed(BOOL, (a.value == b.value) == (symbol == "=="))


def field_operands(expressions: tuple[syntax.Expr, ...], context: Context) -> tuple[Typed, ...]:
    """Operands of a comparison; beside the name of a field, a bare name is one of its fields."""
    undeclared = [isinstance(e, syntax.Name) and not context.lookup(e.name) for e in expressions]
    typed = {i: context.type_of(e) for i, e in enumerate(expressions) if not undeclared[i]}
    kinds = [t.type for t in typed.values() if isinstance(t.type, FieldType)]
    for i, expression in enumerate(expressions):
        if not undeclared[i] or not isinstance(expression, syntax.Name):
            continue
        kind = kinds[0] if kinds else None
        if kind is not None and kind.record.field(expression.name) is not None:
            typed[i] = Typed(kind, expression.name)
        else:
            typed[i] = context.type_of(expression)
    return tuple(typed[i] for i in range(len(expressions)))

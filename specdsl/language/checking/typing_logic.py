"""Claims: comparisons, `and or not =>`, membership, choice."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from specdsl.language import constants, syntax
from specdsl.language.checking.names import NOTHING, Context, Typed, Variable, quote
from specdsl.language.checking.typing_numbers import common_shape, common_unit
from specdsl.language.checking.typing_operands import Operand, describe, operand, sorted_variables
from specdsl.language.checking.typing_sets import set_of
from specdsl.language.checking.typing_types import as_tensor, fits, squeezed
from specdsl.language.types import (
    BOOL,
    BoolType,
    LabelType,
    NormType,
    SetType,
    StringType,
    TensorType,
)

EQUALITY = ("==", "!=")


def claim(expression: syntax.Expr, context: Context) -> Typed:
    """An expression that must be one truth value; NOTHING after a diagnostic."""
    return as_claim(expression, context.type_of(expression), context)


def as_claim(expression: syntax.Expr, typed: Typed, context: Context) -> Typed:
    """The same for what has been typed already."""
    if not typed.known or typed.type == BOOL:
        return typed
    if isinstance(typed.type, BoolType):
        return context.error(
            "E0308",
            f"{quote(expression)} compares tensors and is one truth value for each entry",
            expression.span,
            label=f"has shape {list(typed.type.shape)}",
            help=f"say which you mean: `all({_plain(expression)})` or `any({_plain(expression)})`",
        )
    return context.error(
        "E0703",
        f"a claim that is true or false is needed here, but {quote(expression)} is "
        f"{describe(typed)}",
        expression.span,
        help="compare it with something, for example `... <= 1` or `... == y`"
        if isinstance(typed.type, TensorType | LabelType)
        else None,
    )


def _plain(expression: syntax.Expr) -> str:
    return quote(expression).strip("`")


def negation(expression: syntax.Unary, context: Context) -> Typed:
    """`not claim`."""
    inner = claim(expression.operand, context.negated())
    if not inner.known:
        return NOTHING
    value = (not inner.value) if isinstance(inner.value, bool) else None
    return Typed(BOOL, value, inner.variables)


def connective(expression: syntax.Binary, left: Typed, context: Context) -> Typed:
    """`and`, `or`, `=>`, with the left side typed already."""
    implies = expression.operator == "=>"
    left = as_claim(expression.left, left, context)
    right = claim(expression.right, context)
    if not (left.known and right.known):
        return NOTHING
    variables = left.variables | right.variables
    a, b = left.value, right.value
    # The value that decides alone: false for `and`, true for `or`; `a => b` is `not a or b`.
    a = (not a) if implies and isinstance(a, bool) else a
    decisive = expression.operator != "and"
    if decisive in (a, b):
        return Typed(BOOL, decisive, variables)
    value = (not decisive) if isinstance(a, bool) and isinstance(b, bool) else None
    return Typed(BOOL, value, variables)


def choice(expression: syntax.IfThenElse, context: Context) -> Typed:
    """`if c then a else b` with a condition that no quantified variable decides."""
    condition = claim(expression.condition, context)
    yes, no = context.type_of(expression.yes), context.type_of(expression.no)
    if condition.variables:
        return context.later(
            "conditions that depend on quantified variables are",
            expression.condition.span,
            "write `(c => a) and (not c => b)` for claims a and b",
        )
    if not (condition.known and yes.known and no.known):
        return NOTHING
    if isinstance(condition.value, bool):
        return yes if condition.value else no
    if not fits(yes.type, no.type) or yes.form != no.form:
        return context.error(
            "E0302",
            f"the branches differ: {yes.type} and {no.type}",
            expression.span,
            secondary=[(expression.yes.span, f"{yes.type}"), (expression.no.span, f"{no.type}")],
        )
    return Typed(yes.type, None, yes.variables | no.variables, yes.form)


# --- comparisons ---------------------------------------------------------------------------------


def comparison(expression: syntax.Comparison, context: Context) -> Typed:
    """A chain; each neighbouring pair is compared."""
    typed = [context.type_of(operand) for operand in expression.operands]
    parts: list[Typed] = []
    sides = zip(expression.operands, typed, strict=True)
    for symbol, (left, right) in zip(expression.operators, pairwise(sides), strict=True):
        parts.append(_pair(symbol, left, right, expression, context))
    if not all(part.known for part in parts):
        return NOTHING
    variables = frozenset[Variable]().union(*(part.variables for part in parts))
    shapes = {part.type.shape for part in parts if isinstance(part.type, BoolType)}
    if len(shapes - {()}) > 1:
        return context.error("E0303", "the comparisons have different shapes", expression.span)
    shape = max(shapes, key=len)
    values = [part.value for part in parts]
    value = all(values) if all(isinstance(v, bool) for v in values) else None
    if len(parts) == 1:
        value = parts[0].value
    return Typed(BoolType(shape), value, variables)


Side = tuple[syntax.Expr, Typed]


def _pair(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    (_, a), (_, b) = left, right
    if not (a.known and b.known):
        return NOTHING
    if isinstance(a.type, LabelType) or isinstance(b.type, LabelType):
        return _labels(symbol, left, right, whole, context)
    words = NormType | StringType | BoolType
    if isinstance(a.type, words) or isinstance(b.type, words):
        return _words(symbol, left, right, whole, context)
    x, y = operand(*left, context), operand(*right, context)
    if x is None or y is None:
        return NOTHING
    if "margin" in (a.form, b.form):
        return _margin(symbol, x, y, whole, context)
    return _numbers(symbol, x, y, whole, context)


def _numbers(
    symbol: str, x: Operand, y: Operand, whole: syntax.Comparison, context: Context
) -> Typed:
    shape = common_shape(x, y, whole, context)
    if shape is None or common_unit(x, y, whole, context) is None:
        return NOTHING
    variables = x.typed.variables | y.typed.variables
    a, b = x.typed.value, y.typed.value
    if a is None or b is None:
        return Typed(BoolType(squeezed(shape)), None, variables)
    if squeezed(shape) != ():
        return Typed(BoolType(shape), constants.compare_entries(symbol, a, b), variables)
    truth = constants.compare(symbol, constants.scalar(a), constants.scalar(b))
    return Typed(BOOL, truth, variables)


def _margin(
    symbol: str, x: Operand, y: Operand, whole: syntax.Comparison, context: Context
) -> Typed:
    other = y if x.typed.form == "margin" else x
    if other.typed.form == "margin" or other.varying:
        return context.later(
            "comparing a margin with something that varies is",
            whole.span,
            "compare `margin(...)` with a constant: `margin(v, y) > 0`",
        )
    if symbol in EQUALITY:
        return context.later(
            "`==` and `!=` on a margin are", whole.span, "use `>`, `>=`, `<` or `<=`"
        )
    if squeezed(other.tensor.shape) != ():
        return context.error(
            "E0303", f"a margin is one number, not {other.tensor}", other.expression.span
        )
    if common_unit(x, y, whole, context) is None:
        return NOTHING
    return Typed(BOOL, None, x.typed.variables | y.typed.variables)


def _words(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    (_, a), (_, b) = left, right
    if type(a.type) is not type(b.type):
        return context.error(
            "E0302",
            f"{quote(left[0])} is {describe(a)} but {quote(right[0])} is {describe(b)}",
            whole.span,
        )
    if a.variables or b.variables:
        return context.error(
            "E0302",
            "claims are not compared with `==`",
            whole.span,
            help="for claims a and b write `(a => b) and (b => a)`",
        )
    if symbol not in EQUALITY:
        message = f"{quote(left[0])} and {quote(right[0])} compare with `==` and `!=` only"
        return context.error("E0705", message, whole.span)
    if a.value is None or b.value is None:
        return Typed(BOOL)
    return Typed(BOOL, (a.value == b.value) == (symbol == "=="))


def _labels(
    symbol: str, left: Side, right: Side, whole: syntax.Comparison, context: Context
) -> Typed:
    if symbol not in EQUALITY:
        message = "labels are names, not quantities: they compare with `==` and `!=` only"
        return context.error("E0705", message, whole.span)
    (_, a), (_, b) = left, right
    (side, label), (other_side, other) = (
        (left, a), (right, b)
    ) if isinstance(a.type, LabelType) else ((right, b), (left, a))  # fmt: skip
    if not isinstance(label.type, LabelType):
        return NOTHING
    if a.variables and b.variables:
        return context.error(
            "E0901",
            "comparing two predictions that both depend on quantified variables is not "
            "supported yet",
            whole.span,
            secondary=[(v.span, f"`{v.name}` is quantified here") for v in sorted_variables(label)],
            help="compare one prediction with a fixed label",
        )
    if not check_label((other_side[0], other), (side[0], label.type), context):
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


# --- membership ----------------------------------------------------------------------------------


def membership(expression: syntax.Membership, context: Context) -> Typed:
    """`x in R`, `x not in R`, for sets whose bounds are linear."""
    element = context.type_of(expression.element)
    typed = set_of(expression.set, context)
    kind = typed.type
    if not element.known or not isinstance(kind, SetType):
        return NOTHING
    if typed.set.curved:
        return context.later(
            f"membership in a ball of norm {typed.set.norm} is",
            expression.span,
            "quantify over the ball: `forall x in norm_ball(...)`",
        )
    if typed.variables:
        return context.later("sets that depend on quantified variables are", expression.set.span)
    if kind.finite and (element.variables or isinstance(element.type, LabelType)):
        name = _plain(expression.element)
        help = f"write it out: `{name} == 1 or {name} == 2`"
        return context.later("membership in a finite set is", expression.span, help)
    wanted = kind.element
    if wanted is not None and not fits(element.type, wanted):
        return context.error(
            "E0303",
            f"{quote(expression.element)} is {element.type}, but the set holds {wanted}",
            expression.span,
            secondary=[(expression.set.span, f"set of {wanted}")],
        )
    given, bounds = as_tensor(element.type), as_tensor(wanted) if wanted else None
    if given and bounds and bounds.unit not in (None, given.unit):
        return context.error(
            "E0401",
            f"the set is in `{bounds.unit}`, but {quote(expression.element)} "
            + (f"has unit `{given.unit}`" if given.unit else "has no unit"),
            expression.span,
        )
    return Typed(BOOL, None, element.variables)

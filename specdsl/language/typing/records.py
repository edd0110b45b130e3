"""Functions on records and images: fields, copies that differ in some, patches, files."""

from __future__ import annotations

from collections.abc import Sequence

from specdsl.language import syntax, units
from specdsl.language.types import (
    BOOL,
    UNREAD,
    FieldType,
    RecordType,
    SetType,
    TensorType,
    UnknownType,
)
from specdsl.language.typing.fields import field_name
from specdsl.language.typing.names import NOTHING, Context, Typed, quote
from specdsl.language.typing.operands import Operand, describe, operand, text_of, whole
from specdsl.language.typing.paths import resolve_path
from specdsl.language.typing.types import as_tensor, squeezed

Arguments = Sequence[syntax.Expr]


def _record(expression: syntax.Expr, typed: Typed, context: Context) -> RecordType | None:
    """A value of a space; None where it is none (reported) or was reported before."""
    if isinstance(typed.type, RecordType):
        return typed.type
    if not isinstance(typed.type, UnknownType):
        message = f"{quote(expression)} is {describe(typed)}, not a value of a space"
        help = "only values of a `space` have fields: quantify over the space"
        context.error("E0302", message, expression.span, help=help)
    return None


def fields(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`fields(S)`: the names of the fields of a space, a finite set."""
    (written,) = arguments
    typed = context.type_of(written)
    kind = typed.type
    if isinstance(kind, UnknownType):
        return NOTHING
    named = isinstance(written, syntax.Name) or "." in written.span.text
    if isinstance(kind, SetType) and isinstance(kind.element, RecordType) and named:
        return Typed(SetType(FieldType(kind.element), finite=True))
    help = f"write `fields({kind.name})`" if isinstance(kind, RecordType) else None
    message = f"`fields` takes a space, but {quote(written)} is {describe(typed)}"
    return context.error("E0302", message, written.span, help=help)


def same_except(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`same_except(a, b, field, ...)`: all other fields agree."""
    if len(arguments) < 3:
        return context.error(
            "E0305",
            "`same_except` takes two records and the fields that may differ",
            call.span,
            help="for example `same_except(a, b, income)`; `all(a == b)` where none may differ",
        )
    first, second = (context.type_of(a) for a in arguments[:2])
    records = [_record(a, t, context) for a, t in zip(arguments, (first, second), strict=False)]
    a, b = records
    if a is None or b is None:
        return NOTHING
    if a.name != b.name:
        return context.error(
            "E0303",
            f"{quote(arguments[0])} is a {a}, {quote(arguments[1])} is a {b}",
            call.span,
        )
    if any(field_name(name, a, context) is None for name in arguments[2:]):
        return NOTHING
    return Typed(BOOL, None, first.variables | second.variables)


def replaced(call: syntax.Call, context: Context) -> Typed:
    """`replace(record, field = value, ...)`: a copy with other values in some fields."""
    named = [a for a in call.arguments if isinstance(a, syntax.NamedArgument)]
    written = call.arguments[0] if call.arguments else None
    if (
        len(call.arguments) != len(named) + 1
        or not named
        or written is None
        or isinstance(written, syntax.NamedArgument | syntax.Comprehension)
    ):
        return context.error(
            "E0305",
            "`replace` takes a record and new values of fields",
            call.span,
            help="for example `replace(c, gender = g)`",
        )
    base = context.type_of(written)
    record = _record(written, base, context)
    if record is None:
        for argument in named:
            context.type_of(argument.value)
        return NOTHING
    variables, inside = base.variables, base.computed is None
    for argument in named:
        typed = context.type_of(argument.value)
        if not _replaces(argument, typed, record, context):
            return NOTHING
        variables |= typed.variables
        inside = inside and typed.computed is None
    return Typed(record, None, variables, computed=None if inside else call)


def _replaces(
    argument: syntax.NamedArgument, typed: Typed, record: RecordType, context: Context
) -> bool:
    name = syntax.Name(argument.name, span=argument.span)
    if field_name(name, record, context) is None:
        return False
    wanted = record.field(argument.name) or TensorType()
    value = operand(argument.value, typed, context)
    if value is None:
        return False
    given = value.tensor
    declared = f"the field `{argument.name}` of {record}"
    if squeezed(given.shape) not in ((), squeezed(wanted.shape)):
        message = f"{declared} is {wanted}, but {quote(argument.value)} is {given}"
        context.error("E0303", message, argument.value.span)
    elif wanted.element == "int" and given.element != "int":
        message = f"{declared} is a whole number, but {quote(argument.value)} need not be"
        context.error("E0301", message, argument.value.span)
    elif not units.same(given.unit, wanted.unit) and not value.bare:
        words = [f"unit `{u}`" if u else "no unit" for u in (wanted.unit, given.unit)]
        message = f"{declared} has {words[0]}, but {quote(argument.value)} has {words[1]}"
        context.error("E0401", message, argument.value.span)
    else:
        return True
    return False


def normalized(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`normalized(a)`: the packed vector of `(x - mean) / range`, which the network sees."""
    typed = context.type_of(arguments[0])
    record = _record(arguments[0], typed, context)
    if record is None:
        return NOTHING
    tensor = as_tensor(record)
    shape = tensor.shape if tensor is not None and record.packed is None else (record.size,)
    return Typed(TensorType(shape), None, typed.variables, computed=call)


# --- images --------------------------------------------------------------------------------------


def paste(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`paste(image, patch, row, column)`: the patch replaces entries of the last two axes."""
    image, patch = (operand(a, context.type_of(a), context) for a in arguments[:2])
    corner = [_corner(a, context) for a in arguments[2:]]
    if image is None or patch is None or None in corner:
        return NOTHING
    if not _patch_fits(image, patch, corner, call, context):
        return NOTHING
    bare = patch.tensor.unit is None and patch.bare
    if not bare and not units.same(image.tensor.unit, patch.tensor.unit):
        words = [f"unit `{x.tensor.unit}`" if x.tensor.unit else "no unit" for x in (image, patch)]
        message = f"the image has {words[0]}, the patch {words[1]}"
        return context.error("E0401", message, call.span)
    inside = image.typed.computed is None and patch.typed.computed is None
    variables = image.typed.variables | patch.typed.variables
    return Typed(image.typed.type, None, variables, computed=None if inside else call)


def _corner(expression: syntax.Expr, context: Context) -> int | str | None:
    """A whole number that does not vary: its value, or `later`; None after a diagnostic."""
    x = operand(expression, context.type_of(expression), context)
    if x is None:
        return None
    if x.varying or x.tensor.shape != () or x.tensor.element != "int":
        message = f"a row and a column are fixed whole numbers, unlike {quote(expression)}"
        help = "to cover several places quantify over a range: `forall row in 0..20: ...`"
        context.error("E0304", message, expression.span, help=help)
        return None
    value = whole(x.typed.value)
    return "later" if value is None else value


def _patch_fits(
    image: Operand,
    patch: Operand,
    corner: Sequence[int | str | None],
    call: syntax.Call,
    context: Context,
) -> bool:
    outer, inner = image.tensor.shape, patch.tensor.shape
    places = [(x.expression.span, f"is {x.tensor}") for x in (image, patch)]
    if len(outer) < 2 or len(inner) < 2 or inner[:-2] not in ((), outer[:-2]):
        message = f"a patch of shape {list(inner)} cannot be pasted into shape {list(outer)}"
        help = "both have two axes at least, and the patch the other axes of the image"
        context.error("E0303", message, call.span, secondary=places, help=help)
        return False
    for start, extent, whole_, axis in zip(
        corner, inner[-2:], outer[-2:], ("row", "column"), strict=True
    ):
        first = start if isinstance(start, int) else 0
        if first < 0 or first + extent > whole_:
            message = (
                f"a patch of {inner[-2]} x {inner[-1]} does not fit an image of "
                f"{outer[-2]} x {outer[-1]} at {axis} {first}"
            )
            last = whole_ - extent
            help = f"{axis}s from 0 to {last} fit" if last >= 0 else None
            context.error("E0306", message, call.span, secondary=places, help=help)
            return False
    return True


# --- files ---------------------------------------------------------------------------------------


def npy(call: syntax.Call, arguments: Arguments, context: Context) -> Typed:
    """`npy("file.npy")`: an array that is read when the file is run; its type is declared."""
    (written,) = arguments
    typed = context.type_of(written)
    if not typed.known:
        return NOTHING
    if not isinstance(typed.value, str):
        message = f"`npy` takes the name of a file, but {quote(written)} is {describe(typed)}"
        help = f'for example `let x0: Image = npy("{text_of(written)}.npy")`'
        return context.error("E0804", message, written.span, help=help)
    path = resolve_path(typed.value, typed.external, written.span, context, typed.written)
    if path is None:
        return NOTHING
    context.session.arrays[written.span, typed.value] = path
    return Typed(UNREAD)

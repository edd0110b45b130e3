"""Names of fields where they stand for themselves: `income` in `same_except(a, b, income)`."""

from __future__ import annotations

from specdsl.diagnostics import suggestion
from specdsl.language import syntax
from specdsl.language.types import FieldType, RecordType
from specdsl.language.typing.names import Context, quote


def field_name(
    expression: syntax.Expr, record: RecordType, context: Context
) -> frozenset[str] | None:
    """The field that a bare name, or a variable over `fields(S)`, stands for.

    Every field where such a variable is not unrolled yet; None after E0203.
    """
    known = frozenset(name for name, _ in record.fields)
    if isinstance(expression, syntax.Name):
        local = context.locals.get(expression.name)
        if local is not None and isinstance(local.typed.type, FieldType):
            value = local.typed.value
            names = frozenset([value]) if isinstance(value, str) else known
            return names if names <= known else _missing(expression, record, context)
        if expression.name in known:
            return frozenset([expression.name])
        if local is not None and not local.typed.known:
            return known
    return _missing(expression, record, context)


def field_names(
    expression: syntax.Expr, record: RecordType, context: Context
) -> frozenset[str] | None:
    """The fields in a list, or a single one; None after E0203."""
    items = expression.items if isinstance(expression, syntax.List) else (expression,)
    found = [field_name(item, record, context) for item in items]
    if any(names is None for names in found):
        return None
    return frozenset(name for names in found if names is not None for name in names)


def _missing(expression: syntax.Expr, record: RecordType, context: Context) -> None:
    names = [name for name, _ in record.fields]
    hint = suggestion(expression.name, names) if isinstance(expression, syntax.Name) else None
    listed = ", ".join(f"`{name}`" for name in names)
    context.error(
        "E0203",
        f"{record} has no field {quote(expression)}",
        expression.span,
        label=hint or "",
        help=f"its fields: {listed}",
    )

"""`maximize`, `minimize`, `largest`, `smallest`: what to search for, over what, how closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, cast

from specdsl.language import syntax, units
from specdsl.language.checking.options import QUERIES, CheckedOptions, check_options
from specdsl.language.checking.parameters import interval_bounds
from specdsl.language.spec import OptimizeDeclaration, SearchDeclaration
from specdsl.language.syntax.walk import names_in
from specdsl.language.types import REAL, SetType, TensorType
from specdsl.language.typing.binders import quantify
from specdsl.language.typing.logic import assuming, claim
from specdsl.language.typing.names import NOTHING, Context, Symbol, Typed, quote
from specdsl.language.typing.numbers import common_unit
from specdsl.language.typing.operands import operand, scalar_constant
from specdsl.language.typing.sets import set_of
from specdsl.language.typing.types import squeezed

# The default tolerance cuts the interval into this many parts: ten bisections.
DEFAULT_PARTS = 1000


def optimize_declaration(item: syntax.Optimize, context: Context) -> OptimizeDeclaration | None:
    """`maximize` or `minimize`; None where something in it was reported."""
    before = len(context.session.diagnostics.errors)
    inner = _each(item.per, item.kind, context)
    # A maximum is at least t where a point exists whose value is: the variables stand under one
    # `exists`, whose condition is an `and`.
    inner = quantify("exists", item.binders, item, inner)
    if item.where is not None:
        claim(item.where, inner)
        inner = assuming(item.where, inner)
    _objective(item, inner)
    options = check_options(item.options, QUERIES, context)
    if len(context.session.diagnostics.errors) > before:
        return None
    return OptimizeDeclaration(
        kind=cast(Literal["maximize", "minimize"], item.kind),
        name=item.options.name,
        objective=item.objective,
        binders=item.binders,
        where=item.where,
        per=item.per,
        backend=options.backend,
        reports=options.reports,
        expects=item.options.expects,
        span=item.span,
    )


def _each(binders: Sequence[syntax.Binder], kind: str, context: Context) -> Context:
    """The context under `for` binders, which go through finite sets."""
    for binder in binders:
        typed = set_of(binder.set, context)
        if isinstance(typed.type, SetType) and not typed.type.finite:
            _infinite(binder, kind, context)
            context = context.bind(
                Symbol(name, "variable", binder.span, NOTHING) for name in binder.names
            )
        else:
            context = quantify("forall", [binder], binder, context)
    return context


def _infinite(binder: syntax.Binder, kind: str, context: Context) -> None:
    names = ", ".join(binder.names)
    over = kind in {"maximize", "minimize"}
    context.error(
        "E0709",
        f"`for` goes through a finite set, and {quote(binder.set)} has infinitely many members",
        binder.set.span,
        help="finite are slices of datasets, enums, ranges `0..9` and `one_of(...)`"
        + (f"; `{kind} ... over {names} in ...` takes any set" if over else ""),
    )


def _objective(item: syntax.Optimize, context: Context) -> None:
    typed = context.type_of(item.objective)
    found = operand(item.objective, typed, context)
    if found is None:
        return
    if squeezed(found.tensor.shape) != ():
        context.error(
            "E0303",
            f"`{item.kind}` takes one number, but {quote(item.objective)} is {found.tensor}",
            item.objective.span,
            help="pick an entry, or say `max(...)`, `sum(...)` or `norm(..., linf)` of them",
        )
        return
    names = {name for binder in item.binders for name in binder.names}
    if names & _mentions(item.objective):
        return
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    context.error(
        "E0710",
        f"{quote(item.objective)} does not depend on {listed}: it is the same everywhere",
        item.objective.span,
        secondary=[(binder.span, "varies") for binder in item.binders],
    )


# --- largest and smallest ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where the value of a search lies, exact, and its unit."""

    lower: Fraction
    upper: Fraction
    unit: str | None


def search_declaration(item: syntax.Search, context: Context) -> SearchDeclaration | None:
    """`largest` or `smallest`; None where something in it was reported."""
    before = len(context.session.diagnostics.errors)
    extent = _extent(item, context)
    tolerance = None if extent is None else _tolerance(item, extent, context)
    _claim(item, extent, context)
    options = check_options(item.options, QUERIES, context)
    if extent is None or tolerance is None or len(context.session.diagnostics.errors) > before:
        return None
    return _search(item, extent, tolerance, options)


def _search(
    item: syntax.Search, extent: _Extent, tolerance: Fraction, options: CheckedOptions
) -> SearchDeclaration:
    return SearchDeclaration(
        kind=cast(Literal["largest", "smallest"], item.kind),
        name=item.options.name,
        variable=item.name,
        lower=extent.lower,
        upper=extent.upper,
        tolerance=tolerance,
        claim=item.condition,
        per=item.per,
        backend=options.backend,
        reports=options.reports,
        expects=item.options.expects,
        span=item.span,
    )


def _extent(item: syntax.Search, context: Context) -> _Extent | None:
    interval = item.interval
    ends = [operand(e, context.type_of(e), context) for e in (interval.lower, interval.upper)]
    lower, upper = ends
    if lower is None or upper is None:
        return None
    unit = common_unit(lower, upper, interval.lower, context)
    bounds = (
        interval_bounds(interval, Typed(replace(REAL, unit=unit.unit)), context) if unit else None
    )
    if unit is None or bounds is None:
        return None
    if bounds[0] < bounds[1]:
        return _Extent(*bounds, unit.unit)
    context.error(
        "E0403",
        f"there is nothing to search between {quote(interval.lower)} and {quote(interval.upper)}",
        interval.span,
        help=f"check the claim for the one value: `let {item.name} = {interval.lower.span.text}`",
    )
    return None


def _tolerance(item: syntax.Search, extent: _Extent, context: Context) -> Fraction | None:
    if item.tolerance is None:
        return (extent.upper - extent.lower) / DEFAULT_PARTS
    value = scalar_constant(item.tolerance, context, "the tolerance of a search")
    if value is None or not _same_unit(item.tolerance, extent, context):
        return None
    if value > 0:
        return value
    default = (extent.upper - extent.lower) / DEFAULT_PARTS
    context.error(
        "E0402",
        f"the tolerance of a search must be positive, not {quote(item.tolerance)}",
        item.tolerance.span,
        help=f"leave it out for `tol {default}`: a thousandth of the interval",
    )
    return None


def _same_unit(expression: syntax.Expr, extent: _Extent, context: Context) -> bool:
    given = operand(expression, context.type_of(expression), context)
    unit = given.tensor.unit if given else None
    if unit is None or units.same(unit, extent.unit):
        return given is not None
    words = f"are in `{extent.unit}`" if extent.unit else "have no unit"
    message = f"the ends of the search {words}, but {quote(expression)} is in `{unit}`"
    context.error("E0401", message, expression.span)
    return False


def _claim(item: syntax.Search, extent: _Extent | None, context: Context) -> None:
    """The claim, where the value is a number that is fixed while the claim is decided."""
    inner = _each(item.per, item.kind, context)
    unit = extent.unit if extent else None
    span = item.span
    value = Symbol(item.name, "argument", span, Typed(TensorType((), "real", unit)))
    typed = claim(item.condition, inner.bind([value]))
    if not typed.known or item.name in _mentions(item.condition):
        return
    context.error(
        "E0710",
        f"the claim {quote(item.condition)} does not depend on `{item.name}`",
        item.condition.span,
        help=f"hand the value over, for example `such that robust(x, y, {item.name})`",
    )


def _mentions(node: syntax.Node) -> set[str]:
    """Every name in an expression."""
    return {name.name for name in names_in(node)}

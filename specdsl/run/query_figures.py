"""Figures over the members of a query: of the proven ends, exact.

| figure | meaning |
|---|---|
| `median` | the middle of the proven values, or the mean of the two in the middle |
| `mean` | their mean |
| `minimum`, `maximum` | the smallest and the largest of them |

A member without a proven value (the claim is not verified anywhere, nothing is in the set) has
none; then no figure is known, rather than one about the others only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median

from specdsl.language.spec import OptimizeDeclaration, SearchDeclaration
from specdsl.run.figures import names_in
from specdsl.run.query_result import QueryResult

FIGURES: Mapping[str, Callable[[Sequence[Fraction]], Fraction]] = {
    "median": lambda values: Fraction(median(values)),
    "mean": lambda values: sum(values, Fraction(0)) / len(values),
    "minimum": min,
    "maximum": max,
}


def figures_of_query(declaration: OptimizeDeclaration | SearchDeclaration) -> tuple[str, ...]:
    """The figures that the query's reports and expects name, each once, in order."""
    reported = [r.name for r in declaration.reports if r.name in FIGURES]
    expected = [name for e in declaration.expects for name in names_in(e) if name in FIGURES]
    return tuple(dict.fromkeys((*reported, *expected)))


def compute(names: Iterable[str], results: Sequence[QueryResult]) -> dict[str, Fraction]:
    """Each figure that the results determine."""
    values = [r.proven for r in results if r.proven is not None]
    if not values or len(values) < len(results):
        return {}
    return {name: FIGURES[name](values) for name in names if name in FIGURES}

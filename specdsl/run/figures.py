"""Figures over the results of one `check`, and the `expect`s that insist on them. All exact.

| figure | meaning | denominator |
|---|---|---|
| `certified_accuracy` | share of samples verified | all samples |
| `verified_fraction` | share of obligations verified | all obligations |
| `clean_accuracy` | share of samples where the claim holds unperturbed | all samples |
| `pgd_accuracy` | share of samples neither wrong unperturbed nor falsified | all samples |
| `confident_fraction` | share of obligations verified, or with a confidence | all obligations |
| `confidence` | least confidence of an obligation: 1 verified, 0 without any | |
| `violating_share` | largest share of points at which one may fail: 1 without estimate | |

Samples that are misclassified, unknown or could not be asked stay in every denominator. Where none
could be asked no figure is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from specdsl.language import syntax
from specdsl.language.spec import CheckDeclaration, Value
from specdsl.query.query import Query
from specdsl.run.outcomes import ExpectOutcome
from specdsl.run.result import Result

Figure = Callable[[Sequence[Result]], "Fraction | None"]


def _share(results: Sequence[Result], counted: Callable[[Result], bool]) -> Fraction | None:
    """Of all results; None where nothing could be asked: that says nothing about a network."""
    if all(r.diagnostics for r in results):
        return None
    return Fraction(sum(map(counted, results)), len(results))


def _certified(results: Sequence[Result]) -> Fraction | None:
    return _share(results, lambda r: r.verdict == "verified")


def _clean(results: Sequence[Result]) -> Fraction | None:
    if any(r.sample_holds is None and not r.diagnostics for r in results):
        return None
    return _share(results, lambda r: r.sample_holds is True)


def _attacked(results: Sequence[Result]) -> Fraction | None:
    if _clean(results) is None:
        return None
    return _share(results, lambda r: r.sample_holds is True and r.verdict != "falsified")


def _confidence(results: Sequence[Result]) -> Fraction | None:
    """The least. Each is said of one obligation, and of all together less."""
    if all(r.diagnostics for r in results):
        return None
    return min(_confidence_of(r) for r in results)


def _confidence_of(result: Result) -> Fraction:
    if result.estimate is not None:
        return result.estimate.confidence
    return Fraction(result.verdict == "verified")


def _confident(results: Sequence[Result]) -> Fraction | None:
    return _share(results, lambda r: _confidence_of(r) > 0)


def _violating(results: Sequence[Result]) -> Fraction | None:
    if all(r.diagnostics for r in results):
        return None
    return max(_violating_of(r) for r in results)


def _violating_of(result: Result) -> Fraction:
    if result.verdict == "verified":
        return Fraction(0)
    # Where nothing is known it may fail anywhere.
    return Fraction(1) if result.estimate is None else Fraction(result.estimate.share or 0)


FIGURES: Mapping[str, Figure] = {
    "certified_accuracy": _certified,
    "verified_fraction": _certified,
    "clean_accuracy": _clean,
    "pgd_accuracy": _attacked,
    "confident_fraction": _confident,
    "confidence": _confidence,
    "violating_share": _violating,
}
SHARES_OF_RESULTS = frozenset(
    {
        *("certified_accuracy", "verified_fraction", "clean_accuracy", "pgd_accuracy"),
        "confident_fraction",
    }
)
"""Figures that count results; their numbers are shown beside them."""
NEEDS_SAMPLES = frozenset({"clean_accuracy", "pgd_accuracy"})


def figures_of(check: CheckDeclaration) -> tuple[str, ...]:
    """The figures that the check's reports and expects name, each once, in order."""
    reported = [r.name for r in check.reports if r.name in FIGURES]
    expected = [name for e in check.expects for name in names_in(e) if name in FIGURES]
    return tuple(dict.fromkeys((*reported, *expected)))


def needs_samples(check: CheckDeclaration) -> bool:
    """Whether some figure asks if the claim holds at the unperturbed sample."""
    return not NEEDS_SAMPLES.isdisjoint(figures_of(check))


def compute(names: Iterable[str], results: Sequence[Result]) -> dict[str, Fraction]:
    """Each figure that the results determine."""
    found = {name: FIGURES[name](results) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def holds_unperturbed(query: Query) -> bool | None:
    """Whether the claim holds where nothing is perturbed, computed in float64; None where it is not
    plain where that is (`Query.center`), and of a smoothed classifier.

    Conditions belong to the claim: a point that does not meet those of a `forall` violates nothing.
    """
    from specdsl.graph.evaluate import evaluate

    graph, center = query.graph, query.center
    if center is None or query.smoothing is not None:
        return None
    shaped = np.array([float(v) for v in center]).reshape(1, *graph.shapes[graph.input])
    margins = evaluate(graph, {graph.input: shaped})[graph.output].reshape(-1)
    met = any(
        center in case.inputs
        and all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in case.atoms)
        for case in query.cases
    )
    return met if query.kind == "exists" else not met


# --- expect -----------------------------------------------------------------------------------


class _NotKnown(Exception):
    """A name in an `expect` has no value."""


def judge(
    expect: syntax.Expr, figures: Mapping[str, Fraction], constants: Mapping[str, Value]
) -> ExpectOutcome:
    """Whether the expectation is met; `met` is None where a figure could not be computed."""
    values = {name: v for name, v in constants.items() if isinstance(v, Fraction)}
    text = " ".join(expect.span.text.split())
    try:
        return ExpectOutcome(text, bool(_evaluate(expect, {**values, **figures})))
    except _NotKnown as unknown:
        return ExpectOutcome(text, None, f"`{unknown}` could not be computed")


def _evaluate(expr: syntax.Expr, values: Mapping[str, Fraction]) -> Fraction | bool:
    match expr:
        case syntax.Number(value=value):
            return value
        case syntax.Boolean(value=value):
            return value
        case syntax.Name(name=name) if name in values:
            return values[name]
        case syntax.Unary(operator=operator, operand=operand):
            inner = _evaluate(operand, values)
            return Fraction(-inner) if operator == "-" else not inner
        case syntax.Binary(operator=operator, left=left, right=right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            return _binary(expr, operator, a, b)
        case syntax.Comparison(operands=operands, operators=operators):
            found = [_evaluate(o, values) for o in operands]
            pairs = zip(found, operators, found[1:], strict=False)
            return all(_COMPARE[operator](a, b) for a, operator, b in pairs)
        case _:
            raise _NotKnown(expr.span.text)


def _binary(
    expr: syntax.Binary, operator: str, a: Fraction | bool, b: Fraction | bool
) -> Fraction | bool:
    if operator == "/" and b == 0:
        raise _NotKnown(expr.span.text)
    if operator not in _BINARY:
        raise _NotKnown(expr.span.text)
    return _BINARY[operator](a, b)


_COMPARE: Mapping[str, Callable[[Fraction | bool, Fraction | bool], bool]] = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
_BINARY: Mapping[str, Callable[[Fraction | bool, Fraction | bool], Fraction | bool]] = {
    "+": lambda a, b: Fraction(a + b),
    "-": lambda a, b: Fraction(a - b),
    "*": lambda a, b: Fraction(a * b),
    "/": lambda a, b: Fraction(a) / b,
    "and": lambda a, b: bool(a and b),
    "or": lambda a, b: bool(a or b),
    "=>": lambda a, b: bool(not a or b),
}


def names_in(expr: syntax.Expr) -> list[str]:
    """The names that an expectation asks for."""
    match expr:
        case syntax.Name(name=name):
            return [name]
        case syntax.Unary(operand=operand):
            return names_in(operand)
        case syntax.Binary(left=left, right=right):
            return names_in(left) + names_in(right)
        case syntax.Comparison(operands=operands):
            return [name for operand in operands for name in names_in(operand)]
        case _:
            return []

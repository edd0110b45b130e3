"""Exit codes and figures: every rule of the contract."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import diagnostic
from specdsl.language import syntax
from specdsl.run.figures import compute, judge
from specdsl.run.outcomes import ExpectOutcome
from specdsl.run.result import CheckOutcome, Report, Result, combined_exit_code
from specdsl.source import Source, Span

ERROR = diagnostic("E0855", "no rule")


def result(verdict: Any, holds: bool | None = None, error: bool = False) -> Result:
    return Result(
        "f.spec::p",
        "p",
        0,
        verdict,
        "m",
        0.1,
        sample_holds=holds,
        diagnostics=(ERROR,) if error else (),
    )


def report(*words: str, expects: tuple[bool | None, ...] = (), **details: Any) -> Report:
    results = tuple(
        result("unknown", error=True) if word == "error" else result(word) for word in words
    )
    outcomes = tuple(ExpectOutcome("e", met) for met in expects)
    checks = (CheckOutcome("p", 0, results, {}, outcomes),) if words else ()
    return Report(Path("f.spec"), {}, checks, **details)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (report("verified", "verified"), 0),
        (report("verified", "falsified"), 1),
        (report("verified", "unknown"), 4),
        (report("falsified", "unknown"), 1),
        (report("falsified", "error"), 2),
        (report("verified", "unknown", unknown_fails=False), 0),
        (report("falsified", unknown_fails=False), 1),
        (report(), 5),
        (report(diagnostics=(ERROR,)), 2),
        (report("falsified", "error", interrupted=True), 130),
        (report("falsified", "unknown", expects=(True,)), 0),
        (report("verified", expects=(True, False)), 1),
        (report("verified", expects=(None,)), 4),
        (report("error", expects=(True,)), 2),
    ],
)
def test_the_exit_code_follows_the_contract(found: Report, code: int) -> None:
    assert found.exit_code == code


def test_codes_of_several_files_combine_by_precedence() -> None:
    assert combined_exit_code([report("unknown"), report("falsified")]) == 1
    assert combined_exit_code([report("verified"), report()]) == 0
    assert combined_exit_code([report(), report()]) == 5
    assert combined_exit_code([]) == 5


def test_figures_keep_every_sample_in_the_denominator() -> None:
    results = [
        result("verified", True),
        result("falsified", True),
        result("falsified", False),
        result("unknown", True),
        result("unknown", error=True),
    ]
    figures = compute(["certified_accuracy", "clean_accuracy", "pgd_accuracy"], results)
    assert figures == {
        "certified_accuracy": Fraction(1, 5),
        "clean_accuracy": Fraction(3, 5),
        "pgd_accuracy": Fraction(2, 5),
    }


def test_a_figure_without_samples_is_not_known() -> None:
    assert compute(["clean_accuracy", "verified_fraction"], [result("verified")]) == {
        "verified_fraction": Fraction(1)
    }


@given(
    st.lists(
        st.tuples(st.sampled_from(["verified", "falsified", "unknown"]), st.booleans()), min_size=1
    )
)
def test_certified_is_at_most_attacked_is_at_most_clean(rows: list[tuple[str, bool]]) -> None:
    # A sample whose claim fails unperturbed cannot be verified.
    results = [result("falsified" if not holds else verdict, holds) for verdict, holds in rows]
    figures = compute(["certified_accuracy", "pgd_accuracy", "clean_accuracy"], results)
    assert list(figures.values()) == sorted(figures.values())


def number(text: str) -> syntax.Number:
    return syntax.Number(Fraction(text), text, span=Span(Source("f", text), 0, len(text)))


def comparison(operator: str, right: str) -> syntax.Comparison:
    text = f"certified_accuracy {operator} {right}"
    span = Span(Source("f", text), 0, len(text))
    name = syntax.Name("certified_accuracy", span=span)
    return syntax.Comparison((name, number(right)), (operator,), span=span)


@pytest.mark.parametrize(
    ("operator", "right", "met"),
    [(">=", "0.9", True), (">", "0.9", False), ("==", "0.9", True), ("<", "0.95", True)],
)
def test_an_expectation_is_decided_exactly(operator: str, right: str, met: bool) -> None:
    # 0.9 as a float is not 9/10: exact numbers decide the boundary case.
    figures = {"certified_accuracy": Fraction(9, 10)}
    found = judge(comparison(operator, right), figures, {})
    assert (found.met, found.text) == (met, f"certified_accuracy {operator} {right}")


def test_an_expectation_about_a_missing_figure_is_neither_met_nor_missed() -> None:
    assert judge(comparison(">=", "0.9"), {}, {}).met is None

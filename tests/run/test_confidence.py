"""What samples say of a claim: in figures, in `expect`, in both reports."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specdsl.diagnostics import diagnostic
from specdsl.report import console, document
from specdsl.run.figures import compute
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.verdict import Estimate

SURE = Estimate(Fraction(999, 1000))
HARDLY = Estimate(Fraction(9, 10), share=0.25)


def result(verdict: Any, estimate: Estimate | None = None, **details: Any) -> Result:
    reason = "4000 of 4000 draws" if verdict == "unknown" else None
    details = {"reason": reason, **details}
    return Result("f.spec::p", "p", 0, verdict, "sampling", 0.5, estimate=estimate, **details)


REFUSED = result("unknown", diagnostics=(diagnostic("E0855", "no rule"),))


@pytest.mark.parametrize(
    ("results", "confidence", "share"),
    [
        ([result("unknown", SURE)], Fraction(999, 1000), Fraction(0)),
        ([result("unknown", SURE), result("unknown", HARDLY)], Fraction(9, 10), Fraction(1, 4)),
        ([result("verified")], Fraction(1), Fraction(0)),
        ([result("verified"), result("unknown", SURE)], Fraction(999, 1000), Fraction(0)),
        ([result("unknown", SURE), result("unknown")], Fraction(0), Fraction(1)),
        ([result("unknown", SURE), result("falsified")], Fraction(0), Fraction(1)),
        ([result("unknown", SURE), REFUSED], Fraction(0), Fraction(1)),
        ([REFUSED], None, None),
    ],
)
def test_the_weakest_obligation_decides(
    results: list[Result], confidence: Fraction | None, share: Fraction | None
) -> None:
    found = compute(["confidence", "violating_share"], results)
    assert found.get("confidence") == confidence
    assert found.get("violating_share") == share


def test_the_share_with_a_confidence_has_all_obligations_below_it() -> None:
    results = [result("unknown", SURE), result("unknown"), result("falsified"), result("verified")]
    found = compute(["confident_fraction", "verified_fraction"], results)
    assert found == {"confident_fraction": Fraction(1, 2), "verified_fraction": Fraction(1, 4)}
    assert compute(["confident_fraction"], [REFUSED]) == {}


def shown(*results: Result) -> Report:
    figures = compute(["confidence", "violating_share", "verified_fraction"], results)
    return Report(Path("f.spec"), {}, (CheckOutcome("p", 0, results, figures, ()),))


def test_the_json_report_says_the_confidence_and_of_what() -> None:
    report = shown(result("unknown", HARDLY), result("unknown", SURE), result("falsified"))
    written = json.loads(document.to_json([report]))
    jsonschema.validate(written, document.schema())
    assert [r["confidence"] for r in written["results"]] == [0.9, 0.999, None]
    assert [r["violating_share"] for r in written["results"]] == [0.25, None, None]
    assert [r["verdict"] for r in written["results"]] == ["unknown", "unknown", "falsified"]


def test_the_console_says_unknown_and_how_sure_and_counts_no_obligations_for_it() -> None:
    text = console.to_text([shown(result("unknown", SURE))])
    assert "p unknown, with a confidence of 0.999: 4000 of 4000 draws" in text
    assert "confidence = 0.999\n" in text
    assert "verified_fraction = 0 (0 of 1)" in text
    certain = console.to_text([shown(result("verified"))])
    assert "  confidence = 1\n" in certain

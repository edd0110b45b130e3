"""Whole specs with curves: claims, networks, optima; nothing wrong is ever said near a tie."""

from __future__ import annotations

from fractions import Fraction
from math import e, log
from pathlib import Path
from typing import Any

import pytest

import specdsl
from specdsl.run.result import Report

HEAD = """spec 1.0
space Point { a: real in [1/2, 2]  b: real in [-2, 1] }
network f: Point -> real[2] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, 1/2])
  layer tanh
  layer dense(weight = [[1, 2], [-1, 1]], bias = [-1/2, 0])
}
network p: Point -> real[2] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, 0])
  layer softmax
}
"""

TRUE = {
    "exp(x.b) + log(2) <= 3.5": "",
    "1 / x.a <= 2.01": "",
    "x.b / x.a <= 2.01 and x.b / x.a >= -4.01": "",
    "sqrt(-x.b) <= 1.42": "where x.b <= 0",
    "sum(p(x)) <= 1.01": "",
    "p(x)[0] <= 0.999": "",
    "sigmoid(f(x)[0]) <= 0.95": "",
    "sin(x.b) ^ 2 + cos(x.b) ^ 2 <= 1.1": "",
    "norm(f(x), l2) + 1 <= 4": "",
    "softplus(x.b) - relu(x.b) <= 0.7": "",
}
FALSE = {
    "exp(x.b) <= 2.7": "",
    "1 / x.a < 2": "",
    "f(x)[0] >= -1": "",
    "softmax([x.a, x.b])[0] <= 0.9": "",
    "tan(x.b / 2) <= 1/2": "",
    "p(x)[1] >= 0.3": "",
}


# The checker has no rule for the first, and of the second rounding may leave the domain.
UNCERTIFIED = {"sin(x.b) ^ 2 + cos(x.b) ^ 2 <= 1.1"}


def report_of(text: str, folder: Path, timeout: float = 20, **options: Any) -> Report:
    path = folder / "curves.spec"
    path.write_text(HEAD + text)
    return specdsl.load(path).check(timeout=timeout, **options)


def claims(bodies: dict[str, str]) -> str:
    lines = [
        f"property c{i} = forall x in Point {where}: {body}"
        for i, (body, where) in enumerate(bodies.items())
    ]
    return "\n".join([*lines, "check " + ", ".join(f"c{i}" for i in range(len(bodies))), ""])


def verdicts(report: Report, bodies: dict[str, str]) -> dict[str, str]:
    assert not report.diagnostics, report.diagnostics
    return dict(zip(bodies, (r.verdict for r in report.results), strict=True))


def test_claims_that_hold_are_verified(tmp_path: Path) -> None:
    found = verdicts(report_of(claims(TRUE), tmp_path, trust=["all"]), TRUE)
    assert found == dict.fromkeys(TRUE, "verified")


def test_claims_that_hold_have_certificates_but_for_some(tmp_path: Path) -> None:
    report = report_of(claims(TRUE), tmp_path, semantics="float32_any_order")
    found = verdicts(report, TRUE)
    assert {body for body, word in found.items() if word == "unknown"} == UNCERTIFIED
    assert all(r.certificate.accepted for r in report.results if r.certificate)


def test_claims_that_do_not_hold_are_falsified(tmp_path: Path) -> None:
    found = verdicts(report_of(claims(FALSE), tmp_path, timeout=2), FALSE)
    # At x.a = 1/2 exactly the quotient is 2, which nothing that rounds can know.
    assert found.pop("1 / x.a < 2") == "unknown"
    assert set(found.values()) == {"falsified"}


def test_ties_are_never_decided_wrongly(tmp_path: Path) -> None:
    ties = {
        "exp(x.b) <= exp(1)": "",
        "exp(x.b) < exp(1)": "",
        "x.a * (1 / x.a) == 1": "",
        "x.a * (1 / x.a) != 1": "",
        "sigmoid(0 * x.b) <= 1/2": "",
    }
    found = verdicts(report_of(claims(ties), tmp_path, timeout=1), ties)
    assert found["exp(x.b) <= exp(1)"] != "falsified"
    assert found["exp(x.b) < exp(1)"] != "verified"
    assert found["x.a * (1 / x.a) == 1"] != "falsified"
    assert found["x.a * (1 / x.a) != 1"] != "verified"
    assert found["sigmoid(0 * x.b) <= 1/2"] == "verified"


def test_optima_of_curves_are_attained_and_proven(tmp_path: Path) -> None:
    text = "maximize exp(x.b) over x in Point\nminimize log(x.a) over x in Point\n"
    greatest, least = (outcome.results[0] for outcome in report_of(text, tmp_path).queries)
    assert greatest.lower is not None
    assert greatest.upper is not None
    assert greatest.lower <= Fraction(e) + Fraction(1, 10**15)
    assert float(greatest.lower) == pytest.approx(e, rel=1e-3)
    assert float(greatest.upper) == pytest.approx(e, rel=1e-3)
    assert least.lower is not None
    assert float(least.lower) == pytest.approx(log(0.5), rel=1e-3)


def test_a_pole_that_bounds_cannot_leave_out_is_never_verified(tmp_path: Path) -> None:
    bodies = {"1 / f(x)[0] <= 1000": "", "log(f(x)[1]) <= 5": ""}
    report = report_of(claims(bodies), tmp_path, timeout=1)
    assert not any(r.verdict == "verified" for r in report.results)


def test_robustness_at_samples_is_decided_with_curved_networks(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b,label\n2,-2,0\n0.5,1,1\n")
    text = (
        'dataset data: (Point, label[2]) = csv("data.csv", label = "label")\n'
        "property robust = forall (x, y) in data[0:2] where argmax(p(x)) == y: "
        "forall z in norm_ball(x, 1/100, linf) & Point: argmax(p(z)) == argmax(p(x))\n"
        "check robust report certified_accuracy\n"
    )
    report = report_of(text, tmp_path)
    assert not report.diagnostics, report.diagnostics
    assert [r.verdict for r in report.results] == ["verified", "verified"]

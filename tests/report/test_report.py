"""The report as people and as programs see it; golden files hold both."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from specdsl.diagnostics import SpecError, diagnostic
from specdsl.language.spec import ReportRequest
from specdsl.report import console, document, tables
from specdsl.run.outcomes import ExpectOutcome, ShownVariable, ShownWitness
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.source import Source, Span
from specdsl.verdict import CallReplay, Certificate
from tests.conftest import Golden

SOURCE = Source("acas.spec", "spec 1.0\nproperty phi1 { forall s in Encounter show a <= 1 }\n")
SPAN = Span(SOURCE, 18, 22)
PROOF = Certificate("search/input", 0.0312, ("float64 rounding",), leaves=12)
WITNESS = ShownWitness(
    variables=(
        ShownVariable("s.rho", (), "m", (Fraction(56012.5),)),
        ShownVariable("s.theta", (), "rad", (Fraction(1, 3),)),
        ShownVariable(
            "image", (2, 2), None, (Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(1))
        ),
        ShownVariable("pixels", (100,), None, tuple(Fraction(i, 100) for i in range(100))),
    ),
    calls=(
        CallReplay(
            "acas",
            np.array([0.5, 0.25], dtype=np.float32),
            np.array([1.5, -0.25, 0.125], dtype=np.float32),
            ("COC", "WL", "WR"),
        ),
    ),
    exact_margin=Fraction(-1, 3),
    replayed_margin=Fraction(-0.33333),
    replayed_with="onnxruntime 1.0",
    notes=("`s.theta` has no float32 in its interval and was replayed at the nearest one",),
)


def result(name: str, verdict: Any, **details: Any) -> Result:
    details = {"method": "portfolio", "seconds": 1.5, "span": SPAN, **details}
    return Result(f"acas.spec::{name}", name.partition("[")[0], 0, verdict, **details)


def small_report() -> Report:
    unsupported = diagnostic("E0855", "`smt` does not support l2 balls", SPAN, help="use `search`")
    results = (
        result("phi1", "verified", certificate=PROOF, bound=0.0312, method="search/input"),
        result("phi2", "falsified", witness=WITNESS, statistics={"domains": 4.0, "gap": np.inf}),
        result("phi3", "unknown", reason="timeout after 1 s", bound=-0.5, advice="more time"),
        result("phi4", "unknown", reason="not asked", diagnostics=(unsupported,), method="smt"),
    )
    outcome = CheckOutcome("phi1, phi2, phi3, phi4", 0, results, {}, ())
    parameters = {"net_file": "acas.onnx", "eps": Fraction(2, 255)}
    return Report(Path("acas.spec"), parameters, (outcome,), seconds=6.0, deselected=2)


def sampled_report(folder: Path = Path("specs")) -> Report:
    requests = (
        ReportRequest("certified_accuracy", (), SPAN),
        ReportRequest("per_sample", ("robust.csv",), SPAN),
        ReportRequest("table", ("table.csv",), SPAN),
    )
    words = ["verified"] * 15 + ["falsified"] * 4 + ["unknown"]
    results = tuple(
        result(
            f"robust[{i}]",
            word,
            sample=i,
            sample_holds=i < 18,
            certificate=PROOF if word == "verified" else None,
            witness=WITNESS if word == "falsified" else None,
            reason="timeout, after 1 s" if word == "unknown" else None,
        )
        for i, word in enumerate(words)
    )
    expects = (
        ExpectOutcome("certified_accuracy >= 0.9", False),
        ExpectOutcome("clean_accuracy >= 0.9", True),
        ExpectOutcome("pgd_accuracy > 0", None, "`pgd_accuracy` could not be computed"),
    )
    figures = {"certified_accuracy": Fraction(3, 4), "clean_accuracy": Fraction(9, 10)}
    outcome = CheckOutcome("robust", 0, results, figures, expects, requests)
    return Report(folder / "robust.spec", {}, (outcome,), seconds=125.0)


def test_the_console_report_of_a_few_properties(golden: Golden) -> None:
    golden.check("report_console.txt", console.to_text([small_report()]))


def test_the_console_report_of_many_samples(golden: Golden) -> None:
    golden.check("report_console_samples.txt", console.to_text([sampled_report()]))


def test_the_json_report(golden: Golden) -> None:
    golden.check("report.json", document.to_json([small_report()]))


@pytest.mark.parametrize("make", [small_report, sampled_report])
def test_console_lines_fit_80_columns(make: Any) -> None:
    assert max(map(len, console.to_text([make()]).splitlines())) <= 80


def test_a_spec_that_could_not_be_read_says_so() -> None:
    broken = Report(Path("f.spec"), {}, (), (diagnostic("E0501", "cannot read `f.spec`"),))
    assert "1 error in the spec, nothing checked" in console.to_text([broken])
    jsonschema.validate(json.loads(document.to_json([broken])), document.schema())


@pytest.mark.parametrize(
    "reports", [[small_report()], [sampled_report()], [small_report(), sampled_report()]]
)
def test_json_reports_satisfy_the_shipped_schema_and_hold_no_nan(reports: list[Report]) -> None:
    text = document.to_json(reports)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the JSON report")

    jsonschema.validate(json.loads(text, parse_constant=refuse), document.schema())


def test_the_schema_refuses_a_verdict_that_does_not_exist() -> None:
    content = json.loads(document.to_json([small_report()]))
    content["results"][0]["verdict"] = "sat"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, document.schema())


def test_a_figure_of_two_checks_is_named_after_its_check() -> None:
    first = CheckOutcome("a", 0, (), {"verified_fraction": Fraction(1)}, ())
    second = CheckOutcome("b", 1, (), {"verified_fraction": Fraction(0)}, ())
    found = document.document(Report(Path("f.spec"), {}, (first, second)))
    assert found["aggregates"] == {"a.verified_fraction": 1.0, "b.verified_fraction": 0.0}


def test_requested_tables_are_written_beside_the_spec(tmp_path: Path) -> None:
    written = tables.write_requested(sampled_report(tmp_path))
    assert [p.name for p in written] == ["robust.csv", "table.csv"]
    lines = written[0].read_text().splitlines()
    assert lines[0] == "sample,property,holds_unperturbed,verdict,method,bound,seconds,reason"
    assert lines[20] == '19,robust,false,unknown,portfolio,,1.500,"timeout, after 1 s"'
    assert len(lines) == 21
    assert sorted(p.name for p in tmp_path.iterdir()) == ["robust.csv", "table.csv"]


def test_names_are_shown_as_they_are_written() -> None:
    name = "near(d[first], :smile:)"
    check = CheckOutcome(name, 0, (result(name, "verified"),), {}, ())
    assert "near(d[first], :smile:)" in console.to_text([Report(Path("f.spec"), {}, (check,))])


@pytest.mark.parametrize("name", ["../out.csv", "/out.csv", "missing/out.csv"])
def test_a_table_outside_the_specs_folder_is_refused(tmp_path: Path, name: str) -> None:
    request = ReportRequest("table", (name,), SPAN)
    report = Report(tmp_path / "f.spec", {}, (CheckOutcome("p", 0, (), {}, (), (request,)),))
    with pytest.raises(SpecError) as caught:
        tables.write_requested(report)
    assert caught.value.diagnostics[0].code == "E0854"

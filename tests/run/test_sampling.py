"""`using sampling`, from the spec to the report: smoothed classifiers, scenarios, `expect`."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specdsl.diagnostics import SpecError
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.report import document
from specdsl.run.execution import Execution
from specdsl.run.pipeline import RunOptions, verify
from specdsl.run.result import Report
from specdsl.source import Source
from specdsl.training.claims.compile import Trained, compile_claim

HEAD = """spec 1.0
network f: real[2] -> real[2] { layer dense(weight = [[1, 0], [-1, 0]], bias = [1, -1]) }
let g = smooth(f, 1/2)
property certain(r) = forall x in norm_ball([0, 0], r, l2): argmax(g(x)) == 0
property robust(r) = forall x in norm_ball([0, 0], r, l2): argmax(f(x)) == 0
"""
SAMPLING = "using sampling(samples = 5_000)"


def run(folder: Path, text: str, options: RunOptions | None = None) -> Report:
    path = folder / "f.spec"
    path.write_text(HEAD + text + "\n")
    return verify(path, options=options or RunOptions())


def record(report: Report) -> dict[str, Any]:
    written = json.loads(document.to_json([report]))
    jsonschema.validate(written, document.schema())
    (found,) = written["results"]
    return found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # The border of both classes is 1 away from the center, and stays there under noise.
        (f"check certain(1/2) {SAMPLING}", 4),
        (f"check certain(1/2) {SAMPLING} expect confidence >= 0.999", 0),
        (f"check certain(1/2) {SAMPLING} expect confidence > 0.999", 1),
        (f"check certain(1) {SAMPLING} expect confidence >= 0.999", 1),
        (f"check certain(1) {SAMPLING} expect confidence >= 0", 0),
        (f"check robust(1/2) {SAMPLING} expect confidence >= 0.999", 0),
        (f"check robust(1/2) {SAMPLING} expect violating_share <= 0.002", 0),
        (f"check robust(1/2) {SAMPLING} expect violating_share <= 0.001", 1),
        (f"check robust(2) {SAMPLING}", 1),
        (f"check robust(2) {SAMPLING} expect confidence >= 0.999", 1),
        ("check robust(1/2) using milp expect confidence >= 1", 0),
        ("check certain(1/2)", 2),
        ("check certain(1/2) using search", 2),
        ("check certain(1/2) using lp", 2),
    ],
)
def test_expectations_decide_what_a_verdict_leaves_open(
    tmp_path: Path, text: str, code: int
) -> None:
    assert run(tmp_path, text).exit_code == code


def test_the_report_says_how_sure_and_of_what(tmp_path: Path) -> None:
    smoothed = record(run(tmp_path, f"check certain(1/2) {SAMPLING}"))
    assert (smoothed["verdict"], smoothed["method"]) == ("unknown", "sampling/smoothing")
    assert (smoothed["confidence"], smoothed["violating_share"]) == (0.999, None)
    assert 0.4 < smoothed["bound"] <= 0.5
    assert (smoothed["trusted"], smoothed["certificate"]) == ([], None)
    scenario = record(run(tmp_path, f"check robust(1/2) {SAMPLING}"))
    assert (scenario["verdict"], scenario["confidence"]) == ("unknown", 0.999)
    assert 0.001 < scenario["violating_share"] < 0.002
    assert scenario["bound"] is None
    short = record(run(tmp_path, f"check certain(1) {SAMPLING}"))
    assert short["confidence"] is None
    assert short["bound"] < 0


def test_a_kept_answer_says_the_same(tmp_path: Path) -> None:
    options = RunOptions(execution=Execution(None, tmp_path / "kept"))
    text = f"check certain(1/2) {SAMPLING}"
    first, again = (record(run(tmp_path, text, options)) for _ in range(2))
    assert (first.pop("cached"), again.pop("cached")) == (False, True)
    assert first == again
    other = record(run(tmp_path, text.replace("5_000", "6_000"), options))
    assert not other["cached"]


def test_who_cannot_take_it_says_so_before_anything_is_solved(tmp_path: Path) -> None:
    for backend in ("search", "portfolio", "lp", "milp", "smt", "attack", "incomplete"):
        report = run(tmp_path, f"check certain(1/2) using {backend}")
        (found,) = report.results[0].diagnostics
        assert found.code == "E0855"
        assert found.help is not None
        assert "`sampling`" in found.help


def test_samples_prove_no_end_of_a_radius_query(tmp_path: Path) -> None:
    text = f"largest r in [0, 1/2] such that certain(r) {SAMPLING}"
    (result,) = run(tmp_path, text).queries[0].results
    assert result.proven is None
    assert result.lower is None


def test_the_clean_accuracy_of_a_smoothed_classifier_is_not_that_of_its_network(
    tmp_path: Path,
) -> None:
    (tmp_path / "d.csv").write_text("0,0,0\n0,0,0\n")
    text = (
        'dataset d: (real[2], label[2]) = csv("d.csv", label = 2)\n'
        "check forall (x, y) in d: (forall z in norm_ball(x, 1/4, l2): argmax(g(z)) == y)\n"
        f"  {SAMPLING} report clean_accuracy, confident_fraction"
    )
    (found,) = run(tmp_path, text).checks
    assert found.figures == {"confident_fraction": Fraction(1)}


def test_nothing_is_trained_for_a_smoothed_claim() -> None:
    text = HEAD.replace("([0, 0], r, l2)", "(c, 1/4, l2)").replace("(r)", "(c, y)")
    text = text.replace("== 0", "== y")
    spec = check(parse(Source("f.spec", text)), {}, base=Path(), working_directory=Path())
    network = spec.networks["f"]
    sample = (network.input, network.output)
    with pytest.raises(SpecError) as caught:
        compile_claim(spec, "certain", (), Trained("f", sample))
    assert [d.code for d in caught.value.diagnostics] == ["E0730"]
    assert "smoothed" in caught.value.diagnostics[0].message

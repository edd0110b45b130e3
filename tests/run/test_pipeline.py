"""The whole line on small specs: parameters, backends, samples, figures, bad networks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import specdsl
from specdsl.diagnostics import SpecError
from specdsl.run.pipeline import RunOptions, verify
from specdsl.run.result import Report

# Sign of the only entry. Sample 3 is misclassified, sample 2 is right but not robust at 1/2.
ROWS = "value,label\n2,1\n-2,0\n0.25,1\n0.5,0\n"
ROBUST = """spec 1.0
param eps: real = 1/2 in [0, 1]
space Line { x: real[1] in [-4, 4] }
network sign: Line -> real[2] { layer dense(weight = [[-1], [1]], bias = [0, 0]) }
dataset data: (Line, label[2]) = csv("data.csv", label = "label")
property robust = forall (x, y) in data[0:4]:
  forall z in norm_ball(x, eps, linf) & box(-4, 4): argmax(sign(z)) == y
check robust report certified_accuracy, clean_accuracy, pgd_accuracy, per_sample("out.csv")
  expect certified_accuracy >= 1/2
"""


@pytest.fixture
def robust(tmp_path: Path) -> Path:
    (tmp_path / "data.csv").write_text(ROWS)
    path = tmp_path / "robust.spec"
    path.write_text(ROBUST)
    return path


def words(report: Report) -> list[str]:
    assert not report.diagnostics, report.diagnostics
    return [r.verdict for r in report.results]


def test_samples_are_obligations_with_their_own_verdicts_and_figures(robust: Path) -> None:
    report = specdsl.load(robust).check()
    assert words(report) == ["verified", "verified", "falsified", "falsified"]
    assert [r.sample_holds for r in report.results] == [True, True, True, False]
    (check,) = report.checks
    assert check.figures == {
        "certified_accuracy": Fraction(1, 2),
        "clean_accuracy": Fraction(3, 4),
        "pgd_accuracy": Fraction(1, 2),
    }
    assert [(e.text, e.met) for e in check.expects] == [("certified_accuracy >= 1/2", True)]
    assert report.exit_code == 0


def test_a_parameter_reaches_the_query_exactly(robust: Path) -> None:
    # At eps = 1/4 the point 0 ties the two classes, and a tie is not the strict maximum.
    assert words(specdsl.load(robust, params={"eps": "1/4"}).check())[2] == "falsified"
    assert words(specdsl.load(robust, params={"eps": "249/1000"}).check())[2] == "verified"
    assert words(specdsl.load(robust, params={"eps": Fraction(249, 1000)}).check())[2] == "verified"


def test_a_sample_that_is_not_there_is_an_error_of_its_obligation(robust: Path) -> None:
    robust.write_text(ROBUST.replace("data[0:4]", "data[3:6]"))
    report = specdsl.load(robust).check()
    assert [bool(r.diagnostics) for r in report.results] == [False, True, True]
    assert report.exit_code == 2


@pytest.mark.parametrize("using", ["attack", "incomplete", "lp", "milp", "smt", "search"])
def test_no_backend_contradicts_what_is_true(robust: Path, using: str) -> None:
    truth = ["verified", "verified", "falsified", "falsified"]
    found = words(specdsl.load(robust).check(using=using, timeout=20))
    assert all(f in (t, "unknown") for f, t in zip(found, truth, strict=True))
    assert set(found) != {"unknown"}


def test_a_selection_leaves_the_others_out(robust: Path) -> None:
    report = specdsl.load(robust).check(select="[2]")
    assert ([r.id for r in report.results], report.deselected) == (["robust.spec::robust[2]"], 3)


def test_an_option_that_the_backend_does_not_have_is_found_before_solving(robust: Path) -> None:
    robust.write_text(ROBUST.replace("check robust", "check robust using attack(stepz = 3)"))
    with pytest.raises(SpecError, match="stepz"):
        specdsl.load(robust)


def test_options_of_the_file_hold_unless_another_backend_is_used(robust: Path) -> None:
    robust.write_text(ROBUST.replace("check robust", "check robust using attack(steps = 7)"))
    from specdsl.run.pipeline import plan

    spec = specdsl.load(robust).spec
    (written,) = plan(spec.checks, RunOptions())
    assert written.backend.steps == 7  # type: ignore[attr-defined]
    (changed,) = plan(spec.checks, RunOptions(using="search", timeout=3.5, seed=9))
    assert (changed.backend.name, changed.timeout) == ("search", 3.5)
    assert changed.backend.seed == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x07" * 50])
def test_a_bad_network_costs_its_own_obligations_only(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    path = tmp_path / "f.spec"
    path.write_text(
        """spec 1.0
network bad: real[1] -> real[1] = onnx("bad.onnx")
network good: real[1] -> real[1] { layer dense(weight = [[1]], bias = [0]) }
property one { forall x in [0, 1]  show bad(x) <= 2 }
property two { forall x in [0, 1]  show good(x) <= 2 }
check one, two
"""
    )
    report = verify(path)
    assert [bool(r.diagnostics) for r in report.results] == [True, False]
    assert report.results[0].diagnostics[0].code.startswith("E06")
    assert report.results[1].verdict == "verified"
    assert report.exit_code == 2


def test_a_property_that_says_nothing_is_verified_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(
        """spec 1.0
network n: real[1] -> real[1] { layer dense(weight = [[1]], bias = [0]) }
property empty { forall x in [0, 1]  where x >= 2  show n(x) <= -5 }
check empty
"""
    )
    (result,) = verify(path).results
    assert (result.verdict, result.method) == ("verified", "no cases")
    assert [w.severity for w in result.warnings] == ["warning"]

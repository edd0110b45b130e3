"""`clean_accuracy` asks whether the claim holds where nothing is perturbed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import specdsl

# Class 1 where x > 3/4; both samples are 1/2, with the labels 0 and 1.
HEAD = """spec 1.0
space Point { v: real[1] in [0, 1] }
network f: real[1] -> real[2] { layer dense(weight = [[0], [1]], bias = [0, -3/4]) }
dataset D: (real[1], label[2]) = csv("data.csv", label = "y")
"""
ROWS = "v,y\n0.5,0\n0.5,1\n"


def clean(folder: Path, claim: str) -> list[bool | None]:
    (folder / "data.csv").write_text(ROWS)
    path = folder / "clean.spec"
    text = f"property p(x, y) = {claim}\ncheck forall (x, y) in D: p(x, y)"
    path.write_text(f"{HEAD}{text} using incomplete report clean_accuracy\n")
    report = specdsl.load(path).check()
    assert not report.diagnostics, report.diagnostics
    return [result.sample_holds for result in report.results]


BALL = "norm_ball(x, 1/10, linf)"


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (f"forall z in {BALL}: argmax(f(z)) == y", [True, False]),
        ("forall z in norm_ball(x, 1/10, l2): argmax(f(z)) == y", [True, False]),
        (f"forall z in {BALL} & Point: argmax(f(z)) == y", [True, False]),
        ("forall z in box(x - 1/10, x + 1/10) & Point: argmax(f(z)) == y", [True, False]),
        # The variable is what is added, not the sample.
        ("forall d in box(-1/10, 1/10, shape = x): argmax(f(x + d)) == y", [True, False]),
        ("forall d in norm_ball(0 * x, 1/10, linf): argmax(f(x + d)) == y", [True, False]),
        # What must exist exists at the sample.
        (f"exists z in {BALL}: argmax(f(z)) == y", [True, False]),
        # Conditions belong to the claim: 1/2 does not meet this one.
        (f"forall z in {BALL} where z[0] >= 0.55: argmax(f(z)) == y", [True, True]),
        (f"forall z in {BALL}: z[0] >= 0.55 => argmax(f(z)) == y", [True, True]),
        (f"forall z in {BALL} where z[0] >= 0.45: argmax(f(z)) == y", [True, False]),
        # Around another point; two variables, the second around the first.
        ("forall z in norm_ball(x + 2/5, 1/10, linf): argmax(f(z)) == y", [False, True]),
        (
            f"forall z in {BALL}, w in norm_ball(z, 1/10, linf): argmax(f(w)) == argmax(f(z))",
            [True, True],
        ),
        ("argmax(f(x)) == y", [True, False]),
        # Nothing says what is perturbed here, or the sample is no point of the set.
        ("forall z in box([0], [3/5]): argmax(f(z)) == y", [None, None]),
        ("forall z in Point: argmax(f(z)) == y", [None, None]),
        (f"forall z in {BALL} & box([0.55], [0.9]): argmax(f(z)) == y", [None, None]),
    ],
)
def test_what_holds_at_the_sample(tmp_path: Path, claim: str, expected: list[bool | None]) -> None:
    assert clean(tmp_path, claim) == expected


# --- checks without members -----------------------------------------------------------------------

ROBUST = f"property p(x, y) = forall z in {BALL}: argmax(f(z)) == y\n"


@pytest.mark.parametrize("samples", ["D[2:]", "D where x[0] >= 2"])
def test_a_check_of_no_samples_is_said_and_expects_nothing(tmp_path: Path, samples: str) -> None:
    (tmp_path / "data.csv").write_text(ROWS)
    path = tmp_path / "none.spec"
    empty = f"check forall (x, y) in {samples}: p(x, y)\n  expect certified_accuracy >= 1\n"
    fine = "check forall (x, y) in D[0:1]: p(x, y)\n"
    path.write_text(f"{HEAD}{ROBUST}{fine}{empty}")
    report = specdsl.load(path).check()
    assert [found.code for found in report.diagnostics] == ["W0750"]
    assert "asks nothing" in report.diagnostics[0].message
    assert [e.met for check in report.checks for e in check.expects] == [None]
    assert report.exit_code == 4

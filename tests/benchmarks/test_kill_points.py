"""The harness that kills runs: what it counts, and that it would see a loss."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_points import Findings, Killer, _compare, findings_of, summary

SPEC = """spec 1.0
network double: real[1] -> real[1] { layer dense(weight = [[2]], bias = [0]) }
property p(r) = forall x in [0, r]: double(x) <= 3
check forall r in {1, 5/4, 3/2, 7/4}: p(r) using smt
"""


def result(id: str, verdict: str = "verified", cached: bool = False) -> dict[str, Any]:
    return {"id": id, "verdict": verdict, "cached": cached, "seconds": 1.0, "statistics": {}}


@pytest.mark.parametrize(
    ("results", "wrong"),
    [
        ([result("a", cached=True), result("b")], []),
        ([result("a"), result("b")], ["1 answers were kept, and 0 used"]),
        ([result("a", "unknown", True), result("b")], ["a: unknown instead of verified"]),
        ([result("a", cached=True)], ["b: None instead of verified"]),
    ],
)
def test_what_differs_from_the_run_without_kills_is_wrong(
    results: list[dict[str, Any]], wrong: list[str]
) -> None:
    found = Findings()
    _compare({"results": [result("a"), result("b")]}, {"results": results}, found, kept=1)
    assert found.wrong == wrong
    assert found.identical == (not wrong or "used" in wrong[0])


def test_what_another_store_kept_is_not_asked_of_this_one() -> None:
    found = Findings()
    both = [result("a"), result("b")]
    _compare({"results": both}, {"results": both}, found, kept=0)
    assert found.wrong == []


def test_a_check_is_killed_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC)
    command = [sys.executable, "-m", "specdsl.cli", "check", str(path), "--jobs", "1"]
    found = findings_of(Killer(command, random.Random(1)), points=2)
    assert len(found.points) == 2
    assert found.wrong == []
    assert "2 kills" in summary(found)

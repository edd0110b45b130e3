"""The scoreboard goes on where it was stopped, and counts what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.soundness.running import Row, chosen, read_rows, run_all
from benchmarks.soundness.tables import family_table, labelled_table, method_table, suite_table
from tests.docs.pages import with_parts
from tests.soundness.judging import Outcome
from tests.soundness.trials import SUITES, Trial

PAGE = Path(__file__).resolve().parents[2] / "docs" / "soundness.md"
ROW = Row("laws", "negate outputs", 3, "lp", 2.0, "verified", "lp/highs", 0.5, None)
WRONG = replace(ROW, number=4, said="falsified", objection="there is no counterexample")
CRASHED = replace(
    ROW, family="split a layer", said="unknown", by="solver crashed: E", method="milp"
)
REFUSED = replace(ROW, family="split a layer", number=5, said="refused", by="off")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Trials that were run, each of which verifies at once."""
    run: list[Trial] = []

    def answer(trial: Trial, timeout: float) -> Outcome:
        run.append(trial)
        return Outcome("verified", f"within {timeout:g} s", 0.0)

    monkeypatch.setattr(Trial, "run", answer)
    return run


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, counted: list[Trial]) -> None:
    path = tmp_path / "build" / "rows.jsonl"
    trials = [Trial("tiny", "tiny", number, "lp") for number in range(3)]
    run_all(trials[:2], path, 2.0)
    with path.open("a") as file:
        file.write('{"suite": "tiny", "fam')
    rows = run_all(trials, path, 2.0)
    assert counted == trials
    assert [row.trial for row in rows] == trials
    assert read_rows(path) == rows
    run_all(trials, path, 3.0)
    assert counted == [*trials, *trials]


def test_some_sets_and_some_numbers_can_be_chosen() -> None:
    trials = [Trial(suite, "f", n, "lp") for suite in ("tiny", "laws") for n in range(4)]
    found = list(chosen(trials, frozenset({"laws"}), 2))
    assert [(trial.suite, trial.number) for trial in found] == [("laws", 0), ("laws", 2)]
    assert list(chosen(trials, frozenset(), 1)) == trials


def test_tables_count_what_is_wrong() -> None:
    rows = [ROW, WRONG, CRASHED, REFUSED]
    first, *_, total = suite_table(rows).splitlines()[2:]
    assert first.endswith("| 4 | 4 | 1 | 1 | 0 | 1 | 1 | 1 | 2 |")
    assert total.startswith("| **all** |")
    assert "| `laws` | negate outputs | 2 | 2 | 1 | 1 | 0 | 0 | 0 | 1 | 1 |" in family_table(rows)
    assert "| `milp` | 1 | 0 | 0 | 0 | 0 | 1 | 0 | 0 |" in method_table(rows)


def test_labelled_instances_are_read_from_results_of_bench(tmp_path: Path) -> None:
    answers = [("sat", "sat"), ("unsat", "sat"), ("unknown", "unsat"), ("sat", None)]
    rows = [
        {"benchmark": "b", "onnx": f"{i}.onnx", "vnnlib": "v", "expected": expected}
        | {"verdict": said, "seconds": 1.0, "cpu_seconds": 1.0, "limit": 60.0, "reason": None}
        for i, (said, expected) in enumerate(answers)
    ]
    path = tmp_path / "vnncomp.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert labelled_table(path).splitlines()[-1] == "| 4 | 3 | 2 | 1 |"


def test_the_page_has_a_place_for_every_table() -> None:
    page = PAGE.read_text()
    parts = dict.fromkeys(("suites", "families", "methods", "labelled"), "new\n")
    assert with_parts(page, parts).count("new\n") >= len(parts)
    for name in SUITES:
        assert f"`{name}`" in page


def test_rows_are_plain() -> None:
    assert Row(**json.loads(json.dumps(asdict(ROW)))) == ROW

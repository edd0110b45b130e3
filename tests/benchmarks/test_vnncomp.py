"""Tables and plots of `bench` results, from results made up here."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.vnncomp.__main__ import main
from benchmarks.vnncomp.cactus import comparable, curve
from benchmarks.vnncomp.runs import Answer, OwnRun, Rules, Run, read_references, read_run
from benchmarks.vnncomp.tables import family_table, late, reference_table, run_table
from specdsl.run.instances.outcome import Instance, Outcome
from specdsl.run.instances.results import How, json_row

Row = tuple[str, str, str, float]
"""Family, query, verdict, seconds."""

OURS: Sequence[Row] = [
    ("acasxu", "p1", "unsat", 1.0),
    ("acasxu", "p2", "sat", 3.0),
    ("acasxu", "p3", "timeout", 60.0),
    ("oval21", "q1", "unsat", 20.0),
]
THEIRS: Sequence[Row] = [
    ("acasxu", "p1", "unsat", 4.0),
    ("acasxu", "p2", "sat", 4.0),
    ("acasxu", "p3", "unsat", 9.0),
]


def result(row: Row, expected: str = "", reason: str | None = None) -> str:
    family, query, verdict, seconds = row
    instance = Instance(family, "net.onnx", query, None, expected, Path())
    words = {word: word for word in ("unsat", "sat", "unknown", "timeout", "error")}
    outcome = Outcome(words[verdict], seconds, "m", reason=reason, cpu_seconds=seconds / 2)  # pyright: ignore[reportArgumentType]
    return json_row(instance, outcome, 60.0, How("portfolio", isolated=False))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "ours.jsonl"
    path.write_text("".join(map(result, OURS)))
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.csv"
    columns = ("benchmark", "onnx", "vnnlib", "tool", "configuration", "limit_s", "verdict")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "wall_s", "cpu_s"])
        for family, query, verdict, seconds in THEIRS:
            tool = ["peer", "tuned", 60, verdict, seconds, seconds]
            writer.writerow([family, "net.onnx", query, *tool])
        writer.writerow(["oval21", "net.onnx", "q1", "other", "default", 60, "timeout", 60, ""])
    return path


def cells(table: str, *start: str) -> list[str]:
    """Of the line that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return next(row for row in rows if row[: len(start)] == list(start))


def test_families_are_counted_and_added_up(results: Path, reference: Path) -> None:
    run, references = read_run("specdsl", results), read_references(reference)
    table = family_table(run, references, Rules(60, "wall"))
    figures = ["3", "2", "1", "1", "0", "0", "2.00", "4.0", "64.0"]
    assert cells(table, "acasxu")[1:] == figures
    assert cells(table, "**all**")[1:] == ["4", "3", "2", "1", "0", "0", "3.00", "24.0", "84.0"]


def test_other_tools_are_compared_where_both_were_asked(results: Path, reference: Path) -> None:
    run, references = read_run("specdsl", results), read_references(reference)
    assert [r.name for r in references] == ["peer, tuned", "other"]
    table = reference_table(run, references, Rules(60, "wall"))
    both = ["3", "3", "2", "2", "8.0", "4.0", "0.50", "4.00, 2.00"]
    assert cells(table, "acasxu", "peer, tuned")[2:] == both
    assert cells(table, "oval21", "other")[2:] == ["1", "0", "1", "0", "", "", "", ""]
    # The limit is the same for all: at 3 s only we decide anything of acasxu.
    table = reference_table(run, references, Rules(3, "wall"))
    assert cells(table, "acasxu", "peer, tuned")[3:6] == ["0", "2", "0"]


def test_processor_seconds_count_where_they_are_asked_for(results: Path, reference: Path) -> None:
    run, references = read_run("specdsl", results), read_references(reference)
    rules = Rules(60, "cpu")
    assert cells(family_table(run, references, rules), "acasxu")[-2:] == ["2.0", "32.0"]
    with pytest.raises(ValueError, match="no CPU seconds"):
        Answer("sat", 1.0, None, 60).seconds("cpu")


def test_what_comes_late_is_not_decided_and_is_told(results: Path) -> None:
    run = read_run("specdsl", results)
    rules = Rules(10, "wall")
    assert [key[2] for key in run.decided(rules)] == ["p1", "p2"]
    assert list(late(run, rules)) == ["oval21 net.onnx q1: unsat after 20.0 s"]


def test_a_contradiction_is_told_whoever_says_otherwise(
    tmp_path: Path,
    reference: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "wrong.jsonl"
    lines = [result(("acasxu", "p1", "sat", 100.0)), result(("acasxu", "p4", "sat", 1.0), "unsat")]
    path.write_text("".join(lines))
    run = read_run("specdsl", path)
    assert [who for _, who in run.wrong(read_references(reference))] == ["peer, tuned", "the table"]
    monkeypatch.setattr(sys, "argv", ["vnncomp", str(reference), str(path)])
    assert main() == 1
    printed = capsys.readouterr()
    assert "WRONG: specdsl contradicts the table: acasxu net.onnx p4" in printed.err
    assert cells(printed.out, "acasxu")[5] == "2"


def test_crashes_and_unread_instances_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "crashed.jsonl"
    lines = [
        result(("f", "a", "unknown", 1.0), reason="solver crashed: ValueError: x"),
        result(("f", "b", "unknown", 1.0), reason="no witness"),
        result(("f", "c", "error", 1.0), reason="E0501: missing"),
    ]
    path.write_text("".join(lines))
    table = family_table(read_run("specdsl", path), [], Rules(60, "wall"))
    assert cells(table, "f")[6] == "2"


def run_of(name: str, seconds: dict[str, float]) -> OwnRun:
    answers = {("f", "n", query): Answer("unsat", s, s, 60) for query, s in seconds.items()}
    return OwnRun(name, answers, {})


def test_runs_of_ours_are_compared_on_what_all_decide() -> None:
    runs = [run_of("all", {"a": 1, "b": 2, "c": 3}), run_of("without", {"a": 4, "b": 2, "c": 99})]
    table = run_table(runs, Rules(60, "wall"))
    assert cells(table, "all")[1:] == ["3 of 3", "3.0", "1.00"]
    assert cells(table, "without")[1:] == ["2 of 3", "6.0", "2.00"]


def test_curves_rise_and_only_whole_panels_are_compared() -> None:
    own = run_of("specdsl", {"a": 3, "b": 1, "c": 70})
    assert curve(own, ["f"], Rules(60, "wall")) == [1, 3]
    assert curve(own, ["other"], Rules(60, "wall")) == []
    partial: Run = run_of("peer", {"a": 1})
    assert [r.name for r in comparable([own, partial], own, [])] == ["specdsl"]
    assert comparable([own], own, ["other"]) == []


def test_the_page_and_the_plot_are_written(
    tmp_path: Path, results: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, plot = tmp_path / "page.md", tmp_path / "plot.svg"
    page.write_text("# Page\n<!-- vnncomp -->\nold\n<!-- end -->\nrest\n")
    options = ["--page", str(page), "--plot", str(plot)]
    command = ["vnncomp", str(reference), str(results), f"again={results}", *options]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    text = page.read_text()
    assert text.startswith("# Page\n<!-- vnncomp -->\n")
    assert text.endswith("<!-- end -->\nrest\n")
    assert "old" not in text
    assert cells(text, "again")[1] == "3 of 4"
    drawn = plot.read_text()
    assert "peer, tuned" in drawn
    assert json.loads(results.read_text().splitlines()[0])["verdict"] == "unsat"


PAGE = Path(__file__).parents[2] / "docs" / "vnncomp.md"


def test_the_page_has_its_marks() -> None:
    text = PAGE.read_text()
    assert text.count("<!-- vnncomp -->") == text.count("<!-- ablation -->") == 1

"""The ablation, on an instance made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.ablation.deciding import deciding_methods
from benchmarks.ablation.table import ablation_table
from benchmarks.ablation.techniques import ALL, TECHNIQUES, concerned
from benchmarks.vnncomp.runs import Answer, OwnRun
from specdsl.run.asked_backend import asked_backend
from specdsl.run.instances.outcome import Outcome
from specdsl.run.instances.results import How, json_row
from specdsl.run.instances.tables import read_instances
from tests.benchmarks.test_vnncomp import cells

BY_NAME = {technique.name: technique for technique in TECHNIQUES}


def answer(verdict: str, seconds: float) -> Answer:
    return Answer(verdict, seconds, seconds, 60.0)


def run(**answers: Answer) -> OwnRun:
    return OwnRun("r", {("f" + name[0], "n", name): each for name, each in answers.items()}, {})


def test_every_technique_is_left_out_of_a_portfolio_that_exists() -> None:
    backends = [asked_backend(technique.using).create() for technique in (ALL, *TECHNIQUES)]
    assert all(each != backends[0] for each in backends[1:])
    assert len({*backends}) == len(backends)


def test_what_is_lost_and_won_is_told_with_the_seconds_of_both() -> None:
    clip = BY_NAME["clip"]
    full = run(a1=answer("unsat", 2.0), a2=answer("sat", 1.0), b1=answer("timeout", 60.0))
    without = run(a1=answer("unsat", 3.0), a2=answer("unknown", 1.0), b1=answer("unsat", 5.0))
    table = ablation_table({ALL: full, clip: without}, 60.0)
    assert cells(table, clip.doc)[2:] == ["3", "2", "2", "fa 1", "fb 1", "2.0", "3.0", "1.50"]


def test_an_answer_after_the_limit_is_none() -> None:
    clip = BY_NAME["clip"]
    table = ablation_table(
        {ALL: run(a1=answer("unsat", 9.0)), clip: run(a1=answer("unsat", 11.0))}, 10.0
    )
    assert cells(table, clip.doc)[2:] == ["1", "1", "0", "fa 1", "", "0.0", "0.0", ""]


def test_techniques_are_asked_about_what_they_decided() -> None:
    methods = {("f", "n", "1"): "search/input", ("f", "n", "2"): "search/neuron"}
    methods[("f", "n", "3")] = "milp/highs"
    assert concerned(BY_NAME["clip"], methods) == [("f", "n", "1")]
    assert concerned(BY_NAME["sharpen"], methods) == [("f", "n", "2")]
    assert len(concerned(ALL, methods)) == 3


def test_a_run_is_resumed_and_printed(tmp_path: Path, shared: Path) -> None:
    table = shared / "data" / "vnncomp" / "instances.csv"
    instance = next(row for row in read_instances(table) if row.benchmark == "acasxu")
    results = tmp_path / "run.jsonl"
    how = How("portfolio", isolated=True)
    results.write_text(json_row(instance, Outcome("unsat", 1.0, "search/input"), 60.0, how))
    assert deciding_methods(results) == {instance.key: "search/input"}
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "benchmarks.ablation", str(table), str(results), str(folder)]
    command += ["--only", "clip,sharpen"]
    printed = [subprocess.run(command, check=True, capture_output=True, text=True).stdout]
    assert cells(printed[0], BY_NAME["clip"].doc)[2] == "1"
    assert cells(printed[0], BY_NAME["sharpen"].doc)[2] == "0"
    before = (folder / "clip.jsonl").read_text()
    printed += [subprocess.run(command, check=True, capture_output=True, text=True).stdout]
    assert printed[0] == printed[1]
    assert (folder / "clip.jsonl").read_text() == before

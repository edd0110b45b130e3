"""`bench --isolate`: a process for each row; and the results that `.jsonl` files hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from specdsl.run.instances import isolated
from specdsl.run.instances.isolated import Question
from specdsl.run.instances.outcome import Outcome
from tests.cli.conftest import HEADER, ROWS, Cli

ABSENT = "small,absent.onnx,sat.vnnlib,10,sat\n"


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def run_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Every child runs this instead of `solve`."""
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(Question, "command", lambda *_: command)


def test_json_lines_hold_what_was_measured(cli: Cli, instances: Path) -> None:
    run = cli("bench", instances, "-o", "out.jsonl", "--witnesses", "found", "--timeout", "20")
    assert run.code == 0
    sat, unsat = lines("out.jsonl")
    assert (sat["verdict"], unsat["verdict"]) == ("sat", "unsat")
    assert (sat["expected"], sat["limit"], sat["isolated"]) == ("sat", 20.0, False)
    assert unsat["bound"] == pytest.approx(0.5)
    for row in (sat, unsat):
        parts = [v for name, v in row["statistics"].items() if name.endswith("_seconds")]
        assert sum(parts) == pytest.approx(row["seconds"], abs=0.002)
        assert row["cpu_seconds"] >= 0
        assert row["peak_mib"] is None
    (witness,) = Path("found").iterdir()
    assert witness.name == "small__net.onnx__sat.vnnlib.txt"
    assert witness.read_text() == cli("solve", "net.onnx", "sat.vnnlib").out


def test_a_run_in_json_lines_goes_on_where_it_was_cut(cli: Cli, instances: Path) -> None:
    cli("bench", instances, "-o", "out.jsonl")
    text = Path("out.jsonl").read_text()
    first, second = text.splitlines(keepends=True)
    for cut in (0, len(first), len(first) + 20, len(text) - 1):
        Path("out.jsonl").write_text(text[:cut])
        run = cli("bench", instances, "-o", "out.jsonl")
        assert "2/2" in run.out
        assert [row["vnnlib"] for row in lines("out.jsonl")] == ["sat.vnnlib", "unsat.vnnlib"]
        if cut >= len(first):
            assert "1 of 2 rows are done already" in run.err
            assert lines("out.jsonl")[0] == json.loads(first)
    assert json.loads(second)["verdict"] == "unsat"


ROW = '{"benchmark": "a", "onnx": "b", "vnnlib": "c", "verdict": '


@pytest.mark.parametrize(
    "text",
    [
        *("{}\n", "verdict\n", '{"benchmark": 1}\n', '{"benchmark": \n'),
        *(ROW + "{}}\n", ROW + '"sat", "more": ' + "[" * 5_000 + "\n", ROW + "9" * 5_000 + "}\n"),
    ],
    ids=range(7),
)
def test_json_lines_of_another_kind_are_not_written_to(
    cli: Cli,
    instances: Path,
    text: str,
) -> None:
    Path("out.jsonl").write_text(text)
    run = cli("bench", instances, "-o", "out.jsonl")
    assert (run.code, "E0857" in run.err) == (2, True)
    assert Path("out.jsonl").read_text() == text


def test_every_row_in_a_process_of_its_own(cli: Cli, instances: Path) -> None:
    instances.write_text(HEADER + ROWS + ABSENT)
    # Loading libraries counts, and takes long where the machine is busy.
    options = ("--isolate", "--jobs", "2", "--witnesses", "found", "--memory", "64")
    run = cli("bench", instances, "-o", "out.jsonl", "--timeout", "200", *options)
    assert run.code == 0, run.err
    found = {(row["onnx"], row["vnnlib"]): row for row in lines("out.jsonl")}
    sat, unsat = found["net.onnx", "sat.vnnlib"], found["net.onnx", "unsat.vnnlib"]
    absent = found["absent.onnx", "sat.vnnlib"]
    words = [row["verdict"] for row in (sat, unsat, absent)]
    assert (words, absent["method"]) == (["sat", "unsat", "error"], "E0501")
    for row in (sat, unsat):
        # An interpreter with torch takes longer than none, and more than it says itself.
        assert row["seconds"] > row["statistics"]["answer_seconds"] > 0
        assert row["statistics"]["process_seconds"] > 0
        assert row["cpu_seconds"] > 0.1
        assert row["peak_mib"] > 50
        assert row["isolated"] is True
    (witness,) = Path("found").iterdir()
    assert witness.read_text() == cli("solve", "net.onnx", "sat.vnnlib").out


def test_a_process_that_overruns_is_ended(
    cli: Cli,
    instances: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_instead(monkeypatch, "import time; time.sleep(100)")
    monkeypatch.setattr(isolated, "GRACE", 0.2)
    run = cli("bench", instances, "-o", "out.jsonl", "--isolate", "--timeout", "0.1")
    assert run.code == 0
    for row in lines("out.jsonl"):
        assert (row["verdict"], row["method"]) == ("timeout", "killed")
        assert 0.3 <= row["seconds"] < 20


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
        ("raise MemoryError('too large: 3')", "exit status 1: MemoryError: too large: 3"),
        ("raise SystemExit(7)", "exit status 7: no message"),
    ],
)
def test_a_process_that_dies_costs_its_own_row(
    cli: Cli,
    instances: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    reason: str,
) -> None:
    run_instead(monkeypatch, code)
    run = cli("bench", instances, "-o", "out.jsonl", "--isolate")
    assert re.search(r"small +0/2", run.out)
    assert [(r["verdict"], r["reason"]) for r in lines("out.jsonl")] == [("error", reason)] * 2


def test_leaving_early_ends_what_still_runs(
    instances: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from specdsl.run.instances.tables import read_instances

    run_instead(monkeypatch, "import time; time.sleep(100)")
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*given: Any, **named: Any) -> Any:
        started.append(popen(*given, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr(isolated, "PAUSE", 0.0)
    rows = read_instances(instances)
    answers = isolated.solve_isolated(
        [Question(row, isolated.Limits(50), "portfolio") for row in rows], jobs=2
    )
    monkeypatch.setattr(isolated._Child, "poll", stop_at_once)
    with pytest.raises(KeyboardInterrupt):
        next(answers)
    assert [process.returncode for process in started] == [-9, -9]


def stop_at_once(_: object) -> Outcome | None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("option", [("--jobs", "2"), ("--memory", "4")])
def test_options_about_processes_ask_for_processes(
    cli: Cli,
    instances: Path,
    option: tuple[str, str],
) -> None:
    run = cli("bench", instances, *option)
    assert (run.code, "add --isolate" in run.err) == (2, True)


def test_a_memory_limit_is_kept(cli: Cli, instances: Path) -> None:
    run = cli("bench", instances, "-o", "out.jsonl", "--isolate", "--memory", "0.05", "-k", "unsat")
    assert run.code == 0
    (row,) = lines("out.jsonl")
    assert row["verdict"] in ("error", "unknown")

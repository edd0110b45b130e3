"""The command line: what it prints where, and what it returns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from specdsl.report.document import schema
from tests.cli.conftest import Cli
from tests.conftest import Golden

MIXED = """spec 1.0
param limit: real = 5 in [0, 100]

network double: real[1] -> real[1] {
  layer dense(weight = [[2]], bias = [0])
}

property bounded { forall x in [1, 2]  show double(x) <= limit }
property grows   { forall x in [1, 2]  show double(x) >= 3 * x - 1.5 }
property reaches { exists x in [1, 2]  show double(x) >= 3 }

check bounded, grows, reaches
"""
EXPECTED = MIXED.replace(
    "check bounded, grows, reaches",
    'check bounded, grows, reaches report verified_fraction, table("out.csv")\n'
    "  expect verified_fraction >= 0.6",
)
BALL = """spec 1.0
network double: real[2] -> real[1] {
  layer dense(weight = [[2, 1]], bias = [0])
}
space Plane { x: real[2] in [-2, 2] }
property near { forall p in Plane  show p[0] * double(p) <= 50 }
property far  { forall x in [0, 1]  show x <= 2 }
check near, far using milp
"""


TRAINING = """spec 1.0
param eps: real = 1/10
network double: real[2] -> real[2] { layer dense(8)  layer relu  layer dense(2) }
dataset points: (real[2], label[2]) = csv("points.csv", label = 2)
property robust(x, y, r) = forall z in norm_ball(x, r, linf): argmax(double(z)) == y
train double on points[0:80] {
  epochs = 6  optimizer = adam(1e-3)
  method = mtl_ibp(robust, r = eps)
  keep best by certified(robust, r = eps) on points[80:90] where clean_accuracy >= 0.9
}
check forall (x, y) in points[90:100]: robust(x, y, eps)
"""


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def normalised(text: str) -> str:
    """Without what differs from run to run and from machine to machine."""
    text = re.sub(r"\d+\.\d\d(?= s\b|$|\))", "0.00", text, flags=re.MULTILINE)
    return re.sub(r"onnxruntime [\d.]+", "onnxruntime X", text)


def test_check_prints_verdicts_witnesses_and_reasons(cli: Cli, golden: Golden) -> None:
    run = cli("check", write("mixed.spec", MIXED))
    assert run.code == 1
    golden.check("cli_check.txt", normalised(run.out))
    golden.check("cli_check_progress.txt", normalised(run.err))


def test_the_json_report_follows_the_schema_and_is_alone_on_stdout(cli: Cli) -> None:
    run = cli("check", write("mixed.spec", MIXED), "--output-format", "json")
    content = json.loads(run.out)
    jsonschema.validate(content, schema())
    verdicts = {r["property"]: r["verdict"] for r in content["results"]}
    assert verdicts == {"bounded": "verified", "grows": "falsified", "reaches": "verified"}
    assert content["exit_code"] == run.code == 1
    witness = content["results"][1]["witness"]
    x = witness["inputs"]["x"]
    assert 1.5 < x <= 2
    assert witness["calls"][0]["outputs"] == [2 * x]
    assert witness["margin"] == 2 * x - (3 * x - 1.5) < 0


def test_a_parameter_changes_the_verdict_exactly(cli: Cli) -> None:
    path = write("mixed.spec", MIXED)
    assert cli("check", path, "-k", "bounded", "-D", "limit=401/100").code == 0
    assert cli("check", path, "-k", "bounded", "-D", "limit=399/100").code == 1


def test_both_formats_the_console_to_stdout_and_the_json_to_the_file(cli: Cli) -> None:
    path = write("mixed.spec", MIXED)
    both = ["--output-format", "console", "--output-format", "json"]
    run = cli("check", path, *both, "--output-file", "report.json")
    assert "2 verified, 1 falsified" in run.out
    jsonschema.validate(json.loads(Path("report.json").read_text()), schema())
    assert cli("check", path, *both).code == 2


def test_several_specs_give_one_array(cli: Cli) -> None:
    paths = [write("a.spec", MIXED), write("b.spec", MIXED)]
    run = cli("check", *paths, "-k", "bounded", "--output-format", "json")
    assert [document["spec"] for document in json.loads(run.out)] == ["a.spec", "b.spec"]
    assert run.code == 0


def test_a_folder_stands_for_the_specs_in_it(cli: Cli) -> None:
    write("a.spec", MIXED)
    Path("inner").mkdir()
    write("inner/b.spec", MIXED)
    run = cli("check", ".", "-k", "bounded", "--output-format", "json")
    assert [document["spec"] for document in json.loads(run.out)] == ["a.spec", "inner/b.spec"]


def test_an_expect_alone_decides_and_its_tables_are_written(cli: Cli) -> None:
    run = cli("check", write("mixed.spec", EXPECTED))
    assert run.code == 0
    assert "verified_fraction = 0.666667 (2 of 3)" in run.out
    assert "expect verified_fraction >= 0.6: met" in run.out
    assert len(Path("out.csv").read_text().splitlines()) == 4
    write("strict.spec", EXPECTED.replace("0.6", "0.7"))
    assert cli("check", "strict.spec").code == 1


def test_what_a_method_does_not_support_is_an_error_there_and_the_others_go_on(
    cli: Cli, golden: Golden
) -> None:
    run = cli("check", write("ball.spec", BALL))
    assert run.code == 2
    assert "E0855" in run.err
    assert re.search(r"near +error", run.out)
    assert re.search(r"far +verified", run.out)


def test_unknown_fails_unless_it_may(cli: Cli) -> None:
    path = write("mixed.spec", MIXED)
    only = ["-k", "bounded", "--using", "attack"]
    assert cli("check", path, *only).code == 4
    assert cli("check", path, *only, "--unknown", "ok").code == 0
    assert cli("attack", path, "-k", "bounded").code == 0
    assert cli("attack", path).code == 1


def test_x_stops_at_the_first_that_fails(cli: Cli) -> None:
    run = cli("check", write("mixed.spec", MIXED), "-x")
    assert run.code == 1
    assert "1 not started" in run.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Missing argument"),
        (["check", "f.spec", "--bogus"], "No such option"),
        (["check", "f.spec", "--timeout", "soon"], "not a valid float"),
        (["check", "f.spec", "--timeout", "-1"], "not in the range"),
        (["check", "f.spec", "--unknown", "perhaps"], "Invalid value"),
        (["check", "f.spec", "-D", "eps"], "E0850"),
        (["check", "f.spec", "-D", "a=1", "-D", "a=2"], "E0850"),
        (["check", "f.spec", "-k", "(a"], "E0851"),
        (["check", "f.spec", "--using", "portfolo"], "did you mean `portfolio`?"),
        (["check", "absent.spec"], "E0501"),
        (["check", "f.spec", "-D", "bogus=1"], "bogus"),
        (["check", "f.spec", "--output-file", "absent/out.txt"], "E0854"),
        (["chek", "f.spec"], "No such command"),
        (["explain", "E9999"], "E0856"),
        (["compile", "f.spec"], "Missing option"),
        (["compile", "f.spec", "--to", "lp"], "E0858"),
        (["compile", "f.spec", "--to", "pdf"], "Invalid value"),
        (["solve", "absent.onnx", "absent.vnnlib"], "E0501"),
        (["bench", "f.spec"], "E0857"),
        ([], "Usage"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(cli: Cli, arguments: list[str], said: str) -> None:
    write("f.spec", MIXED)
    run = cli(*arguments)
    assert (run.code, said in run.out + run.err) == (2, True), run
    assert "Traceback" not in run.err


def test_nothing_collected_is_5(cli: Cli) -> None:
    path = write("mixed.spec", MIXED)
    assert cli("check", path, "-k", "absent").code == 5
    assert cli("list", path, "-k", "absent").code == 5
    Path("empty").mkdir()
    assert cli("check", "empty").code == 5


def test_an_internal_error_is_3_and_asks_for_a_report(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("specdsl.run.pipeline.check_combinations", broken)
    run = cli("check", write("mixed.spec", MIXED))
    assert run.code == 3
    assert "Traceback" in run.err
    assert "Please report it" in run.err


def test_an_interrupt_is_130_and_keeps_what_is_known(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from specdsl.run import units

    decided: list[str] = []
    real = units.decide

    def interrupted(obligation: object, *rest: object) -> object:
        if decided:
            raise KeyboardInterrupt
        decided.append("one")
        return real(obligation, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(units, "decide", interrupted)
    run = cli("check", write("mixed.spec", MIXED))
    assert run.code == 130
    assert "1 verified" in run.out
    assert "2 not started" in run.out


def test_list_prints_ids(cli: Cli) -> None:
    run = cli("list", write("mixed.spec", MIXED))
    assert run.out.splitlines() == [f"mixed.spec::{n}" for n in ("bounded", "grows", "reaches")]
    assert run.code == 0


def test_check_syntax_lists_every_mistake_and_solves_nothing(cli: Cli) -> None:
    good = write("good.spec", MIXED)
    assert cli("check-syntax", good).code == 0
    bad = MIXED.replace("<= limit", "<= limt").replace("show double(x) >= 3 }", "show duble(x) }")
    run = cli("check-syntax", good, write("bad.spec", bad))
    assert run.code == 2
    assert run.out.count("error[") == 2
    assert "did you mean `limit`?" in run.out


def test_explain_writes_trainings_out(cli: Cli, golden: Golden) -> None:
    path = write("training.spec", TRAINING)
    run = cli("explain", path, "-D", "eps=1/5")
    assert run.code == 0
    golden.check("cli_explain_training.txt", run.out.replace(str(path), path.name))
    nothing = cli("explain", write("mixed.spec", MIXED))
    assert nothing.code == 5
    assert "trains nothing" in nothing.out
    assert cli("explain", "missing.spec").code == 2


def test_explain_knows_every_code_in_either_case(cli: Cli) -> None:
    run = cli("explain", "e0855")
    assert run.code == 0
    assert run.out.startswith("E0855: not supported by this method")


@pytest.mark.parametrize(
    "stage", ["tree", "spec", "query", "graph", "lp", "mps", "nl", "smt2", "dot"]
)
def test_every_stage_is_printed_as_text(cli: Cli, golden: Golden, stage: str) -> None:
    path = write("mixed.spec", MIXED)
    run = cli("compile", path, "--to", stage, "-k", "bounded")
    assert run.code == 0
    golden.check(f"cli_compile_{stage}.txt", run.out)


def test_compile_writes_one_file_an_obligation(cli: Cli) -> None:
    run = cli("compile", write("mixed.spec", MIXED), "--to", "lp", "-o", "build/lp")
    assert run.code == 0
    names = sorted(path.name for path in Path("build/lp").iterdir())
    assert names == ["bounded.lp", "grows.lp", "reaches.lp"]


def test_names_of_an_nl_file_stand_beside_it(cli: Cli) -> None:
    run = cli("compile", write("mixed.spec", MIXED), "--to", "nl", "-k", "bounded", "-o", "build")
    assert run.code == 0
    assert run.out.split() == ["build/bounded.nl", "build/bounded.col", "build/bounded.row"]
    assert set(Path("build/bounded.col").read_text().split()) == {"x[0]", "worst[0]"}
    assert Path("build/bounded.row").read_text().split() == ["margin[0]", "objective"]
    # Of the second line: columns, rows, objectives.
    counts = Path("build/bounded.nl").read_text().splitlines()[1].split()
    assert counts[:3] == ["2", "1", "1"]


def test_help_of_every_command_can_be_printed(cli: Cli) -> None:
    from specdsl.cli.main import COMMANDS

    for command in COMMANDS:
        run = cli(command, "--help")
        assert (run.code, run.out.startswith("Usage: specdsl " + command)) == (0, True)
    assert cli("--version").out.startswith("specdsl, version")


def test_a_terminal_gets_a_bar_and_ids_keep_their_brackets(tmp_path: Path) -> None:
    import os
    import pty
    import subprocess
    import sys

    path = tmp_path / "mixed.spec"
    path.write_text(MIXED)
    main_end, other_end = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")}
    subprocess.run(
        [sys.executable, "-m", "specdsl.cli", "check", str(path), "-k", "grows"],
        stderr=other_end,
        stdout=subprocess.DEVNULL,
        env={**environment, "TERM": "xterm"},
        check=False,
    )
    os.close(other_end)
    said = os.read(main_end, 100_000).decode()
    assert "\x1b[" in said
    assert "mixed.spec::grows" in said

"""`solve` and `bench` on VNN-COMP instances, own and real."""

from __future__ import annotations

import csv
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.run.instances.results import COLUMNS
from specdsl.run.instances.witness import decimal
from tests.cli.conftest import HEADER, ROWS, Cli


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("instances")
def test_solve_prints_the_verdict_first_and_the_witness_after_sat(cli: Cli) -> None:
    assert cli("solve", "net.onnx", "unsat.vnnlib", "--results", "r.txt").out == "unsat\n"
    assert Path("r.txt").read_text() == "unsat\n"
    run = cli("solve", "net.onnx", "sat.vnnlib", "--results", "r.txt")
    assert (run.code, run.out) == (0, Path("r.txt").read_text())
    match = re.fullmatch(r"sat\n\(\(X_0 ([\d.]+)\)\n\(Y_0 ([\d.]+)\)\)\n", run.out)
    assert match is not None
    assert Fraction("0.1") <= Fraction(match[1]) <= 1
    assert float(match[2]) == 2 * float(match[1]) >= 1.5


@pytest.mark.usefixtures("instances")
@pytest.mark.parametrize(
    "command", [("solve", "net.onnx", "sat.vnnlib"), ("bench", "instances.csv", "--isolate")]
)
def test_a_device_that_is_not_there_is_told_before_solving(
    cli: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = cli(*command, "--device", "cuda")
    assert (run.code, run.out) == (2, "")
    assert "error[E0853]: torch finds no CUDA device here" in run.err


def test_bench_writes_a_row_for_each_instance_and_a_summary(cli: Cli, instances: Path) -> None:
    run = cli("bench", instances, "-o", "out.csv")
    assert run.code == 0
    found = rows("out.csv")
    assert tuple(found[0]) == COLUMNS
    assert [row["verdict"] for row in found] == ["sat", "unsat"]
    assert re.search(r"small +2/2 +1 +1 +0 +0 +0 +0", run.out)


def test_bench_skips_rows_that_are_done_and_survives_a_cut_last_row(
    cli: Cli, instances: Path
) -> None:
    first = "small,net.onnx,sat.vnnlib,sat,0.100,m,\n"
    Path("out.csv").write_text(",".join(COLUMNS) + "\n" + first + "small,net.onnx,uns")
    run = cli("bench", instances, "-o", "out.csv")
    assert "1 of 2 rows are done already" in run.err
    assert Path("out.csv").read_text().splitlines()[1] == first.strip()
    assert rows("out.csv")[-1]["vnnlib"] == "unsat.vnnlib"
    assert "2/2" in run.out


def test_bench_tells_a_contradiction_and_ends_with_1(cli: Cli, instances: Path) -> None:
    instances.write_text(HEADER + ROWS.replace(",unsat\n", ",sat\n"))
    run = cli("bench", instances)
    assert run.code == 1
    assert "contradicts `sat`: small net.onnx unsat.vnnlib" in run.out
    assert "CONTRADICTS sat" in run.err


def test_a_row_that_cannot_be_asked_is_an_error_and_the_others_go_on(
    cli: Cli, instances: Path
) -> None:
    instances.write_text(HEADER + "small,absent.onnx,sat.vnnlib,10,sat\n" + ROWS)
    run = cli("bench", instances, "-o", "out.csv")
    assert [row["verdict"] for row in rows("out.csv")] == ["error", "sat", "unsat"]
    assert rows("out.csv")[0]["method"] == "E0501"
    assert run.code == 0


def test_rows_are_filtered_by_any_of_their_names(cli: Cli, instances: Path) -> None:
    cli("bench", instances, "-o", "out.csv", "-k", "small and unsat")
    assert [row["vnnlib"] for row in rows("out.csv")] == ["unsat.vnnlib"]
    assert cli("bench", instances, "-k", "absent").code == 5


def test_a_results_file_of_another_kind_is_not_written_to(cli: Cli, instances: Path) -> None:
    run = cli("bench", instances, "-o", instances)
    assert run.code == 2
    assert "E0857" in run.err
    assert instances.read_text() == HEADER + ROWS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "onnx,vnnlib\n",
        HEADER + "a,b,c,soon,sat\n",
        HEADER + "a,b,c,nan,sat\n",
        HEADER + "a,b,c,-1,sat\n",
        HEADER + "a,,c,1,sat\n",
        HEADER + "x" * 2**18 + ",b,c,1,sat\n",
    ],
    ids=range(7),
)
def test_a_malformed_table_is_a_diagnostic(cli: Cli, text: str) -> None:
    Path("bad.csv").write_text(text)
    run = cli("bench", "bad.csv")
    assert (run.code, "E0857" in run.err) == (2, True)


def test_a_time_limit_that_reading_uses_up_is_a_timeout(cli: Cli, instances: Path) -> None:
    assert cli("bench", instances, "--timeout", "1e-9").out.count("timeout,") == 2


@given(st.fractions())
def test_a_decimal_is_exact_where_it_can_be(value: Fraction) -> None:
    text = decimal(value)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1 and value.denominator < 10**15:
        assert Fraction(text) == value
    else:
        assert float(text) == float(value)


def test_rows_of_acasxu_agree_with_the_table(cli: Cli, shared: Path) -> None:
    table = shared / "data" / "vnncomp" / "instances.csv"
    only = "acasxu and 2_7 and (prop_2 or prop_3)"
    run = cli("bench", table, "-k", only, "-o", "out.csv", "--timeout", "30")
    assert run.code == 0
    assert [row["verdict"] for row in rows("out.csv")] == ["sat", "unsat"]

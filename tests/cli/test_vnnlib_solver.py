"""`specdsl-vnnlib`: one word on stdout, the assignment after `sat`, everything else on stderr."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from specdsl.cli import vnnlib_solver
from specdsl.cli.vnnlib_solver import CAPABILITIES, main
from specdsl.run.vnnlib import FIXED, supported
from tests.cli.conftest import Run
from tests.query.vnnlib2_scenes import HEAD, completed, judge, networks

BOUNDS = "".join(
    f"(assert (and (>= {x} -1.0) (<= {x} 1.0)))\n"
    for x in ("X[0,0]", "X[0,1]", "A[0,0]", "A[0,1]", "V[0]", "V[1]")
)
TIED = "(assert (and (== A[0,0] X[0,1]) (== A[0,1] X[0,0]) (== V[0] Y[0,0]) (== V[1] H[0,1])))\n"
SAT = HEAD + BOUNDS + "(assert (and (> Y[0,0] B[0,1]) (!= H[0,2] 0.0) (>= W -0.5)))\n"
TIED_SAT = HEAD + BOUNDS + TIED + "(assert (> (+ Y[0,0] 1.0) B[0,1]))\n"
UNSAT = HEAD + BOUNDS + "(assert (> Y[0,0] 100.0))\n"
PRODUCT = HEAD + BOUNDS + "(assert (> (* Y[0,0] X[0,1]) 0.5))\n"
FIRST = (
    "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)\n"
    "(assert (and (<= 0 X_0) (<= X_0 1) (<= 0 X_1) (<= X_1 1) (>= Y_0 0.75)))\n"
)


@pytest.fixture
def solver(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    # The process of the tests is older than any time-out.
    monkeypatch.setattr(vnnlib_solver, "_process_age", lambda: None)
    monkeypatch.setattr(vnnlib_solver, "LOADED", time.monotonic())
    for name, network in networks().items():
        Path(f"{name}.onnx").write_bytes(network.model)

    def run(*arguments: object) -> Run:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Run(ended.value.code, captured.out, captured.err)

    return run


BOTH = ("--network", "f=f.onnx", "--network", "h=h.onnx")


def query(text: str, name: str = "q.vnnlib") -> str:
    content = text.encode()
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def assignment(lines: list[str]) -> dict[str, list[Fraction]]:
    """`NAME TYPE [dims]`, then as many values, again and again."""
    found: dict[str, list[Fraction]] = {}
    while lines:
        name, element, dims = lines.pop(0).split(" ", 2)
        assert element == "real"
        size = int(np.prod([int(n) for n in dims.strip("[]").split(",") if n], dtype=int))
        found[name] = [Fraction(lines.pop(0)) for _ in range(size)]
    return found


@pytest.mark.parametrize(
    ("text", "backend"),
    [(SAT, "portfolio"), (TIED_SAT, "portfolio"), (PRODUCT, "smt")],
    ids=["free", "tied", "product"],
)
def test_after_sat_every_variable_is_printed_in_order_and_the_assertions_hold(
    solver, text: str, backend: str
) -> None:
    run = solver("verify", query(text), *BOTH, "--timeout", "60", "--using", backend)
    assert run.code == 0, run.err
    word, *lines = run.out.splitlines()
    assert word == "sat", run.err
    values = assignment(lines)
    assert list(values) == ["X", "H", "Y", "A", "B", "V", "W"]
    assert judge(text)(values)
    # The outputs are what the networks say.
    exact = completed({name: values[name] for name in ("X", "A", "V")})
    for name, numbers in exact.items():
        assert np.allclose([float(v) for v in numbers], [float(v) for v in values[name]])


def test_unsat_is_one_word(solver) -> None:
    run = solver("verify", query(UNSAT), *BOTH, "--timeout", "60.0")
    assert (run.code, run.out) == (0, "unsat\n"), run.err


def test_the_word_verify_may_be_left_out_and_files_may_be_gzipped(solver) -> None:
    run = solver(query(UNSAT.replace("real", "Real"), "q.vnnlib.gz"), *BOTH)
    assert (run.code, run.out) == (0, "unsat\n"), run.err


def test_version_one_is_answered_too(solver) -> None:
    run = solver(query(FIRST), "--network", "any=h.onnx", "--timeout", "60")
    word, *lines = run.out.splitlines()
    assert word == "sat", run.err
    values = assignment(lines)
    assert list(values) == ["X_0", "X_1", "Y_0"]
    (x,), (y,), (said,) = values.values()
    assert said == abs(x) - abs(y) / 2 + Fraction(1, 4) >= Fraction(3, 4)


def test_assignments_go_to_files(solver, tmp_path: Path) -> None:
    run = solver("verify", query(SAT), *BOTH, "--serialise-assignments", "out/here")
    assert run.out == "sat\n", run.err
    values: dict[str, list[Fraction]] = {}
    for path in (tmp_path / "out" / "here").iterdir():
        tensor = onnx.TensorProto.FromString(path.read_bytes())
        assert path.name == f"{tensor.name}.pb"
        values[tensor.name] = [Fraction(float(v)) for v in numpy_helper.to_array(tensor).flat]
        shape = {"X": [1, 2], "H": [1, 3], "V": [2], "W": []}.get(tensor.name, [1, 2])
        assert list(tensor.dims) == shape
    assert judge(SAT)(values)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "missing.vnnlib", *BOTH), "E0501"),
        (("verify", "q.vnnlib", "--network", "f=f.onnx"), "E1012"),
        (("verify", "q.vnnlib", *BOTH, "--network", "k=f.onnx"), "E1012"),
        (("verify", "q.vnnlib", *BOTH, "--network", "f=f.onnx"), "E1012"),
        (("verify", "q.vnnlib", "--network", "f.onnx"), "E1012"),
        (("verify", "q.vnnlib", "--network", "f=h.onnx", "--network", "h=f.onnx"), "E1009"),
        (("verify", "types.vnnlib", "--network", "h=h.onnx"), "E1011"),
        (("verify", "q.vnnlib"), "--network"),
        (("verify", "q.vnnlib", *BOTH, "--timeout", "soon"), "timeout"),
        (("verify", "deep.vnnlib", *BOTH), "E1001"),
        (("supports", "--everything"), "--everything"),
    ],
)
def test_errors_are_told_on_stderr_and_end_with_two(
    solver, arguments: tuple[str, ...], said: str
) -> None:
    query(UNSAT)
    types = "(declare-input V float64 [2]) (declare-output W float64 [])"
    query(f"(vnnlib-version <2.0>)(declare-network h {types})(assert (<= W 1.0))", "types.vnnlib")
    query("(vnnlib-version <2.0>)(assert " + "(and " * 60_000, "deep.vnnlib")
    run = solver(*arguments)
    assert (run.code, run.out) == (2, "")
    assert said in run.err
    assert "Traceback" not in run.err


def test_name_and_version_are_one_line(solver) -> None:
    assert solver("--name").out == "specdsl\n"
    assert len(solver("--version").out.split()) == 1


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_supports_prints_one_item_a_line(solver, capability: str) -> None:
    run = solver("supports", f"--{capability}")
    assert run.code == 0, run.err
    assert run.out.splitlines() == list(supported(capability))
    assert all(len(line.split()) == 1 for line in run.out.splitlines())


def test_every_capability_is_known() -> None:
    assert {*FIXED, "onnx-opset-versions", "onnx-operators"} == set(CAPABILITIES)
    assert "Relu" in supported("onnx-operators")


def in_process(folder: Path, *arguments: str, **environment: str) -> tuple[str, int, float]:
    for name, network in networks().items():
        (folder / f"{name}.onnx").write_bytes(network.model)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from specdsl.cli.vnnlib_solver import main; main()", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.stdout, done.returncode, time.monotonic() - start


def test_the_answer_comes_before_the_time_out(tmp_path: Path) -> None:
    (tmp_path / "q.vnnlib").write_text(UNSAT)
    out, code, seconds = in_process(tmp_path, "verify", "q.vnnlib", *BOTH, "--timeout", "0.6")
    # Half of the time-out is not enough to import torch: the timer answers.
    assert (out, code) == ("timed-out\n", 0)
    assert seconds < 5
    word = {"SPECDSL_VNNLIB_TIMEOUT_WORD": "timeout"}
    out, code, _ = in_process(tmp_path, "q.vnnlib", *BOTH, "--timeout", "0.6", **word)
    assert (out, code) == ("timeout\n", 0)


def test_a_tiny_query_takes_less_than_five_seconds_with_start_up(tmp_path: Path) -> None:
    (tmp_path / "q.vnnlib").write_text(UNSAT)
    before = os.times()
    out, _, _ = in_process(tmp_path, "verify", "q.vnnlib", *BOTH)
    after = os.times()
    assert out == "unsat\n"
    # Processor time, for machines that do other things too: 2 s where it was measured.
    children = after.children_user - before.children_user
    assert children + after.children_system - before.children_system < 5

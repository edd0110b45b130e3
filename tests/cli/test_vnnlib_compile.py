"""`specdsl compile --to vnnlib`: a file for each obligation, and the networks beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import vnnlib

from specdsl.cli.vnnlib_solver import main
from tests.cli.conftest import Cli

SPEC = """spec 1.0
network f: real[2] -> real[2] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, 0.5])
  layer relu
  layer dense(weight = [[1, 2], [-1, 1]], bias = [-0.5, 0])
}
property holds = forall x in box([0, 0], [1, 1/3]): f(x)[1] <= 9
property fails = forall x in box([0, 0], [1, 1/3]): f(x)[1] <= f(x)[0] - 1
check holds, fails
"""


def test_obligations_share_one_network_file_and_are_answered_like_the_spec(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("f.spec").write_text(SPEC)
    run = cli("compile", "f.spec", "--to", "vnnlib", "-o", "out")
    assert run.code == 0, run.err
    assert run.out.splitlines() == ["out/holds.vnnlib", "out/f.onnx", "out/fails.vnnlib"]
    for name, word in (("holds", "unsat"), ("fails", "sat")):
        text = Path(f"out/{name}.vnnlib").read_text()
        first = text.splitlines()[0]
        assert first == f"; specdsl-vnnlib verify {name}.vnnlib --network f=f.onnx"
        vnnlib.parse_query_string(text)
        with pytest.raises(SystemExit) as ended:
            main(["verify", f"out/{name}.vnnlib", "--network", "f=out/f.onnx"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.splitlines()[0] == word


def test_on_a_stream_the_networks_are_named_as_left_out(cli: Cli) -> None:
    Path("f.spec").write_text(SPEC)
    run = cli("compile", "f.spec", "--to", "vnnlib", "-k", "holds")
    assert run.code == 0, run.err
    vnnlib.parse_query_string(run.out)
    assert "`f.onnx`" in run.err
    assert cli("compile", "f.spec", "--to", "vnnlib").code == 2, "two files on one stream"


def test_networks_of_one_name_and_different_weights_get_files_of_their_own(cli: Cli) -> None:
    sweep = SPEC.replace("spec 1.0\n", "spec 1.0\nparam w = 1\n").replace("[[1, -1]", "[[w, -1]")
    Path("f.spec").write_text(sweep)
    assert cli("compile", "f.spec", "--to", "vnnlib", "-o", "out").code == 0
    before = Path("out/f.onnx").read_bytes()
    assert cli("compile", "f.spec", "--to", "vnnlib", "-o", "out", "-D", "w=2").code == 0
    assert Path("out/f.onnx").read_bytes() != before

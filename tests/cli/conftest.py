"""The command line in this process, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from specdsl.cli import main
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.ops import Dense, Input
from specdsl.graph.to_onnx import export


@dataclass
class Run:
    """What one invocation left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Run]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Run:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Run(ended.value.code, captured.out, captured.err)

    return run


HEADER = "benchmark,onnx,vnnlib,timeout_s,verdict\n"
ROWS = "small,net.onnx,sat.vnnlib,10,sat\nsmall,net.onnx,unsat.vnnlib,10,unsat\n"


def query(bound: str) -> str:
    """Unsafe where `2 x >= bound` over x in [0.1, 1]."""
    return f"""(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (>= X_0 0.1)) (assert (<= X_0 1)) (assert (>= Y_0 {bound}))
"""


@pytest.fixture
def instances(cli: Cli) -> Path:
    """A table of two rows, in the empty folder that `cli` has made the working directory."""
    builder = GraphBuilder()
    x = builder.add(Input((1, 1)), name="x")
    y = builder.add(Dense(np.array([[2.0]]), np.zeros(1)), x, name="y")
    Path("net.onnx").write_bytes(export(builder.build(y)))
    Path("sat.vnnlib").write_text(query("1.5"))
    Path("unsat.vnnlib").write_text(query("2.5"))
    path = Path("instances.csv")
    path.write_text(HEADER + ROWS)
    return path

"""The profile of one instance says what became of it, and where its time went."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.profile_instance import main
from tests.cli.conftest import Cli, cli, instances

__all__ = ["cli", "instances"]


def test_a_profile_names_the_row_the_verdict_and_functions(
    cli: Cli, instances: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["profile", str(instances), "-k", "unsat", "--lines", "5", "-o", "p.pstats"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    printed = capsys.readouterr().out
    assert printed.startswith("small net.onnx unsat.vnnlib: unsat, ")
    assert "answer_seconds" in printed
    assert "solve_row" in printed
    assert Path("p.pstats").exists()


def test_no_row_that_matches_is_said(
    cli: Cli, instances: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["profile", str(instances), "-k", "absent"])
    with pytest.raises(SystemExit, match="no row"):
        main()

"""20,000 changed files: diagnostics or results, and nothing else (see docs/fuzzing.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import SHARES
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import PROJECT

RUNS = 20_000


@pytest.mark.timeout(900)
def test_changed_files_give_diagnostics_and_nothing_else(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.fuzz", "--runs", str(RUNS), "--json", str(figures)]
    result = subprocess.run(
        [*command, "-o", str(tmp_path / "findings")],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    reports = json.loads(figures.read_text())
    assert [r["target"] for r in reports] == [t.name for t in TARGETS]
    assert sum(r["runs"] for r in reports) >= RUNS
    # A mutator that breaks everything shows nothing, nor does one that changes nothing.
    assert all(0 < r["refused"] < r["runs"] for r in reports), result.stdout


def test_shares_add_up_to_the_runs() -> None:
    assert SHARES == RUNS

"""Smoothed classifiers on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SPEC = """spec 1.0
network f: real[2] -> real[2] { layer dense(weight = [[1, 0], [-1, 0]], bias = [1, -1]) }
let g = smooth(f, 1/2)
property p = forall x in norm_ball([0, 0], 1/2, l2): argmax(g(x)) == 0
check p
  expect confidence >= 0.99
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "f.spec"
    path.write_text(SPEC)
    return path


def test_the_backend_can_be_named_there(cli: Cli, path: Path) -> None:
    sure = cli("check", path, "--using", "sampling(samples = 4_000, alpha = 1/200)")
    assert sure.code == 0, sure
    assert "unknown, with a confidence of 0.995" in sure.out
    assert "expect confidence >= 0.99: met" in sure.out
    assert "0 verified" in sure.out
    unsure = cli("check", path, "--using", "sampling(samples = 4)")
    assert unsure.code == 1, unsure
    assert "`samples = " in unsure.out
    refused = cli("check", path, "--using", "search")
    assert refused.code == 2, refused
    assert "`search` does not support smoothed classifiers" in refused.err
    assert "use `sampling`" in refused.err


@pytest.mark.parametrize("stage", ["lp", "mps", "nl", "smt2", "vnnlib"])
def test_no_question_without_the_noise_is_written_for_others(
    cli: Cli, path: Path, stage: str
) -> None:
    out = path.parent / "out"
    refused = cli("compile", path, "--to", stage, "-o", out)
    assert refused.code == 2, refused
    assert "`sampling`" in refused.err
    assert not list(out.glob("*"))
    shown = cli("compile", path, "--to", "query")
    assert shown.code == 0, shown
    assert "standard deviation 0.5" in shown.out

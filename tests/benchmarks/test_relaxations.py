"""The benchmark of relaxations: its orders hold on a small run, and inversions are seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.relaxations.asking import WAYS_OF, Row, ask
from benchmarks.relaxations.networks import DIGITS, network
from benchmarks.relaxations.orders import inversions
from benchmarks.relaxations.tables import draw, table

ROW = Row("digits", "dual", "LP-All", 0, "verified", None, 0.5, 0.1)


@pytest.mark.parametrize(
    ("weak", "strong", "text"),
    [
        (
            replace(ROW, method="LP-Last"),
            replace(ROW, verdict="unknown", bound=-0.1),
            "LP-Last verifies, LP-All says unknown",
        ),
        (
            replace(ROW, method="CROWN", verdict="unknown", bound=-0.4),
            replace(ROW, verdict="unknown", bound=-0.5),
            "CROWN proves -0.4, LP-All -0.5",
        ),
        (
            replace(ROW, method="PGD", verdict="falsified", bound=None),
            ROW,
            "PGD falsifies what LP-All verifies",
        ),
    ],
)
def test_what_contradicts_theory_is_seen(weak: Row, strong: Row, text: str) -> None:
    assert any(found.endswith(text) for found in inversions([weak, strong]))
    assert not list(inversions([weak, replace(strong, image=1)]))
    assert not list(inversions([ROW, replace(ROW, method="LP-Last", verdict="unknown", bound=-1)]))


def test_a_small_run_keeps_to_all_orders(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    net = network(DIGITS, "normal", tmp_path, tmp_path)
    rows = [
        row
        for method in WAYS_OF[DIGITS.name]
        for row in ask(DIGITS, "normal", net, method, tmp_path, 3)
    ]
    assert {row.verdict for row in rows} == {"verified", "falsified", "unknown"}
    assert not list(inversions(rows))
    assert table(rows).count("digits") == len(WAYS_OF[DIGITS.name])
    draw(rows, tmp_path / "plot.svg")
    assert "LP-Greedy" in (tmp_path / "plot.svg").read_text()

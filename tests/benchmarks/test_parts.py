"""The cost of parts, on the smallest network of the data."""

from __future__ import annotations

from pathlib import Path

from benchmarks.parts import costs
from specdsl.run.instances.tables import read_instances


def test_parts_are_counted_after_the_root(shared: Path) -> None:
    rows = read_instances(shared / "data" / "vnncomp" / "instances.csv")
    safe = [row for row in rows if row.benchmark == "safenlp"]
    found = list(costs(iter(safe), 0.3))
    assert found
    for each in found:
        assert each.seconds > 0
        assert each.parts >= 200
        assert each.multiplications > each.unstable > 0
        assert each.line.count("|") == 9

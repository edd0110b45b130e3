"""Every network of the benchmark families imports, agrees with the runtime, and has sound bounds.

The same measurements as `benchmarks.import_networks`, family by family: 100 points of the box of
the first instance, evaluated in float64 here and in float32 by ONNX Runtime (the tolerance of
`differential`), and finite bounds that contain the values at all of them.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks.import_networks import Subject, measure, subjects
from specdsl.files import read_bytes
from tests.conftest import SHARED

DATA = SHARED / "data" / "vnncomp"
INSTANCES = DATA / "instances.csv"
# Networks that slice at positions they compute from the input, which no graph here can say.
REFUSED = {"cctsdb_yolo": "must be constant, but depend on the input"}
# CROWN bounds of the largest networks take minutes.
SECONDS = 600
# Of processor time, which does not depend on what else the machine does.
IMPORT_SECONDS = 10.0
# Peak memory of an import in unpacked sizes, of networks whose size outweighs the interpreter's.
MEMORY_FACTOR = 4.0


def families() -> list[str]:
    """Their names, in the order of the table of instances; none where the data are absent."""
    if not INSTANCES.exists():
        return []
    with INSTANCES.open(newline="") as file:
        return list(dict.fromkeys(row["benchmark"] for row in csv.DictReader(file)))


@cache
def networks(family: str) -> list[Subject]:
    return subjects(DATA, [family])


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("family", families())
def test_networks_import_agree_and_have_interval_bounds(shared: Path, family: str) -> None:
    for subject in networks(family):
        measured = measure(subject, ["interval"], timeout=SECONDS)
        problems = list(measured.problems())
        if family in REFUSED:
            assert REFUSED[family] in problems[0][1]
            continue
        assert problems == [], subject.network.name


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("family", [f for f in families() if f not in REFUSED])
def test_the_first_network_of_a_family_has_crown_bounds(shared: Path, family: str) -> None:
    measured = measure(networks(family)[0], ["crown"], timeout=SECONDS)
    assert list(measured.problems()) == []


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_the_largest_network_imports_in_seconds_and_in_four_times_its_size(shared: Path) -> None:
    largest = max(networks("tllverifybench"), key=lambda s: s.network.stat().st_size)
    program = (
        "import pathlib, resource, sys, time\n"
        "from specdsl.files import read_bytes\n"
        "from specdsl.graph.onnx_import.load import load_onnx\n"
        "network = load_onnx(read_bytes(pathlib.Path(sys.argv[1])), 'largest')\n"
        "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(largest.network)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kibibytes = map(float, result.stdout.split())
    assert seconds < IMPORT_SECONDS
    assert kibibytes * 1024 < MEMORY_FACTOR * len(read_bytes(largest.network))

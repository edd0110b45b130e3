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

import numpy as np
import pytest

from benchmarks.import_networks import Subject, measure, subjects
from specdsl.bounds import pre_activation_bounds
from specdsl.files import read_bytes
from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.rewrites.simplify import simplify
from specdsl.query.vnnlib.read import read_query
from tests.conftest import SHARED

DATA = SHARED / "data" / "vnncomp"
INSTANCES = DATA / "instances.csv"
# Networks that divide by what interval bounds say may be 0: an area of overlapping boxes.
UNBOUNDED = {"cctsdb_yolo": "`Reciprocal` of a value that may be 0"}
# Their patch may be anywhere on the image: CROWN bounds of that box take longer than `SECONDS`.
ANYWHERE = ("cctsdb_yolo",)
# The first of the two entries that say where the patch is.
PLACES = 12288
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
        if family in UNBOUNDED:
            ((step, reason),) = problems
            assert step == "interval"
            assert UNBOUNDED[family] in reason
            continue
        assert problems == [], subject.network.name


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("family", [f for f in families() if f not in ANYWHERE])
def test_the_first_network_of_a_family_has_crown_bounds(shared: Path, family: str) -> None:
    measured = measure(networks(family)[0], ["crown"], timeout=SECONDS)
    assert list(measured.problems()) == []


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("family", [f for f in families() if f in ANYWHERE])
def test_a_network_with_a_patch_has_crown_bounds_where_its_place_is_known(family: str) -> None:
    for subject in networks(family):
        network = load_onnx(read_bytes(subject.network), "patch")
        graph = simplify(network.graph)
        text = read_bytes(subject.query).decode()
        for axis, low in ((PLACES, 0.25), (PLACES + 1, 5.25)):
            text = text.replace(f">= X_{axis} 0.0", f">= X_{axis} {low}")
            text = text.replace(f"<= X_{axis} 62.0", f"<= X_{axis} {low + 0.5}")
        inputs = read_query(text.encode(), network, "fixed").cases[0].inputs
        lower, upper = (bound.reshape(-1) for bound in inputs.box.float_bounds())
        assert (upper - lower).max() == 0.5
        bounds = pre_activation_bounds(graph, inputs, "crown")[graph.output]
        for share in (0.0, 0.5, 1.0):
            point = np.clip(lower + share * (upper - lower), lower, upper)
            value = evaluate(graph, {graph.input: point[np.newaxis]})[graph.output][0]
            assert (bounds.lower <= value).all()
            assert (value <= bounds.upper).all()
        assert 0 <= bounds.lower.item() <= bounds.upper.item() <= 1


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

"""Rewrites leave the networks of VNN-COMP what they were, with fewer nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.rewrites import expand_maxima, simplify
from tests.conftest import SHARED

pytestmark = pytest.mark.slow

# Merged weights round once, and deep networks magnify that: of the largest value met on the way.
TOLERANCE = 1e-9
# One network of each family: the smallest file. Larger ones have the same ops.
SMALLEST = {
    path.relative_to(SHARED / "data" / "vnncomp").parts[0]: path
    for path in sorted(
        (SHARED / "data" / "vnncomp").rglob("*.onnx*"), key=lambda p: -p.stat().st_size
    )
}


def outputs(graph: Graph, points: dict[str, np.ndarray]) -> list[np.ndarray]:
    values = evaluate(graph, points, graph.outputs)
    return [values[node] for node in graph.outputs]


@pytest.mark.parametrize("path", SMALLEST.values(), ids=SMALLEST.keys())
def test_a_simplified_network_computes_the_same(path: Path) -> None:
    try:
        graph = load_onnx(read_bytes(path), path.name, check=False).graph
    except SpecError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    points = {n: rng.uniform(0.1, 0.9, (3, *graph.shapes[n])) for n in graph.inputs}
    before = evaluate(graph, points)
    largest = max(1.0, *(float(np.abs(v).max(initial=0)) for v in before.values()))
    simplified = simplify(graph)
    assert len(simplified) <= len(graph)
    for rewritten in (simplified, expand_maxima(simplified)):
        after = outputs(rewritten, points)
        for node, value in zip(graph.outputs, after, strict=True):
            finite = np.isfinite(before[node])
            assert np.abs(before[node] - value)[finite].max(initial=0) <= TOLERANCE * largest

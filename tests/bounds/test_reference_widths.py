"""Widths of known networks on known boxes, as another library of bounds gives them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import lower_bounds
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.graph import Graph
from specdsl.graph.onnx_import.load import load_onnx

# The reference computed in float32.
TOLERANCE = 1e-4
FULL = ["mnist_256x2", "mnist_256x4", "mnist_256x6"]
CONVOLUTIONAL = ["oval_base", "oval_wide", "oval_deep", "resnet_2b", "sri_resnet_a"]


def reference(shared: Path, case: str, method: str) -> tuple[str, float]:
    """File of the network, and the sum of upper less lower bounds over the outputs."""
    with (shared / "data/bounds/reference.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["case"], row["method"]) == (case, method):
                return row["network"], float(row["sum_upper_minus_lower"])
    raise LookupError(f"no {method} of {case}")


def network(path: Path) -> Graph:
    return load_onnx(gzip.decompress(path.read_bytes()), path.name, check=False).graph


def width(graph: Graph, box: Path, method: str) -> float:
    compiled = compile_graph(graph)
    ends = np.load(box)
    lower, upper = (torch.as_tensor(ends[name].reshape(1, -1)) for name in ("lb", "ub"))
    unit = torch.eye(graph.size(graph.output), dtype=torch.float64)
    rows = torch.cat([unit, -unit]).reshape(1, -1, *graph.shapes[graph.output])
    with torch.no_grad():
        found = lower_bounds(compiled, InputRegion(Interval(lower, upper)), rows, method)
    return -float(found.sum())


@pytest.mark.parametrize("case", FULL + CONVOLUTIONAL)
@pytest.mark.parametrize(("name", "method"), [("IBP", "interval"), ("CROWN-IBP", "crown_ibp")])
def test_widths_on_intervals_are_those_of_the_reference(
    case: str, name: str, method: str, shared: Path
) -> None:
    file, expected = reference(shared, case, name)
    graph = network(shared / "data" / file)
    found = width(graph, shared / f"data/bounds/{case}.npz", method)
    assert found == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("case", "name", "method"),
    [
        *((case, "forward+backward", "forward_crown") for case in FULL),
        *((case, "CROWN", "crown") for case in [*FULL, "oval_base"]),
    ],
)
def test_widths_are_those_of_the_reference_or_less(
    case: str, name: str, method: str, shared: Path
) -> None:
    """What lies inside is intersected with intervals here."""
    file, expected = reference(shared, case, name)
    graph = network(shared / "data" / file)
    found = width(graph, shared / f"data/bounds/{case}.npz", method)
    assert found <= expected * (1 + TOLERANCE)

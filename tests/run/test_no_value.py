"""Networks that have no value somewhere: nothing is ever verified about a point without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

import specdsl
from tests.graph.onnx_models import model

Nodes = list[tuple[str, list[str], list[str], dict[str, object]]]

# Each has a value for the second entry, which is positive, and none for some of the first one.
NETWORKS: Mapping[str, tuple[Nodes, dict[str, np.ndarray]]] = {
    "log": ([("Log", ["x"], ["y"], {})], {}),
    "root": ([("Sqrt", ["x"], ["y"], {})], {}),
    "divided": ([("Reciprocal", ["x"], ["y"], {})], {}),
    "log, clipped": ([("Log", ["x"], ["l"], {}), ("Relu", ["l"], ["y"], {})], {}),
    "log minus log": ([("Log", ["x"], ["l"], {}), ("Sub", ["l", "l"], ["y"], {})], {}),
    "log times 0": (
        [("Log", ["x"], ["l"], {}), ("Mul", ["l", "zero"], ["y"], {})],
        {"zero": np.zeros((1, 2), np.float32)},
    ),
    "e^log": ([("Log", ["x"], ["l"], {}), ("Exp", ["l"], ["y"], {})], {}),
    "softmax of log": ([("Log", ["x"], ["l"], {}), ("Softmax", ["l"], ["y"], {"axis": 1})], {}),
}

CLAIMS = {
    "one entry": "g(x)[0][0] <= 100 and g(x)[0][0] >= -100",
    "a comparison": "g(x)[0][0] <= g(x)[0][1] + 100",
    "of equal sign": "g(x)[0][0] <= g(x)[0][1]",
}


@pytest.mark.parametrize("using", ["portfolio", "incomplete", "lp", "milp", "search", "smt"])
@pytest.mark.parametrize("name", NETWORKS)
def test_points_without_a_value_are_never_verified(tmp_path: Path, name: str, using: str) -> None:
    nodes, constants = NETWORKS[name]
    onnx.save(model(nodes, [1, 2], constants), str(tmp_path / "net.onnx"))
    properties = "\n".join(
        f"property p{i} {{ forall x in box([[-1, 2]], [[1, 3]]) show {claim} }}\ncheck p{i}"
        for i, claim in enumerate(CLAIMS.values())
    )
    path = tmp_path / "p.spec"
    path.write_text(
        f'spec 1.0\nnetwork g: real[1, 2] -> real[1, 2] = onnx("net.onnx")\n{properties}\n'
    )
    results = specdsl.load(str(path)).check(using=using, timeout=2).results
    assert len(results) == len(CLAIMS)
    assert all(result.verdict != "verified" for result in results)

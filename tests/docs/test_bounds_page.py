"""The example of the page on bounds prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.to_onnx import export

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def xor() -> bytes:
    """Says by its first output whether the signs of two numbers differ."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    hidden = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    h = builder.add(ops.Dense(hidden, np.zeros(4)), x)
    outputs = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    y = builder.add(ops.Dense(outputs, np.zeros(2)), builder.add(ops.Relu(), h))
    return export(builder.build(y), "xor")


def test_the_examples_do_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("xor.onnx").write_bytes(xor())
    first, several, training = blocks("python")
    names: dict[str, Any] = {}
    exec(first, names)
    assert [capsys.readouterr().out] == blocks("text")
    exec(several, names)
    pair, bound = names["pair"], names["specdsl"].bound
    alone = [bound("xor.onnx", names["region"], m, rows=[[1, -1]]) for m in pair.methods]
    assert pair.lower[0] == max(found.lower[0] for found in alone)
    assert pair.upper[0] == min(found.upper[0] for found in alone)
    exec(training, names)
    assert all(bool(p.weight.grad.isfinite().all()) for p in names["parameters"].values())

"""The example of the page on bounds prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.to_onnx import export

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def xor() -> bytes:
    """Says by its first output whether the signs of two numbers differ."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    hidden = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    h = builder.add(ops.Dense(hidden, np.zeros(4)), x)
    outputs = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    y = builder.add(ops.Dense(outputs, np.zeros(2)), builder.add(ops.Relu(), h))
    return export(builder.build(y), "xor")


def test_the_example_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("xor.onnx").write_bytes(xor())
    exec(block("python"), {})
    assert capsys.readouterr().out == block("text")

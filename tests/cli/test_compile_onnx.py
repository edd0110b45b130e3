"""`compile --to onnx`: networks written in layers become files, and load back equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.query.elaboration.values.resources import Resources
from tests.cli.conftest import Cli
from tests.query.specs import load

SPEC = """spec 1.0
param wide: real = 2 in [0, 9]
space Point { a: real in [1/2, 2]  b: real in [-2, 1] }
network f: Point -> real[3] {
  layer dense(weight = [[1, -1], [1, 1], [wide, 0]], bias = [0, 1/2, 0])
  layer gelu
  layer softmax
}
network g: real[3] -> real { layer dense(weight = [[1, 2, 3]], bias = [0]) layer hardswish }
network both: Point -> real = f >> g
property p = forall x in Point: both(x) <= 3
check p
"""
# Dyadic numbers go into float32 as they are; only functions differ.
FLOAT64 = 1e-12


def write(text: str = SPEC) -> str:
    Path("nets.spec").write_text(text)
    return "nets.spec"


def test_each_network_is_a_file_that_loads_back_as_the_same_function(cli: Cli) -> None:
    run = cli("compile", write(), "--to", "onnx", "-o", "out")
    assert run.code == 0
    assert run.out.splitlines() == ["out/f.onnx", "out/g.onnx"]
    spec, resources = load(SPEC), Resources()
    for name, size in (("f", 2), ("g", 3)):
        content = Path(f"out/{name}.onnx").read_bytes()
        onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
        again = load_onnx(content, name).graph
        graph = resources.network(spec, name).imported.graph
        points = np.random.default_rng(1).normal(size=(50, 1, size))
        found = evaluate(again, {again.input: points})[again.output]
        wanted = evaluate(graph, {graph.input: points})[graph.output]
        assert np.allclose(found, wanted, rtol=FLOAT64, atol=FLOAT64)


def test_several_networks_are_no_stream_and_one_is_selected(cli: Cli) -> None:
    run = cli("compile", write(), "--to", "onnx")
    assert run.code == 2
    assert "error[E0858]: 2 texts" in run.err
    assert cli("compile", write(), "--to", "onnx", "-k", "::f", "-o", "one").code == 0
    assert [path.name for path in Path("one").iterdir()] == ["f.onnx"]


def test_a_sweep_writes_each_network_that_differs(cli: Cli) -> None:
    run = cli("compile", write(), "--to", "onnx", "-D", "wide=1..3:1", "-o", "out")
    assert run.code == 0
    names = sorted(path.name for path in Path("out").iterdir())
    assert len(names) == 4
    assert sum(name.startswith("g") for name in names) == 1


def test_a_network_of_a_file_is_that_file(cli: Cli) -> None:
    assert cli("compile", write(), "--to", "onnx", "-o", ".").code == 0
    text = 'spec 1.0\nnetwork h: real[3] -> real = onnx("g.onnx")\n'
    text += "check forall x in box([0, 0, 0], [1, 1, 1]): h(x) <= 7\n"
    assert cli("compile", write(text), "--to", "onnx", "-o", "again").code == 0
    assert Path("again/h.onnx").read_bytes() == Path("g.onnx").read_bytes()


def test_a_network_without_weights_is_refused(cli: Cli) -> None:
    text = "spec 1.0\nnetwork h: real[2] -> real { layer dense(1) }\n"
    text += "check forall x in box([0, 0], [1, 1]): h(x) <= 7\n"
    run = cli("compile", write(text), "--to", "onnx", "-o", "out")
    assert run.code == 2
    assert "error[E0622]" in run.err

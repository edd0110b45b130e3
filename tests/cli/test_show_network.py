"""`specdsl show`: layers, totals, ops without a rule, and a picture."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from specdsl.backends.registry import CLASSES
from specdsl.graph import composites, ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.report.network_picture import MAX_BOXES, to_svg
from tests.cli.conftest import Cli
from tests.conftest import Golden

SPEC = """spec 1.0
network double: real[2] -> real[1] {
  layer h = dense(weight = [[2, 1], [0, 1]], bias = [0, 1])
  layer relu
  layer dense(weight = [[1, 1]], bias = [0])
}
network missing: real[2] -> real[1] = onnx("missing.onnx")
space Plane { x: real[2] in [0, 1] }
property low { forall p in Plane  show double(p) <= 9 }
check low
"""


@pytest.fixture(autouse=True)
def every_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backend is asked here, for that takes seconds: `tests/docs/test_ops_table.py` does."""
    monkeypatch.setattr("specdsl.run.support.with_rule", lambda _, classes: frozenset(classes))


def residual(depth: int = 1, head: bool = True) -> Graph:
    """Convolutions with skip connections, then a softmax or nothing."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 1, 3, 3)), name="image & <mask>")
    weight = np.full((1, 1, 3, 3), 0.25, dtype=np.float32)
    for _ in range(depth):
        conv = ops.Conv(weight, np.zeros(1, np.float32), (1, 1), ((1, 1), (1, 1)), (1, 1))
        inner = builder.add(ops.Relu(), builder.add(conv, node, name="conv"))
        node = builder.add(ops.Sum((1.0, 1.0)), inner, node, name="skip")
    if not head:
        return builder.build(node)
    flat = builder.add(ops.Reshape((1, 9)), node)
    logits = builder.add(ops.Dense(np.ones((3, 9), np.float32), np.zeros(3, np.float32)), flat)
    return builder.build(composites.softmax(builder, logits, 1))


def written(graph: Graph, name: str = "net.onnx") -> Path:
    path = Path(name)
    content = export(graph)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def tags(picture: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def test_every_backend_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def with_rule(backend: str, classes: tuple[type, ...]) -> frozenset[type]:
        asked.append(backend)
        return frozenset(classes)

    monkeypatch.setattr("specdsl.run.support.with_rule", with_rule)
    assert "every backend has a rule" in cli("show", written(residual())).out
    assert asked == list(CLASSES)


def test_a_network_is_shown_as_a_table(cli: Cli, golden: Golden) -> None:
    run = cli("show", written(residual()))
    assert run.code == 0
    table, _, _ = run.out.partition("backends with")
    golden.check("cli_show_network.txt", table)


def test_ops_without_a_rule_are_listed_by_backend(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_rule(backend: str, classes: tuple[type, ...]) -> frozenset[type]:
        return frozenset(() if backend == "smt" else classes)

    monkeypatch.setattr("specdsl.run.support.with_rule", with_rule)
    run = cli("show", written(residual(head=False)))
    assert "backends with a rule for every op: attack, incomplete" in run.out
    assert "smt has no rule for Conv, Relu, Sum" in run.out


def test_packed_networks_and_specs_are_shown(cli: Cli) -> None:
    assert "1x1x3x3" in cli("show", written(residual(), "net.onnx.gz")).out
    Path("f.spec").write_text(SPEC)
    run = cli("show", "f.spec")
    assert "double: input [1x2] -> " in run.out
    assert "E0501" in run.err
    assert run.code == 2


def test_a_picture_holds_every_node_and_nothing_foreign(cli: Cli) -> None:
    run = cli("show", written(residual(2)), "-o", "net.svg")
    assert run.code == 0
    assert "wrote net.svg" in run.err
    picture = Path("net.svg").read_text()
    assert "href" not in picture
    assert "url(" not in picture
    assert set(re.findall(r"https?://[^'\"]+", picture)) == {"http://www.w3.org/2000/svg"}
    words = " ".join("".join(e.itertext()) for e in tags(picture, "text"))
    assert words.count("Conv") == 2
    assert "net.onnx" in words


def test_names_of_nodes_are_text_in_pictures() -> None:
    graph = residual()
    titles = [e.text for e in tags(to_svg([("a < b", graph)]), "title")]
    assert titles == list(graph.order)
    assert "image & <mask>" in titles


def test_every_edge_and_box_is_drawn() -> None:
    graph = residual(head=False)
    picture = to_svg([("net", graph)])
    edges = [e for e in tags(picture, "path") if e.get("fill") == "none"]
    assert len(edges) == graph.dag.number_of_edges()
    assert len(tags(picture, "title")) == len(graph)


def test_chains_of_large_networks_are_one_box() -> None:
    graph = residual(MAX_BOXES, head=False)
    titles = [e.text or "" for e in tags(to_svg([("net", graph)]), "title")]
    assert len(titles) < len(graph)
    shown = [name for title in titles for name in title.split(", ")]
    assert sorted(shown) == sorted(graph.order)


def test_several_networks_stand_side_by_side() -> None:
    picture = to_svg([("one", residual()), ("two", residual())])
    places = [e.get("transform") or "" for e in tags(picture, "g")]
    across = {re.findall(r"[\d.]+", p)[0] for p in places if p}
    assert len(across) >= 2


def test_the_simplified_network_has_no_idle_nodes(cli: Cli) -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)), name="x")
    flat = builder.add(ops.Reshape((2,)), builder.add(ops.Relu(), x, name="first"))
    again = builder.add(ops.Relu(), flat, name="second")
    path = written(builder.build(again))
    assert "second" in cli("show", path).out
    assert "second" not in cli("show", path, "--simplified").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("net.txt",), "neither a network"),
        (("net.onnx", "-o", "net.png"), "does not end in `.svg`"),
        (("none.onnx",), "E0501"),
        (("damaged.onnx",), "E06"),
        (("net.onnx", "-o", "none/net.svg"), "E0854"),
    ],
)
def test_what_cannot_be_shown_is_said(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    written(residual())
    Path("damaged.onnx").write_bytes(b"no model")
    run = cli("show", *arguments)
    assert run.code == 2
    assert said in run.err

"""docs/ops.md says what the code does: `python -m tests.docs.test_ops_table` writes its tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from specdsl.bounds.compiled import compile_graph
from specdsl.graph import ops
from specdsl.graph.rewrites import simplify
from specdsl.graph.rewrites.fold_constants import magnifies
from specdsl.run.support import samples, without_rule
from tests.docs.ops_tables import backends, onnx_operators, torch_functions
from tests.docs.pages import with_parts
from tests.graph.test_rewrites import chain

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def with_tables(text: str) -> str:
    """The page with its tables made anew."""
    tables = {"backends": backends(), "onnx": onnx_operators(), "torch": torch_functions()}
    return with_parts(text, {name: f"\n{table}\n\n" for name, table in tables.items()})


def concrete_ops() -> set[type[ops.Op]]:
    """All ops but inputs and constants, and the kinds they are of."""
    exported = (getattr(ops, name) for name in ops.__all__)
    classes = {c for c in exported if isinstance(c, type) and issubclass(c, ops.Op)}
    kinds = {base for c in classes for base in c.__mro__[1:]} - {ops.LeakyRelu}
    return classes - kinds - {ops.Input, ops.Constant}


def test_the_page_has_the_tables() -> None:
    text = PAGE.read_text()
    assert text == with_tables(text)


def test_every_op_stands_in_the_table() -> None:
    assert set(samples()) == concrete_ops()


def test_the_page_lists_every_rewrite() -> None:
    folder = Path(simplify.__code__.co_filename).parent
    rules = {
        path.stem
        for path in folder.glob("*.py")
        if f"def {path.stem}(" in path.read_text() and path.stem not in ("simplify", "restate")
    }
    listed = set(re.findall(r"`(\w+)`", PAGE.read_text().partition("## Rewrites")[2]))
    assert rules <= listed


def test_bounds_and_rewrites_agree_on_what_magnifies_errors() -> None:
    """Weights may be rounded only where bounds measure that."""
    for sample in samples().values():
        if sample.operands == 1:
            graph = chain(sample.shape, sample.op)
            assert magnifies(graph) == (compile_graph(graph).outward is not None), sample.op


def test_a_graph_without_strange_ops_is_for_every_backend() -> None:
    graph = chain((1, 3), ops.Relu(), ops.Scale(np.array(2.0), np.array(1.0)))
    assert not any(without_rule(graph).values())


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))

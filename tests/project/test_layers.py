"""The floors of docs/architecture.md hold, and no import goes round in a circle."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "specdsl"


@dataclass(frozen=True)
class Row:
    """A row of the table: `libraries` maps a library to the only files that may use it, or None."""

    floor: int
    modules: tuple[str, ...]
    libraries: dict[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class Import:
    """`importer` imports `target`; `typing_only` under TYPE_CHECKING."""

    importer: str
    target: str
    line: int
    typing_only: bool


def read_table(text: str) -> list[Row]:
    rows: list[Row] = []
    for line in text.splitlines():
        match = re.fullmatch(r"\| (\d+) \| (.*?) \|(.*)\|", line)
        if match:
            modules = tuple(re.findall(r"`([\w.]+)`", match[2]))
            rows.append(Row(int(match[1]), modules, dict(_libraries(match[3]))))
    return rows


def _libraries(cell: str) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    for part in filter(None, (p.strip() for p in cell.split(";"))):
        names, narrowed, files = part.partition(" in ")
        for name in names.split(","):
            yield name.strip(), tuple(re.findall(r"`([\w.]+)`", files)) if narrowed else None


def row_of(module: str, rows: list[Row]) -> Row:
    """The row with the longest matching prefix; `specdsl` itself stands for the package only."""
    found = [
        (len(prefix), row)
        for row in rows
        for prefix in row.modules
        if module == prefix or (prefix != "specdsl" and module.startswith(prefix + "."))
    ]
    assert found, f"{module} is in no row of docs/architecture.md"
    return max(found, key=lambda pair: pair[0])[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str, text: str, known: frozenset[str]) -> Iterator[Import]:
    tree = ast.parse(text)
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            hidden |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, node in hidden)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target = inner if inner in known else str(node.module)
                yield Import(name, target, node.lineno, node in hidden)


def violations(all_imports: list[Import], rows: list[Row]) -> list[str]:
    found: list[str] = []
    for item in all_imports:
        here = row_of(item.importer, rows)
        root = item.target.partition(".")[0]
        place = f"{item.importer}:{item.line} imports {item.target}"
        if root == "specdsl":
            there = row_of(item.target, rows)
            if there is not here and there.floor >= here.floor:
                found.append(f"{place}: floor {there.floor} from floor {here.floor}")
        elif root not in sys.stdlib_module_names and root != "__future__":
            files = here.libraries.get(root, ())
            file = item.importer.rpartition(".")[2] + ".py"
            if files is not None and file not in files:
                found.append(f"{place}: {root} is not listed for it")
    return found


def cycles(all_imports: list[Import]) -> list[list[str]]:
    graph = nx.DiGraph()
    graph.add_edges_from(
        (i.importer, i.target)
        for i in all_imports
        if i.target.startswith("specdsl") and not i.typing_only and i.importer != i.target
    )
    return [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_table((ROOT / "docs" / "architecture.md").read_text())


@pytest.fixture(scope="module")
def all_imports() -> list[Import]:
    known = frozenset(MODULES)
    return [i for name, path in MODULES.items() for i in imports(name, path.read_text(), known)]


def test_the_table_is_read(rows: list[Row]) -> None:
    assert len(rows) > 15
    assert row_of("specdsl.backends.smt.backend", rows).libraries == {"numpy": None, "z3": None}
    assert row_of("specdsl.backends.registry", rows).modules == ("specdsl.backends",)
    assert row_of("specdsl.language.parsing.parser", rows).libraries["lark"] == ("parser.py",)


def test_every_import_stays_on_its_floor(rows: list[Row], all_imports: list[Import]) -> None:
    assert not violations(all_imports, rows)


def test_no_import_goes_round_in_a_circle(all_imports: list[Import]) -> None:
    assert not cycles(all_imports)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("specdsl.graph.ops", "from specdsl.query import query"),
        ("specdsl.graph.ops", "def f():\n    import specdsl.run.pipeline"),
        ("specdsl.graph.ops", "import torch"),
        ("specdsl.graph.ops", "import onnxruntime.capi"),
        ("specdsl.backends.milp.backend", "from specdsl.backends.lp import Lp"),
        ("specdsl.language.checking.check", "from lark import Lark"),
        ("specdsl.source", "import specdsl"),
        ("specdsl.run.pipeline", "import matplotlib"),
    ],
)
def test_the_check_itself_fails_on_a_wrong_import(rows: list[Row], name: str, text: str) -> None:
    assert violations(list(imports(name, text, frozenset(MODULES))), rows)


def test_the_cycle_check_itself_finds_a_cycle() -> None:
    there = Import("specdsl.a", "specdsl.b", 1, False)
    back = Import("specdsl.b", "specdsl.a", 1, False)
    assert cycles([there, back]) == [["specdsl.a", "specdsl.b"]]

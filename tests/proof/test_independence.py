"""The checker stands alone, and is small enough to be read."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import specdsl.proof

FOLDER = Path(specdsl.proof.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
OWN = "specdsl.proof"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_it_imports_numpy_and_the_standard_library(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert name.startswith(OWN) or top in {"numpy", "flint"} or top in sys.stdlib_module_names


def test_importing_it_loads_no_other_part_of_the_package() -> None:
    import subprocess

    script = (
        "import sys, specdsl.proof; "
        "own = [m for m in sys.modules if m.startswith('specdsl.') "
        "and not m.startswith('specdsl.proof')]; "
        "assert set(own) <= {'specdsl.version', 'specdsl.api'}, own"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

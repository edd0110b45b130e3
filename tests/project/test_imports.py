"""What must stay light stays light. Looked at in a fresh process, where nothing is loaded yet."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import specdsl

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("torch", "pyomo", "z3", "matplotlib", "onnx", "onnxruntime", "highspy", "sklearn", "scipy"),
    "optuna",
)

SHOW = "import sys; print(*{m.partition('.')[0] for m in sys.modules})"
HELP = """
import sys
from specdsl.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
"""
PARSE = """
from pathlib import Path
from specdsl.run.pipeline import load_spec
from specdsl.cli import check, compile, show, sweep
from specdsl.diagnostics import SpecError
load_spec(Path("SPEC"))
"""
SPEC = """spec 1.0
network net: real[1] -> real[1] = onnx("absent.onnx")
property p { forall x in [0, 1]  show net(x) > 0 }
check p
"""


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split("\n")[-2].split())


def heavy(code: str) -> set[str]:
    return loaded(code) & set(HEAVY)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded("import specdsl") & {*HEAVY, "numpy", "lark", "networkx", "rich", "click"}


def test_help_loads_nothing_heavy() -> None:
    assert not heavy(HELP)


def test_parsing_and_type_checking_load_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC)
    assert not heavy(PARSE.replace("SPEC", str(path)))


@pytest.mark.parametrize("module", ["z3", "scipy.sparse"])
def test_the_check_itself_sees_a_heavy_import(module: str) -> None:
    assert heavy(f"import specdsl\nimport {module}") >= {module.partition(".")[0]}


def test_help_takes_less_than_half_a_second() -> None:
    command = [sys.executable, "-c", HELP]
    seconds: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    # The fastest of five: what else the machine does at the moment is not our time.
    assert min(seconds) < 0.5


def test_every_public_name_is_there() -> None:
    for name in specdsl.__all__:
        assert getattr(specdsl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'bogus'"):
        _ = specdsl.bogus


def test_the_version_is_the_one_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == specdsl.__version__

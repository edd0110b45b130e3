"""What must stay light stays light. Looked at in a fresh process, where nothing is loaded yet."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import specdsl
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.ops import Dense, Input, Relu
from specdsl.graph.to_onnx import export

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("torch", "pyomo", "z3", "matplotlib", "onnx", "onnxruntime", "highspy", "sklearn", "scipy"),
    *("optuna", "cvxpy", "scs", "clarabel"),
)

SHOW = "import sys; print(*sys.modules)"
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
SOLVE = """
import sys
from specdsl.cli import main
try:
    main(["solve", "NETWORK", "QUERY"])
except SystemExit as ended:
    assert ended.code == 0
"""
QUERY = """(declare-const X_0 Real)(declare-const Y_0 Real)
(assert (>= X_0 -1.0))(assert (<= X_0 1.0))(assert (>= Y_0 2.5))
"""
UNUSED_BY_SOLVE = (
    *("networkx", "scipy", "lark", "pint", "rich", "pyomo", "highspy", "z3", "matplotlib"),
    *(
        "optuna",
        "sklearn",
        "specdsl.language",
        "specdsl.query.elaboration",
        "specdsl.report.tables",
    ),
    *("specdsl.backends.milp", "specdsl.backends.smt", "specdsl.backends.lp", "specdsl.training"),
)
SPEC = """spec 1.0
network net: real[1] -> real[1] = onnx("absent.onnx")
property p { forall x in [0, 1]  show net(x) > 0 }
check p
"""


def modules(code: str) -> set[str]:
    """All modules that a fresh interpreter holds after running `code`."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split("\n")[-2].split())


def loaded(code: str) -> set[str]:
    """The same without what is inside packages."""
    return {name.partition(".")[0] for name in modules(code)}


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


def test_solving_loads_only_what_the_instance_needs(tmp_path: Path) -> None:
    network, query = tmp_path / "net.onnx", tmp_path / "q.vnnlib"
    builder = GraphBuilder()
    x = builder.add(Input((1, 1)))
    hidden = builder.add(Relu(), builder.add(Dense(np.array([[1.0], [-1.0]]), np.zeros(2)), x))
    network.write_bytes(
        export(builder.build(builder.add(Dense(np.array([[1.0, 2.0]]), np.zeros(1)), hidden)))
    )
    query.write_text(QUERY)
    code = SOLVE.replace("NETWORK", str(network)).replace("QUERY", str(query))
    found = modules(code)
    assert "specdsl.backends.incomplete.backend" in found
    # Each takes between 20 ms and half a second of the second that a small instance takes in all.
    assert not found & set(UNUSED_BY_SOLVE)


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

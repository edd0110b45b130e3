"""Files that `compile` writes, read by programs that know nothing of us: same optimum, same answer.

HiGHS by its own reader, `glpsol`, and Z3 by its own parser and as a program.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import z3

from specdsl.backend import Deadline
from specdsl.encoding.cases import case_models
from specdsl.encoding.solvers.highs import solve
from specdsl.language.checking.combinations import Combination
from specdsl.run.stages import stage_texts
from tests.differential.problems import PROBLEMS, Problem
from tests.encoding.test_write import TOLERANCE, optimum_of_file

FOREVER = Deadline.after(None)
# glpsol's own tolerances for rows and whole numbers are 1e-7 and 1e-5.
ROUGH = 1e-4
problems = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
formats = pytest.mark.parametrize("stage", ["lp", "mps"])


def compiled(problem: Problem, stage: str, folder: Path) -> list[Path]:
    """The files of that stage, as `specdsl compile` writes them."""
    paths: list[Path] = []
    for text in stage_texts([Combination(problem.spec)], stage, None):
        assert isinstance(text.text, str)
        paths.append(folder / text.name)
        paths[-1].write_text(text.text)
    return paths


def optima(problem: Problem) -> list[float]:
    """Of every case's model, by our own session with HiGHS."""
    found: list[float] = []
    for _, model in case_models(problem.query):
        assert model is not None
        objective = solve(model, FOREVER).objective
        assert objective is not None
        found.append(objective)
    return found


@formats
@problems
def test_highs_reads_the_same_optimum(problem: Problem, stage: str, tmp_path: Path) -> None:
    paths = compiled(problem, stage, tmp_path)
    assert [optimum_of_file(path) for path in paths] == pytest.approx(
        optima(problem), abs=TOLERANCE
    )


@formats
@problems
def test_glpsol_reads_the_same_optimum(problem: Problem, stage: str, tmp_path: Path) -> None:
    program = shutil.which("glpsol")
    if program is None:
        pytest.skip("`glpsol` is not installed: `apt install glpk-utils`")
    option = {"lp": "--lp", "mps": "--freemps"}[stage]
    found: list[float] = []
    for path in compiled(problem, stage, tmp_path):
        report = path.with_suffix(".txt")
        command = [program, option, str(path), "-o", str(report), "--mipgap", "0"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        text = report.read_text()
        assert re.search(r"Status: +(INTEGER )?OPTIMAL", text), text
        value = re.search(r"Objective:.*= *(\S+) \(MINimum\)", text)
        assert value is not None, text
        found.append(float(value[1]))
    assert found == pytest.approx(optima(problem), abs=ROUGH)


@problems
def test_z3_reads_the_same_answer(problem: Problem, tmp_path: Path) -> None:
    (path,) = compiled(problem, "smt2", tmp_path)
    solver = z3.Solver()
    solver.from_file(str(path))
    expected = z3.unsat if problem.holds else z3.sat
    assert solver.check() == expected
    parsed = z3.Solver()
    parsed.add(z3.parse_smt2_file(str(path)))
    assert parsed.check() == expected


@problems
def test_the_program_z3_says_the_same(problem: Problem, tmp_path: Path) -> None:
    """The program heeds the logic that the file sets."""
    beside = Path(sys.executable).with_name("z3")
    program = str(beside) if beside.exists() else shutil.which("z3")
    if program is None:
        pytest.skip("there is no program `z3` beside Python, nor on the PATH")
    (path,) = compiled(problem, "smt2", tmp_path)
    run = subprocess.run(
        [program, str(path)], check=False, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.split() == ["unsat" if problem.holds else "sat"]


@pytest.mark.parametrize(
    ("name", "stage", "words"),
    [
        ("box", "lp", ("x(1)", "relu(0)", "margin(0)")),
        ("box", "mps", ("x(1)", "relu(0)", "margin(0)")),
        ("max pool", "lp", ("i(3)", "largest_groupmax(0)")),
        ("loose", "smt2", ("|x[1]|", "|deep.relu[1]|", "|deep.relu_2[0]|")),
        ("max pool", "smt2", ("|i[3]|", "|largest.groupmax[0]|")),
    ],
)
def test_names_say_layer_and_neuron(
    name: str, stage: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    (path,) = compiled(PROBLEMS[name], stage, tmp_path)
    text = path.read_text()
    assert [word for word in words if word not in text] == []
